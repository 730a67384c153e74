"""Whether IAM policies allow something: the part of AWS's evaluation that Keystone's policies use.

Source: "Policy evaluation logic" in the IAM User Guide. An explicit denial wins; else one allowing statement is needed,
in the identity's policies and in its boundary. Condition operators that are not known make an allowing statement fail
and a denying one hold: a doubt is decided against the asker.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

Document = Mapping[str, Any]
Context = Mapping[str, str | tuple[str, ...]]


def parse(text: str | Document) -> Document:
    """A policy document from what IAM keeps."""
    return json.loads(unquote(text)) if isinstance(text, str) else text


def many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def like(pattern: str, text: str, *, fold: bool = False) -> bool:
    """Whether a text fits a pattern with `*` and `?`."""
    expression = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch(expression, text, re.DOTALL | (re.IGNORECASE if fold else 0)) is not None


def allowed(documents: Iterable[Document], action: str, resource: str, context: Context) -> bool:
    """What one kind of policies (those of an identity, or its boundary) says of a request."""
    verdict = False
    for document in documents:
        for statement in many(document.get("Statement")):
            denies = statement.get("Effect") == "Deny"
            if not _covers(statement, action, resource):
                continue
            if not holds(statement.get("Condition"), context, doubt=denies):
                continue
            if denies:
                return False
            verdict = True
    return verdict


def _covers(statement: Document, action: str, resource: str) -> bool:
    if "NotAction" in statement:
        if any(like(one, action, fold=True) for one in many(statement["NotAction"])):
            return False
    elif not any(like(one, action, fold=True) for one in many(statement.get("Action"))):
        return False
    if "NotResource" in statement:
        return not any(like(one, resource) for one in many(statement["NotResource"]))
    return any(like(one, resource) for one in many(statement.get("Resource")))


def holds(conditions: Any, context: Context, *, doubt: bool = False) -> bool:
    """Whether every condition of a statement holds; `doubt` is the answer for an operator that is not known."""
    for operator, tests in (conditions or {}).items():
        for key, wanted in tests.items():
            verdict = _test(operator, context.get(key.lower(), context.get(key)), [str(one) for one in many(wanted)])
            if verdict is None:
                verdict = doubt
            if not verdict:
                return False
    return True


def _test(operator: str, have: str | tuple[str, ...] | None, wanted: list[str]) -> bool | None:
    if operator == "Null":
        return str(have is None).lower() in wanted
    every, _, name = operator.rpartition(":")
    optional = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    tests = {
        "StringEquals": lambda one: one in wanted,
        "StringEqualsIgnoreCase": lambda one: one.lower() in [item.lower() for item in wanted],
        "StringLike": lambda one: any(like(item, one) for item in wanted),
        "ArnEquals": lambda one: any(like(item, one) for item in wanted),
        "ArnLike": lambda one: any(like(item, one) for item in wanted),
        "StringNotEquals": lambda one: one not in wanted,
        "StringNotLike": lambda one: not any(like(item, one) for item in wanted),
        "Bool": lambda one: one.lower() in [item.lower() for item in wanted],
        "NumericLessThan": lambda one: any(float(one) < float(item) for item in wanted),
    }
    if name not in tests:
        return None
    if have is None:
        return optional or every == "ForAllValues" or name.startswith("StringNot")
    values = (have,) if isinstance(have, str) else have
    return (all if every == "ForAllValues" else any)(map(tests[name], values))
