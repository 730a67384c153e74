"""A `go` that writes scripts in place of binaries and counts its calls."""

import sys
from dataclasses import dataclass
from pathlib import Path

FAKE_GO = """#!{python}
import json, os, sys, time
from pathlib import Path

here = Path(__file__).parent
words = sys.argv[1:]
if words[:2] == ["env", "GOVERSION"]:
    print((here / "goversion").read_text())
elif words[0] == "build":
    output = Path(words[words.index("-o") + 1])
    with (here / "calls").open("a") as log:
        log.write(output.name + "\\n")
    (here / "environment").write_text(json.dumps(dict(os.environ)))
    (here / "arguments").write_text(json.dumps(words))
    if (here / "fail").exists():
        sys.exit("go: downloading x v1\\npackage x: it does not compile")
    output.write_text("#!/bin/sh\\nexit 1\\n")
    time.sleep(float((here / "seconds").read_text()))
    output.write_text("#!/bin/sh\\necho version v" + (here / "says").read_text() + "\\n")
    output.chmod(0o755)
elif words[:2] == ["mod", "download"]:
    folder = Path(os.environ["GOMODCACHE"]) / "fetched"
    for name in ("python/cmd/pulumi-language-python-exec", "python/dist/pulumi-resource-pulumi-python"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("#!/bin/sh\\n")
    print(json.dumps({{"Dir": str(folder)}}))
"""


@dataclass
class FakeGo:
    """The fake `go` and what it was asked."""

    folder: Path

    def set(self, name: str, value: str) -> None:
        (self.folder / name).write_text(value)

    @property
    def built(self) -> list[str]:
        """The names of the tools that were built, in order."""
        log = self.folder / "calls"
        return log.read_text().split() if log.exists() else []


def install(folder: Path) -> FakeGo:
    """Put the fake `go` into a folder: version 1.26.8, builds of no time that call themselves 3.7.1."""
    folder.mkdir()
    script = folder / "go"
    script.write_text(FAKE_GO.format(python=sys.executable))
    script.chmod(0o755)
    go = FakeGo(folder)
    go.set("goversion", "go1.26.8")
    go.set("says", "3.7.1")
    go.set("seconds", "0")
    return go
