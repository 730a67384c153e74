"""What a command prints: collected whole, shown line by line, and told in errors without secrets."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterable

MASK = "[secret]"
_SHORTEST_MASKED = 4
"""A shorter secret ("1", "yes") would blot out half of every line and protect nothing."""


class Mask:
    """Replaces secret texts; a secret of several lines is also hidden line by line."""

    def __init__(self, secrets: Iterable[str]) -> None:
        parts = {part for text in secrets for part in (text, text.strip(), *map(str.strip, text.splitlines()))}
        # The longest first, so that a secret that contains another is replaced whole.
        self._parts = sorted((part for part in parts if len(part) >= _SHORTEST_MASKED), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for part in self._parts:
            text = text.replace(part, MASK)
        return text


class Lines:
    """Cuts one stream's bytes into lines as they come."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        # Not UTF-8? The state is JSON, so there is no better form than replacement characters.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes) -> None:
        """Show every line that is now complete."""
        *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        for line in lines:
            self._show(line.removesuffix("\r"))

    def close(self) -> None:
        """Show what came after the last line's end."""
        if last := self._rest + self._decoder.decode(b"", final=True):
            self._show(last)


class Output:
    """Both streams of one run. `shown` names the streams whose lines go to `show`."""

    def __init__(self, shown: frozenset[str], show: Callable[[str], None], mask: Mask) -> None:
        self._mask = mask
        self._data = {"stdout": bytearray(), "stderr": bytearray()}
        self._both = bytearray()
        self._lines = {name: Lines(lambda line: show(mask(line))) for name in self._data if name in shown}

    def feed(self, stream: str, data: bytes) -> None:
        """Take the next bytes of "stdout" or "stderr"."""
        self._data[stream] += data
        self._both += data
        if stream in self._lines:
            self._lines[stream].feed(data)

    def close(self) -> None:
        """Both streams have ended."""
        for lines in self._lines.values():
            lines.close()

    def text(self, stream: str) -> str:
        """The whole stream as the output property holds it: without one line end at its end."""
        return self._data[stream].decode("utf-8", "replace").removesuffix("\n")

    def error(self, reason: str, command: str) -> str:
        """The message of a failed run: reason, command, and all it printed, in the order it came."""
        printed = self._both.decode("utf-8", "replace")
        quoted = json.dumps(command, ensure_ascii=False)
        return self._mask(f"{reason}: running {quoted}:\n{printed}")
