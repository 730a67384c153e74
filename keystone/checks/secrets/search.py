"""Finds secrets in bytes, whatever they are wrapped in, in one quick pass.

Text and needles are both reduced to letters and digits. That makes base64 and its URL form one, and undoes line breaks,
indentation, quotes and colons; escapes of JSON and URLs are resolved before. Then only every n-th group of bytes is
looked up: a needle of 24 characters cannot hide between groups of 8 that begin 17 apart.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from urllib.parse import quote, quote_plus

from keystone.checks.secrets.material import SHORTEST, Secret

GRAM = 8
LONG = 24
"""Characters. Needles from here on are found by groups; shorter ones one by one."""
ROBUST = 12
"""Characters. A needle with fewer letters and digits is searched as it is: it would be found by chance."""
DEPTH = 2
"""How many layers of base64 or hex around whole documents are opened."""
_KEEP = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DROP = bytes(set(range(256)) - set(_KEEP))
_SPACE = b" \t\r\n\f\v"  # all that `\s` stands for: what is left in a run breaks its decoding
_BREAK = re.compile(rb"\\+[nrt]")
_CODE = re.compile(rb"((?:\\+u[0-9a-fA-F]{4})+)|\\+x([0-9a-fA-F]{2})|%(?:25)*([0-9a-fA-F]{2})")
# A long run of base64 or hex, perhaps over several lines of a file or of a JSON text.
_RUN = re.compile(rb"(?:[A-Za-z0-9+/_-]{20,}(?:\\+[nr]|[\s\"',\\])*)+[A-Za-z0-9+/_-]{2,}={0,2}")
_SHORTEST_RUN = 44
# What Pulumi encrypted (AES-256-GCM): searched as it stands, but not opened, for there is only noise in it.
_SEALED = re.compile(rb'(?<="v1:)[A-Za-z0-9+/=]{16}:[A-Za-z0-9+/=]{24,}(?=")')
_HEX_DUMP = re.compile(rb"(?:[0-9a-fA-F]{2}[:\s]){21,}[0-9a-fA-F]{2}")
_PUNCTUATION = _SPACE + b"\"',\\"


@dataclass(frozen=True, order=True)
class Hit:
    """A secret's name, and where it ends: the offset in the searched bytes."""

    name: str
    offset: int


def squashed(data: bytes) -> bytes:
    """Only the letters and digits."""
    return data.translate(None, _DROP)


def unescaped(data: bytes) -> bytes:
    """Escapes of JSON, shells and URLs resolved; the escapes of line breaks are dropped like line breaks."""
    if b"\\" in data or b"%" in data:
        data = _CODE.sub(_meant, data)
        data = _BREAK.sub(b"", data)
    return data


def _meant(found: re.Match[bytes]) -> bytes:
    """The bytes behind an escape. JSON's are letters, some of them in two halves; the others are bytes."""
    if not found[1]:
        return bytes([int(found[2] or found[3], 16)])
    halves = b"".join(int(code, 16).to_bytes(2, "big") for code in re.findall(rb"u(.{4})", found[1]))
    return halves.decode("utf-16-be", "replace").encode()


