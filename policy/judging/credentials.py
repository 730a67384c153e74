"""Finds texts that look like credentials: detect-secrets' detectors, and the formats of what this program deals with.

Only the kind of a find is ever returned, never its text. Entropy alone convicts nobody: host keys, digests and hashes
are as random as tokens. It counts where the name says that the value is a credential.
"""

import base64
import binascii
import math
import re
from collections import Counter
from functools import cache, lru_cache
from typing import Any

_IS = r"[\"'\\]{0,4}\s{0,4}[:=]>?\s{0,4}[\"'\\]{0,4}"
# As in keystone/checks/secrets/formats.py; one list of samples holds the two together.
FORMATS = {
    "AWS access key": r"\b(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[0-9A-Z]{16}\b",
    "AWS secret key": r"(?i:aws_?secret_?access_?key|secret_?access_?key|aws_?secret_?key)"
    + _IS
    + r"[A-Za-z0-9/+]{40}(?![\w/+=])",
    "Cloudflare token": r"\bcf(?:k|ut|at)_[A-Za-z0-9]{40,}",
    "Cloudflare origin CA key": r"\bv1\.0-[0-9a-f]{24}-[0-9a-f]{100,}",
    "Cloudflare tunnel token": r"\beyJhIjoi[A-Za-z0-9+/_=-]{60,}",
    "Cloudflare key": r"(?i:cloudflare_?(?:api_?)?(?:token|key)|cf_?api_?(?:token|key)|x-auth-key)"
    + _IS
    + r"[A-Za-z0-9_-]{37,40}(?![\w-])",
    "Headscale key": r"\bhskey-(?:auth|api)-[A-Za-z0-9_-]{12,}",
    "Headscale private key": r"\bprivkey:[0-9a-f]{64}",
    "Tailscale key": r"\btskey-(?:auth|api|client|scim|webhook)-[A-Za-z0-9_-]{12,}",
    "age key": r"\bAGE-SECRET-KEY-(?:PQ-)?1[0-9A-Z]{40,}",
    "k3s token": r"\bK10[0-9a-f]{64}::(?:[^\s:'\"]+:[^\s'\"]{8,}|[a-z0-9]{6}\.[a-z0-9]{16}\b)",
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})",
    "private key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
}
_FORMATS = {kind: re.compile(pattern) for kind, pattern in FORMATS.items()}
# A cheap look first: a text without any of these holds none of the library's formats either.
_HINT = re.compile(
    r"[A-Za-z0-9+/_-]{16,}|BEGIN|://[^/\s]*:[^/\s]*@|[pP][aA][sS][sS]|[sS][eE][cC][rR][eE][tT]|[=:]\s*['\"]"
)
_PLUGINS = (
    ("aws", "AWSKeyDetector"),
    ("azure_storage_key", "AzureStorageKeyDetector"),
    ("basic_auth", "BasicAuthDetector"),
    ("discord", "DiscordBotTokenDetector"),
    ("github_token", "GitHubTokenDetector"),
    ("gitlab_token", "GitLabTokenDetector"),
    ("jwt", "JwtTokenDetector"),
    ("keyword", "KeywordDetector"),
    ("mailchimp", "MailchimpDetector"),
    ("npm", "NpmDetector"),
    ("openai", "OpenAIDetector"),
    ("private_key", "PrivateKeyDetector"),
    ("pypi_token", "PypiTokenDetector"),
    ("sendgrid", "SendGridDetector"),
    ("slack", "SlackDetector"),
    ("square_oauth", "SquareOAuthDetector"),
    ("stripe", "StripeDetector"),
    ("telegram_token", "TelegramBotTokenDetector"),
    ("twilio", "TwilioKeyDetector"),
)

