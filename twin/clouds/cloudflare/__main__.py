"""The double's process: `python -m twin.clouds.cloudflare --listen HOST:PORT --state FILE --zone ID:NAME:ACCOUNT`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from twin.clouds.cloudflare import TOKEN
from twin.clouds.cloudflare.app import Double
from twin.clouds.cloudflare.store import Store


class Handler(WSGIRequestHandler):
    """Keeps connections open, as clients expect; one line per request, without colours and without the query."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        del size
        logging.getLogger("cloudflare").info("%s %s %s", self.command, self.path.partition("?")[0], code)


def server(store: Store, address: str, port: int) -> BaseWSGIServer:
    """The double behind a socket; port 0 takes a free one."""
    return make_server(address, port, Double(store), threaded=True, request_handler=Handler)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="twin.clouds.cloudflare")
    parser.add_argument("--listen", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--zone", action="append", required=True, metavar="ID:NAME:ACCOUNT")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    store = Store(given.state)
    store.allow(TOKEN)
    for zone in given.zone:
        identity, name, account = zone.split(":")
        store.add_account(account)
        store.add_zone(identity, name, account)
    store.save()
    address, _, port = given.listen.rpartition(":")
    serving = server(store, address, int(port))

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        # shutdown() waits for the loop that this very thread runs.
        threading.Thread(target=serving.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    serving.serve_forever(poll_interval=0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
