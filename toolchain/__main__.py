"""`python -m toolchain [ensure|list|clean] [NAME...]`."""

import argparse
import re
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType

from keystone.errors import KeystoneError
from toolchain import bin_dir, cache, ensure, golang, inventory
from toolchain.build import chosen
from toolchain.progress import Progress


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def _remove(folder: Path) -> int:
    """Remove a folder, read-only ones (Go's module cache) too; returns the bytes that it held."""
    if not folder.exists():
        return 0
    size = _size(folder)
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)
    return size


def _list() -> None:
    go = golang.find()
    print(f"{'go':<28}{go.version:<12}{go.source}{'' if go.present else ', fetched when needed'}")
    for entry in inventory():
        where = {"built": f"built, {entry.megabytes} MB", "PATH": f"PATH ({entry.path})"}.get(entry.source, "missing")
        print(f"{entry.name:<28}{entry.version:<12}{where}{'; ' + entry.note if entry.note else ''}")
    print(f"links for PATH: {bin_dir()}")


def _clean(names: list[str], everything: bool) -> None:
    progress = Progress()
    with cache.lock(progress.say):
        if names:
            freed = 0
            for tool in chosen(names):
                for folder in (cache.root() / "tools").glob(f"{tool.name}-*"):
                    # A name may begin another one: pulumi, pulumi-language-python.
                    if re.fullmatch(r"[0-9a-f]{16}", folder.name.removeprefix(f"{tool.name}-")):
                        freed += _remove(folder)
                for link in (cache.root() / "bin").glob(f"*/{tool.name}"):
                    link.unlink()
        else:
            freed = _remove(cache.go_build())
            if everything:
                for name in ("go", "tools", "bin", "logs"):
                    freed += _remove(cache.root() / name)
    print(f"toolchain: freed {freed / 1e9:.1f} GB in {cache.root()}")


def _stop(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m toolchain", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("ensure", "list", "clean"), default="ensure")
    parser.add_argument("names", nargs="*", metavar="NAME", help="tools; all of them by default")
    parser.add_argument("--all", action="store_true", help="clean: the binaries and the module cache too")
    options = parser.parse_args()
    # A builder that is told to end takes its `go build` with it and leaves no scratch folder.
    signal.signal(signal.SIGTERM, _stop)
    try:
        match options.command:
            case "list":
                _list()
            case "clean":
                _clean(options.names, options.all)
            case _:
                ensure(options.names)
    except KeystoneError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("toolchain: stopped; what was built stays, and the next run goes on from there", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
