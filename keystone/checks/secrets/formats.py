"""Credentials that can be told by their form, whoever they belong to.

Sources: the issuers' own documents on token formats (AWS IAM identifiers, Cloudflare token formats, GitHub token
formats, age(1), docs.k3s.io/cli/token) and the sources of Headscale and Tailscale.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from keystone.checks.secrets.search import unescaped

_START, _END = rb"(?<![A-Za-z0-9_])", rb"(?![A-Za-z0-9_])"
_IS = rb"[\"'\\]{0,4}\s{0,4}[:=]>?\s{0,4}[\"'\\]{0,4}"
FORMATS: dict[str, re.Pattern[bytes]] = {
    "AWS access key": re.compile(_START + rb"(?:AKIA|ASIA)[A-Z2-7]{16}" + _END),
    "AWS secret key": re.compile(
        rb"(?i:aws_?secret_?access_?key|secret_?access_?key|aws_?secret_?key)"
        + _IS
        + rb"([A-Za-z0-9/+]{40})(?![\w/+=])"
    ),
    "Cloudflare token": re.compile(_START + rb"cf(?:ut|at|k)_[A-Za-z0-9_-]{40,56}" + _END),
    "Cloudflare origin CA key": re.compile(_START + rb"v1\.0-[0-9a-f]{24}-[0-9a-f]{146}" + _END),
    "Cloudflare tunnel token": re.compile(_START + rb"eyJhIjoi[A-Za-z0-9_/+-]{100,}"),
    "Cloudflare key": re.compile(
        rb"(?i:cloudflare_?(?:api_?)?(?:token|key)|cf_?api_?(?:token|key)|x-auth-key)"
        + _IS
        + rb"([A-Za-z0-9_-]{37,40})"
        rb"(?![\w-])"
    ),
    "Headscale key": re.compile(_START + rb"hskey-(?:auth|api)-[A-Za-z0-9_-]{12}-[A-Za-z0-9_-]{64}" + _END),
    "Headscale private key": re.compile(_START + rb"privkey:[0-9a-f]{64}" + _END),
    "Tailscale key": re.compile(_START + rb"tskey-[a-z]+-[A-Za-z0-9]{8,}-[A-Za-z0-9]{16,}" + _END),
    "age key": re.compile(rb"(?i:" + _START + rb"AGE-SECRET-KEY-(?:PQ-)?1[0-9a-z]{58,}" + _END + rb")"),
    "k3s token": re.compile(
        _START + rb"K10[0-9a-f]{64}::(?:[A-Za-z0-9_.-]+:[^\s\"'\\,}]{8,}|[a-z0-9]{6}\.[a-z0-9]{16})"
    ),
    "GitHub token": re.compile(
        _START + rb"(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})" + _END
    ),
    "private key": re.compile(rb"-----BEGIN (?:[A-Z0-9]+ ){0,2}PRIVATE KEY-----[\s\\nr]*[A-Za-z0-9+/]{40}"),
}
# Part of every such credential, in lower case: most texts hold none of them and need no closer look.
_SIGNS: dict[str, tuple[bytes, ...]] = {
    "AWS access key": (b"akia", b"asia"),
    "AWS secret key": (b"accesskey", b"access_key", b"secretkey", b"secret_key"),
    "Cloudflare token": (b"cfut_", b"cfat_", b"cfk_"),
    "Cloudflare origin CA key": (b"v1.0-",),
    "Cloudflare tunnel token": (b"eyjhijoi",),
    "Cloudflare key": (b"cloudflare", b"cf_api", b"cfapi", b"x-auth-key"),
    "Headscale key": (b"hskey-",),
    "Headscale private key": (b"privkey:",),
    "Tailscale key": (b"tskey-",),
    "age key": (b"age-secret-key-",),
    "k3s token": (b"k10",),
    "GitHub token": (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_"),
    "private key": (b"private key-----",),
}
# Documents show what a credential looks like; a real one is made by chance and looks like it.
_DISTINCT = 10


@dataclass(frozen=True, order=True)
class Form:
    """A credential by its format's name, where it begins, and its text, which is never shown."""

    name: str
    offset: int
    text: bytes = b""

    def __repr__(self) -> str:
        return f"Form({self.name!r}, {self.offset})"


def find(data: bytes) -> Iterator[Form]:
    """The credentials in the bytes, each once; those behind escapes too, with the offset in the resolved text."""
    seen: set[tuple[str, bytes]] = set()
    views = [data]
    if (resolved := unescaped(data)) != data:
        views.append(resolved)
    for view in views:
        lower = view.lower()
        for name, pattern in FORMATS.items():
            if not any(sign in lower for sign in _SIGNS[name]):
                continue
            for found in pattern.finditer(view):
                text = found[found.lastindex or 0]
                if (name, text) not in seen and not _is_example(text):
                    seen.add((name, text))
                    yield Form(name, found.start(), text)


def _is_example(text: bytes) -> bool:
    core = text.rpartition(b"-----")[2] if text.startswith(b"-----") else text
    return b"EXAMPLE" in core or len(set(core)) < _DISTINCT
