"""Which policy packs a run has: the project's own in `policy/`, always, and those that the caller names.

The project's exceptions for a stack lie in `policy/exceptions.STACK.json`; without the file there are none.
"""

from pathlib import Path

FOLDER = "policy"
EMPTY = "no-exceptions.json"


def packs(project: Path, named: tuple[str, ...]) -> list[str]:
    """The folders of the packs, relative to the project where they lie in it."""
    own = [FOLDER] if (project / FOLDER / "PulumiPolicy.yaml").is_file() else []
    return own + [one for one in named if Path(one).as_posix().rstrip("/") not in own]


def arguments(project: Path, stack: str, named: tuple[str, ...]) -> list[str]:
    """The words for the engine's command line. It wants a configuration for each pack, or for none."""
    words: list[str] = []
    for pack in (found := packs(project, named)):
        words += ["--policy-pack", pack]
    exceptions = Path(FOLDER, f"exceptions.{stack}.json")
    if FOLDER in found and (project / exceptions).is_file():
        for pack in found:
            words += ["--policy-pack-config", str(exceptions if pack == FOLDER else Path(FOLDER, EMPTY))]
    return words