_PASSWORD = re.compile(r"(?:password|passwd|passphrase|(?:^|_)(?:pwd|pass))$")
_TOKEN = re.compile(
    r"(?:^|_)(?:(?:auth|api|access|bearer|tunnel|bot|deploy|join|agent|server)_?token|token"
    r"|(?:api|access|private|secret|auth|encryption|signing|global|noise|master)_?(?:access_)?key|secret|client_?secret"
    r"|secret_key_base|credentials?)$"
)
_REFERENCE = re.compile(
    r"^\$[({]|^\$[A-Z][A-Z0-9_]*(?![A-Za-z])|^\{\{|^/|^\./|^file:|^(?:https?|arn|ssm|op|vault|ref\+):|^<.*>$|^\*+$"
)
_NAME = re.compile(r"^[a-z]{2,}\d{0,3}(?:[-._/][a-z0-9]{1,16})*$")
# What a text says by NAME and VALUE: options of a command line, variables and what follows a dot or a comma, lines of
# a configuration file, headers. JSON's quoted pairs are the library's.
_GIVEN = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"(?<!\S)--?(?P<name>[A-Za-z][\w.-]*)(?:=|\s+)[\"']?(?P<value>[^\s\"';|&]+)",
        r"(?<![\w-])(?P<name>[A-Za-z_]\w*)=[\"']?(?P<value>[^\s\"';|&,]+)",
        r"^[ \t]*(?:- |export )?[ \t]*[\"']?(?P<name>[A-Za-z_][\w.-]*)[\"']?[ \t]*[:=][ \t]*"
        r"[\"']?(?P<value>[^\s\"',;]+)[\"']?,?[ \t]*(?:#.*)?$",
        r"[\"'](?P<name>[A-Za-z][\w-]*): *(?P<value>[^\s\"']+)[\"']",
    )
)
# Programs that take a credential by an option whose name does not say so, or by a pipe.
_HANDED = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?i)\bauthorization[\"']?\s*[:=]\s*[\"']?(?:bearer|basic|token)\s+"
        r"(?P<value>(?=\S*(?:\d|[a-z]\S*[A-Z]))[A-Za-z0-9._~+/=-]{16,})",
        r"\bcurl\b[^\n|;]*?\s(?:-u|--user)(?:=|\s*)[\"']?[^\s:\"'$]+:(?P<value>[^\s\"'$]+)",
        r"\bsshpass\s+-p\s*[\"']?(?P<value>[^\s\"'$]+)",
        r"\bmysql(?:dump|admin)?\b[^\n|;]*?\s-p(?P<value>[^\s\"'$-][^\s\"'$]*)",
        r"[\w-]+:(?P<value>[^\s\"':$]+)[\"']?\s*\|\s*(?:sudo\s+)?chpasswd\b",
        r"\becho\s+(?:-n\s+)?[\"']?(?P<value>[^\s\"'$]+)[\"']?\s*\|[^\n|;]*--password-stdin\b",
        r"\baws\s+configure\s+set\s+\S*secret_access_key\s+[\"']?(?P<value>[^\s\"'$]+)",
    )
)
_SAYS = re.compile(r"(?i)pass|pwd|token|secret|key|credential|authorization|curl|mysql")
# A value that stands in a text; what else begins there is an expression of some language.
_LITERAL = re.compile(r"[A-Za-z0-9_+][^(\[{<]{3,}$")
_MEMBER = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$")
_WORDS_OF_TEXTS = {"string", "required", "optional", "enabled", "disabled", "redacted", "unset"}
_WORDS_OF_NO = {"", "true", "false", "none", "null", "yes", "no", "changeme-see-secret"}
MIN_TOKEN, MIN_ENTROPY = 16, 3.0  # characters; bits per character


@cache
def _detectors() -> tuple[Any, ...]:
    from importlib import import_module

    return tuple(getattr(import_module(f"detect_secrets.plugins.{file}"), name)() for file, name in _PLUGINS)


def warm() -> None:
    """Load the library, which takes half a second, while the engine still starts the program."""
    _detectors()


def formatted(text: str) -> str:
    """The kind of credential of our FORMATS that a text holds; "" for none."""
    return next((kind for kind, pattern in _FORMATS.items() if pattern.search(text)), "")


@lru_cache(maxsize=8192)
def known(text: str) -> str:
    """The kind of credential that a text holds, by its format; "" for none."""
    if kind := formatted(text):
        return kind
    if not _HINT.search(text):
        return ""
    for line in text.splitlines():
        for detector in _detectors():
            for found in detector.analyze_string(line):
                if not (detector.secret_type == "Secret Keyword" and _harmless(found)):
                    return str(detector.secret_type)
    return ""


def named(name: str, text: str) -> str:
    """The kind of credential that a value is by its name and its look; "" for none."""
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[-.\s]", "_", name).lower()
    value = text.strip()
    if word.startswith(("existing_", "public_")) or _harmless(value):
        return ""
    if _PASSWORD.search(word):
        return "password"
    if (
        _TOKEN.search(word)
        and len(value) >= MIN_TOKEN
        and not names_something(value)
        and _entropy(value) >= MIN_ENTROPY
    ):
        return "random value under a credential's name"
    return ""


def names_something(value: str) -> bool:
    """Whether a value looks like the name of a thing or of a variable, as nothing random does."""
    return bool(_NAME.match(value) or re.fullmatch(r"[A-Z]+(?:_[A-Z0-9]+)+", value))


def find(name: str, text: str) -> str:
    """The kind of credential that a named value is or holds; "" for none."""
    return named(name, text) or given(text) or formatted(f"{name}={text}") or _handed(f"{name}: {text}")


@lru_cache(maxsize=8192)
def given(text: str) -> str:
    """The kind of credential that a command line or a configuration file holds, or hands over by a name.

    "" for none.
    """
    if kind := formatted(text):
        return kind
    if _SAYS.search(text):
        for pattern in _GIVEN:
            for found in pattern.finditer(text):
                value = found["value"]
                if _literal(value) and (kind := named(found["name"], value)):
                    return kind
        if kind := _handed(text):
            return kind
    return known(text)


def _handed(text: str) -> str:
    for pattern in _HANDED:
        found = pattern.search(text)
        if found and not _harmless(found["value"]):
            return "credential that a program is handed"
    return ""


def _literal(value: str) -> bool:
    return bool(_LITERAL.match(value)) and not _MEMBER.match(value) and value.lower() not in _WORDS_OF_TEXTS


def decoded(text: str) -> str:
    """The text behind base64, or the text itself where it is none."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return text


def _harmless(value: str) -> bool:
    return value.lower() in _WORDS_OF_NO or bool(_REFERENCE.search(value))


def _entropy(text: str) -> float:
    counts = Counter(text)
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())
