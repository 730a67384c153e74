"""What a check found, and the error that stops a command because of it."""

from collections.abc import Iterable
from dataclasses import dataclass

from keystone.errors import KeystoneError


@dataclass(frozen=True, order=True)
class Finding:
    """One fault: the rule that names it, where it is, what is wrong, and the cure. Never holds a secret's value."""

    rule: str
    place: str
    problem: str
    cure: str = ""

    def __str__(self) -> str:
        return f"[{self.rule}] {KeystoneError(self.place, self.problem, self.cure)}"


class ChecksFailed(KeystoneError):
    """The findings of one check; prints one line for each, and how many there are."""

    def __init__(self, check: str, findings: Iterable[Finding]) -> None:
        self.findings = sorted(set(findings))
        count = f"{len(self.findings)} finding{'s' if len(self.findings) != 1 else ''}"
        super().__init__(f"check {check}", count, "Mend what is listed; docs/reference/checks.md explains each rule")

    def __str__(self) -> str:
        return "\n".join([*map(str, self.findings), self.args[0]])


def require(check: str, findings: Iterable[Finding]) -> None:
    """Raise ChecksFailed when there is any finding."""
    if found := list(findings):
        raise ChecksFailed(check, found)
