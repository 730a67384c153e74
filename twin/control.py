"""The twin's control socket: one request per connection, newline JSON both ways, only for the user who runs it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from keystone.errors import KeystoneError

log = logging.getLogger("twin.control")
REQUEST_LIMIT = 64 * 1024
UNITS_SECONDS = 120.0
"""How long the daemon waits for the units of the Primer."""
JOIN_SECONDS = 20.0
"""How long it then waits for the units of the others."""
Say = Callable[[str], Awaitable[None]]
Handler = Callable[[dict[str, Any], Say], Awaitable[Any]]


class ControlServer:
    """Answers requests `{"op": ...}` with any number of `{"progress": ...}` and one `{"result"|"error": ...}`."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self._path), limit=REQUEST_LIMIT)
        self._path.chmod(0o600)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def send(message: dict[str, Any]) -> None:
            with contextlib.suppress(OSError):
                writer.write(json.dumps(message).encode() + b"\n")
                await writer.drain()

        try:
            request = json.loads(await asyncio.wait_for(reader.readline(), 5.0))
            result = await self._handler(request, lambda text: send({"progress": text}))
            await send({"result": result})
        except KeystoneError as error:
            await send({"error": str(error)})
        except (ValueError, TimeoutError) as error:
            await send({"error": f"request: {error}"})
        except Exception as error:
            log.exception("request failed")
            await send({"error": f"twin: {type(error).__name__}: {error}"})
        finally:
            writer.close()


def running(path: Path) -> bool:
    """True when a twin answers on the socket."""
    with contextlib.suppress(OSError, KeystoneError):
        return bool(request(path, "ping", limit=5.0))
    return False


def request(path: Path, op: str, *, limit: float = 60.0, say: Callable[[str], None] | None = None, **more: Any) -> Any:
    """Ask a running twin; `limit` in seconds for the whole answer. Raises KeystoneError with what it refused."""
    last = "nothing"
    try:
        for message in _talk(path, {"op": op, **more}, limit):
            if "progress" in message:
                last = message["progress"]
                if say is not None:
                    say(last)
            elif "error" in message:
                raise Reported(message["error"])
            else:
                return message["result"]
    except TimeoutError:
        raise KeystoneError(
            f"twin {op}", f"no answer within {limit:.0f} s (last: {last})", "See `twin logs daemon`"
        ) from None
    except (FileNotFoundError, ConnectionRefusedError):
        raise KeystoneError("twin", "is not running", "Start it with `twin up`") from None
    raise KeystoneError(f"twin {op}", f"the twin ended before it answered (last: {last})", "See `twin logs daemon`")


class Reported(KeystoneError):
    """An error that the twin has already put into words."""

    def __init__(self, text: str) -> None:
        super().__init__("twin", text)
        self.args = (text,)


def _talk(path: Path, message: dict[str, Any], limit: float) -> Iterator[dict[str, Any]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(limit)
        connection.connect(str(path))
        connection.sendall(json.dumps(message).encode() + b"\n")
        with connection.makefile("rb") as stream:
            for line in stream:
                yield json.loads(line)