def base64_cores(value: bytes) -> Iterator[bytes]:
    """The base64 text of a value at its three alignments, without the characters that depend on its neighbours."""
    for before, skip in ((0, 0), (1, 2), (2, 3)):
        text = base64.b64encode(bytes(before) + value)
        yield text[skip : (before + len(value)) * 8 // 6]


def _inner(data: bytes) -> bytes:
    """What the long runs of base64 and hex in a text hold, at every alignment: a glued-on word shifts the run."""
    parts: list[bytes] = []
    for found in _RUN.finditer(data):
        run = _BREAK.sub(b"", found[0]).translate(None, _PUNCTUATION).rstrip(b"=")
        if len(run) < _SHORTEST_RUN:
            continue
        standard = run.replace(b"-", b"+").replace(b"_", b"/")
        for start in range(4):
            piece = standard[start : start + (len(standard) - start) // 4 * 4]
            rest = standard[start + len(piece) :]
            tail = base64.b64decode(rest + b"=" * (-len(rest) % 4)) if len(rest) > 1 else b""
            parts.append(base64.b64decode(piece) + tail)
        digits = re.findall(rb"[0-9a-fA-F]{%d,}" % _SHORTEST_RUN, run)
        for text in digits:
            parts += [bytes.fromhex(text[start : start + (len(text) - start) // 2 * 2].decode()) for start in (0, 1)]
    parts += [bytes.fromhex(found[0].decode().replace(":", " ")) for found in _HEX_DUMP.finditer(data)]
    return b"\n".join(parts)


class Needles:
    """Every form and encoding of some secrets, ready to be searched for."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._long: dict[bytes, str] = {}
        self._short: dict[bytes, str] = {}
        self._plain: dict[bytes, str] = {}
        for secret in secrets:
            for form in secret.forms:
                for needle in self._encodings(form):
                    self._add(squashed(needle), secret.name)
                if len(squashed(form)) < ROBUST:
                    self._add_plain(form, secret.name)

    @staticmethod
    def _encodings(form: bytes) -> Iterator[bytes]:
        yield form
        yield form.hex().encode()
        yield form.hex().upper().encode()
        yield from base64_cores(form)

    def _add(self, needle: bytes, name: str) -> None:
        if len(needle) >= LONG:
            self._long.setdefault(needle, name)
        elif len(needle) >= ROBUST:
            self._short.setdefault(needle, name)

    def _add_plain(self, form: bytes, name: str) -> None:
        """A password of few letters and digits: as it is, with JSON's and URLs' escapes, and without what lines add."""
        text = form.decode("utf-8", "replace")
        if "�" in text:
            return
        for needle in (text, json.dumps(text)[1:-1], quote(text, safe=""), quote(text), quote_plus(text)):
            self._plain.setdefault(needle.encode(), name)
        if len(reduced := form.translate(None, _PUNCTUATION)) >= SHORTEST:
            self._plain.setdefault(reduced, name)

    @cached_property
    def _stride(self) -> int:
        return min(map(len, self._long), default=LONG) - GRAM + 1

    @cached_property
    def _grams(self) -> dict[bytes, set[bytes]]:
        grams: dict[bytes, set[bytes]] = {}
        for needle in self._long:
            for start in range(len(needle) - GRAM + 1):
                grams.setdefault(needle[start : start + GRAM], set()).add(needle)
        return grams

    def _in_letters(self, text: bytes) -> set[str]:
        """The secrets in a text of letters and digits."""
        seen = {text[start : start + GRAM] for start in range(0, len(text) - GRAM + 1, self._stride)}
        likely = chain.from_iterable(self._grams[gram] for gram in self._grams.keys() & seen)
        return {self._long[needle] for needle in set(likely) if needle in text} | {
            name for needle, name in self._short.items() if needle in text
        }

    def _in_text(self, data: bytes) -> set[str]:
        found = self._in_letters(squashed(data))
        resolved = unescaped(data)
        if resolved != data:
            found |= self._in_letters(squashed(resolved))
        if self._plain:
            views = [data, data.translate(None, _PUNCTUATION), resolved.translate(None, _PUNCTUATION)]
            found |= {name for needle, name in self._plain.items() if any(needle in view for view in views)}
        return found

    def names(self, data: bytes, depth: int = DEPTH) -> set[str]:
        """The secrets that the bytes hold."""
        found = self._in_text(data)
        if depth:
            for view in {data, unescaped(data)}:
                if inner := _inner(_SEALED.sub(b"", view)):
                    found |= self.names(inner, depth - 1)
        return found

    def find(self, data: bytes) -> list[Hit]:
        """The secrets that the bytes hold, each with the place where it first stands."""
        return sorted(Hit(name, self._only(name)._end(data)) for name in self.names(data))

    def _only(self, name: str) -> "Needles":
        """The needles of one secret."""
        one = Needles(())
        one._long = {needle: owner for needle, owner in self._long.items() if owner == name}
        one._short = {needle: owner for needle, owner in self._short.items() if owner == name}
        one._plain = {needle: owner for needle, owner in self._plain.items() if owner == name}
        return one

    def _end(self, data: bytes) -> int:
        """Where the secret ends: the shortest beginning of the data that holds it. Slow, but rarely needed."""
        low, high = 0, len(data)
        while low < high:
            middle = (low + high) // 2
            if self.names(data[:middle]):
                high = middle
            else:
                low = middle + 1
        return low
