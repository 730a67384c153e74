"""`keystone check secrets`: none of the stack's secrets, and nothing that looks like a credential, stands in the clear.

Findings name the secret and the place, never the value.
"""

import fnmatch
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from keystone.checks.findings import Finding
from keystone.checks.secrets import formats, material, places
from keystone.checks.secrets.material import Secret
from keystone.checks.secrets.places import Place
from keystone.checks.secrets.search import Hit, Needles
from keystone.errors import KeystoneError

ALLOWED = ".secrets-allowed"
"""File in the project's folder: lines of PATH-PATTERN, FORMAT and REASON, separated by ` | `."""
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
"""In place of a format: this one value, which is published on purpose, such as the token of a double."""

__all__ = ["ALLOWED", "Allowance", "Place", "Scanner", "Secret", "allowances"]


@dataclass(frozen=True)
class Allowance:
    """Something in the git tree that looks like a credential and is none: an example in a test, a published value."""

    pattern: str
    format: str
    reason: str

    def covers(self, path: str, form: str) -> bool:
        return fnmatch.fnmatchcase(path, self.pattern) and self.format in (form, "*")


def allowances(project: Path) -> list[Allowance]:
    """The look-alikes that a project lists. Raises KeystoneError for a line without a reason."""
    try:
        lines = (project / ALLOWED).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split("|")]
        if len(parts) != 3 or not all(parts) or not (parts[1] in {*formats.FORMATS, "*"} or DIGEST.fullmatch(parts[1])):
            raise KeystoneError(
                f"{ALLOWED}:{number}",
                "is not `PATH | FORMAT | REASON` with a known format",
                f"Formats: {', '.join(formats.FORMATS)}, sha256:HEX for a published value",
            )
        found.append(Allowance(*parts))
    return found


class Scanner:
    """Searches places for some secrets and for credential formats."""

    def __init__(self, secrets: Iterable[Secret], allowed: Iterable[Allowance] = ()) -> None:
        secrets = list(secrets)
        self.unsearchable = material.unsearchable(secrets)
        self._digests = {one.name: hashlib.sha256(one.forms[0]).hexdigest() for one in secrets if one.forms}
        self._needles = Needles(secrets)
        self._allowed = tuple(allowed)
        self._known: dict[tuple[str, bool, bytes], list[Finding]] = {}

    def scan(self, found: Iterable[Place]) -> list[Finding]:
        """Every secret and every credential in the places, sorted; each secret once per place.

        What a place held at an earlier call and still holds is not searched again.
        """
        return sorted({finding for place in found for finding in self._once(place)})

    def _once(self, place: Place) -> list[Finding]:
        key = (place.name, place.listed, hashlib.sha256(place.data).digest())
        if key not in self._known:
            self._known[key] = list(self._in(place))
        return self._known[key]

    def _in(self, place: Place) -> Iterator[Finding]:
        hits = [hit for hit in self._needles.find(place.data) if not self._published(place, hit)]
        for hit in hits:
            yield Finding(
                "own-secret",
                self._where(place, hit),
                f"holds the {hit.name}",
                "Take it out, then rotate it: raise its generation, or make a new root secret",
            )
        for form in formats.find(place.data):
            listed = place.listed and any(one.covers(place.name, form.name) for one in self._allowed)
            # An own secret of a known form is reported once, by its name.
            if not listed and not self._needles.names(form.text):
                yield Finding(
                    "credential-format",
                    f"{place.name}:{_line(place.data, form.offset)}",
                    f"holds what looks like a {form.name}",
                    f"Take it out and revoke it; list an example in {ALLOWED}" if place.listed else "Revoke it",
                )

    def _published(self, place: Place, hit: Hit) -> bool:
        """Whether a file of the git tree may hold just this value of a secret. With any other value it is a leak."""
        digest = f"sha256:{self._digests[hit.name]}"
        return place.listed and any(
            fnmatch.fnmatchcase(place.name, a.pattern) and a.format == digest for a in self._allowed
        )

    def _where(self, place: Place, hit: Hit) -> str:
        if place.name == places.STATE:
            for path, text in places.resources(place.data):
                if hit.name in self._needles.names(text.encode()):
                    return f"{place.name}: {path}"
        return f"{place.name}:{_line(place.data, max(hit.offset - 1, 0))}"


def _line(data: bytes, offset: int) -> int:
    return len(re.findall(b"\n", data[:offset])) + 1
