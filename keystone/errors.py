"""The one error that Keystone's commands raise for a fault that a user can mend, and how two common ones read."""

from pathlib import Path


class KeystoneError(Exception):
    """A fault with its place, what is wrong (value and limit), and the cure; prints as one line."""

    def __init__(self, place: str, problem: str, cure: str = "") -> None:
        self.place = place
        self.problem = problem.rstrip(".")
        self.cure = cure.rstrip(".")
        super().__init__(f"{self.place}: {self.problem}." + (f" {self.cure}." if self.cure else ""))


def of_yaml(place: str, error: Exception) -> KeystoneError:
    """What PyYAML says of a file, in one line."""
    mark, said = getattr(error, "problem_mark", None), getattr(error, "problem", None) or type(error).__name__
    where = f" in line {mark.line + 1}" if mark is not None else ""
    cure = "Indent by spaces, not tabs" if "'\\t'" in said else "Correct it"
    return KeystoneError(place, f"is not sound YAML: {said}{where}", cure)


def no_stack_file(stack: str, folder: Path) -> KeystoneError:
    """A stack's file is not in a folder: the name is wrong, or the folder is one within the project's."""
    above = next((one for one in folder.resolve().parents if (one / "Pulumi.yaml").exists()), None)
    if above is not None and not (folder / "Pulumi.yaml").exists():
        return KeystoneError(str(folder.resolve()), "is not the project's folder", f"Type `cd {above}` first")
    cure = f"Make it with `keystone init {stack}`, or correct the name"
    return KeystoneError(f"Pulumi.{stack}.yaml", "there is no such stack file", cure)
