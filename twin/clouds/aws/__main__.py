"""The process: `python -m twin.clouds.aws --listen HOST:PORT --account NUMBER [--state FILE]`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from werkzeug.serving import BaseWSGIServer, make_server

MOTO = {
    # Over a thousand images, which nobody here starts, would be written to disk with every save.
    "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
    "MOTO_CALL_RESET_API": "false",
    # Seconds until a certificate counts as validated; nobody looks for its record.
    "MOTO_ACM_VALIDATION_WAIT": "0",
}


def serving(account: str, state: Path | None, *places: tuple[str, int]) -> tuple[list[BaseWSGIServer], Any]:
    """Servers of one account at each (address, port), port 0 taking a free one; and the memory to close at the end."""
    os.environ.update(MOTO, MOTO_ACCOUNT_ID=account)
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app

    from twin.clouds.aws import mends
    from twin.clouds.aws.account import Account
    from twin.clouds.aws.app import Front
    from twin.clouds.aws.memory import Memory

    class Handler(MotoRequestHandler):
        """Keeps connections open, as clients expect; the front says what there is to say."""

        protocol_version = "HTTP/1.1"

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            del size
            logging.getLogger("aws").debug("%s %s %s", self.command, self.path.partition("?")[0], code)

    mends.apply()
    lock = threading.RLock()
    memory = Memory(state, lock)
    memory.load()
    front = Front(Account(account), DomainDispatcherApplication(create_backend_app), memory, lock)
    servers = [make_server(address, port, front, threaded=True, request_handler=Handler) for address, port in places]
    return servers, memory


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="twin.clouds.aws")
    parser.add_argument("--listen", action="append", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--account", required=True, metavar="NUMBER")
    parser.add_argument("--state", type=Path)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    for noisy in ("werkzeug", "botocore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    places = [(place.rpartition(":")[0], int(place.rpartition(":")[2])) for place in given.listen]
    servers, memory = serving(given.account, given.state, *places)
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    threads = [
        threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True) for one in servers
    ]
    for thread in threads:
        thread.start()
    ended.wait()
    for one in servers:
        one.shutdown()
    memory.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
