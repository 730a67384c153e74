"""Takes out of free text whatever may be a secret. It errs on the side of hiding: a hash hidden harms nobody."""

import re

HIDDEN = "[hidden]"
# A message of a preview that did not hide a value: the engine's own word for one.
_BLOCK = re.compile(r"-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)", re.DOTALL)
_NAMED = re.compile(
    r"(?i)\b([\w-]*(?:password|passwd|passphrase|secret|token|credential|api_?key|access_?key|private_?key|auth_?key)s?"
    r"[\"']?\s*[:=]\s*)(?!\[)(\"[^\"]*\"|'[^']*'|\S+)"
)
_WITH_PREFIX = re.compile(
    r"(?:AKIA|ASIA|gh[pousr]_|github_pat_|hskey-|tskey-|privkey:|AGE-SECRET-KEY-|K10[0-9a-f]{8}|cf(?:ut|at|k)_|eyJ)\S+"
)
_USER = re.compile(r"(://[^/\s:@]*:)[^/\s@]+(@)")
_RUN = re.compile(r"[A-Za-z0-9+/_=-]{20,}")
_DISTINCT = 9


def mask(text: str) -> str:
    """The text without private keys, values behind the name of a credential, and long random runs."""
    text = _BLOCK.sub(HIDDEN, text)
    text = _USER.sub(rf"\1{HIDDEN}\2", text)
    text = _NAMED.sub(lambda found: found[1] + HIDDEN, text)
    text = _WITH_PREFIX.sub(HIDDEN, text)
    return _RUN.sub(lambda found: HIDDEN if _random(found[0]) else found[0], text)


def _random(run: str) -> bool:
    """Whether a run of letters looks made by chance: many different ones, and digits among them or a mix of cases."""
    parts = [part for part in re.split(r"[/_-]", run) if part]
    if all(re.fullmatch(r"[A-Z]?[a-z]*\d{0,3}|[A-Z]+|\d+", part) for part in parts):
        return False  # words: a path, a name in kebab case
    return len(set(run)) >= _DISTINCT
