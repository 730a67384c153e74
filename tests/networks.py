"""The one place that gives loopback networks to the tests: no two tests that listen share one.

A network is 127.PROCESS.NUMBER.0/24. Each test process has the second byte to itself, held by a socket as long as it
runs, so that the workers of one run, and several runs on one machine, never meet. The numbers are dealt one by one.
"""

import itertools
import socket
from dataclasses import dataclass

SECONDS = range(100, 200)
"""The second bytes that tests may take; the stacks of the project lie outside."""
HOLD_PORT = 1078


@dataclass(frozen=True)
class Network:
    """A /24 of loopback addresses. `number` is its third byte."""

    base: str
    number: int

    def __str__(self) -> str:
        return f"{self.base}.0/24"

    def at(self, last: int) -> str:
        """The address with this last byte."""
        return f"{self.base}.{last}"

    def free_port(self, last: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
        """A port at which nothing listens on the address with this last byte."""
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.bind((self.at(last), 0))
            return probe.getsockname()[1]


def _take() -> tuple[int, socket.socket]:
    """The first second byte that no other process holds, and the socket that holds it now."""
    for second in SECONDS:
        holder = socket.socket()
        try:
            # No test listens there: the first number that is dealt is 1.
            holder.bind((f"127.{second}.0.1", HOLD_PORT))
            holder.listen(1)
        except OSError:
            holder.close()
            continue
        return second, holder
    raise RuntimeError(f"{len(SECONDS)} test processes run already, and each holds 127.N.0.1:{HOLD_PORT}.")


_second, _holder = _take()
_numbers = itertools.count(1)


def fresh() -> Network:
    """A network that nothing in any test process uses or has used."""
    number = next(_numbers)
    if number > 255:
        raise RuntimeError("All 255 networks of this test process are dealt. Let tests of one file share one.")
    return Network(f"127.{_second}.{number}", number)
