"""A resource as the rules see it: inputs by path, options, provider and parent."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard, TypeVar
from urllib.parse import urlsplit

from pulumi_policy.proxy import UnknownValueError


@dataclass(kw_only=True)
class Resource:
    """One resource. Reading a value that a preview cannot know yet raises the SDK's UnknownValueError."""

    kind: str
    name: str
    urn: str
    props: Mapping[str, Any]
    protect: bool = False
    provider: str = ""
    """Name of its provider; the engine calls the ambient ones default_..."""
    provider_props: Mapping[str, Any] = field(default_factory=dict)
    parent: Resource | None = None
    """The component it lies in, with that one's inputs, when the engine has shown it."""
    cluster: Resource | None = None
    """The component with the plain facts of the cluster (ClusterBase), when the engine has shown it."""
    dependencies: list[Resource] = field(default_factory=list)
    """Only known to stack rules."""

    def at(self, path: str) -> Any:
        """The value at a dotted path; None where something on the way is missing. Numbers index lists."""
        return read(self.props, path)

    def each(self, path: str) -> Iterator[tuple[str, Any]]:
        """The items of the list at a path, each with its own path. One item alone counts as a list of one.

        Items that are not known yet come last, as the error that they are.
        """
        value = self.at(path)
        if is_list(value):
            yield from _known_first(value, path, lambda inner, place: iter([(place, inner)]))
        elif value is not None:
            yield path, value


def words(path: str) -> list[str]:
    """The steps of a path; a dot inside of a key is written as \\."""
    if "\\" not in path:
        return path.split(".")
    return [word.replace("\\.", ".") for word in re.split(r"(?<!\\)\.", path)]


def read(value: Any, path: str) -> Any:
    """The value at a dotted path below a mapping or list; None where something on the way is missing."""
    for word in words(path):
        if is_map(value):
            value = value.get(word)
        elif is_list(value) and word.isdigit() and int(word) < len(value):
            value = value[int(word)]
        else:
            return None
    return value


def is_map(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """True for the SDK's proxies too, which are no dicts."""
    return isinstance(value, Mapping)


def is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def is_true(value: Any) -> bool:
    """True as a boolean, or as the text that some providers and CSI drivers want."""
    return value is True or value == "true"


T = TypeVar("T")


def _known_first(value: Any, path: str, visit: Callable[[Any, str], Iterator[T]]) -> Iterator[T]:
    """What `visit` finds in each item of a map or list. One that is not known yet hides no other: its error is last."""
    unknown: UnknownValueError | None = None
    for key in list[Any](value if is_map(value) else range(len(value))):
        try:
            yield from visit(value[key], f"{path}.{key}" if path else str(key))
        except UnknownValueError as error:
            unknown = unknown or error
    if unknown:
        raise unknown


def strings(value: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Every text below a value: (path, its own key, text). What is not known yet is raised after all others."""
    if is_map(value) or is_list(value):
        yield from _known_first(value, path, strings)
    elif isinstance(value, str):
        steps = [word for word in path.split(".") if not word.isdigit()]
        yield path, steps[-1] if steps else "", value


def maps(value: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping below a value, itself first, with its path. What is not known yet is raised after all others."""
    if is_map(value):
        yield path, value
    if is_map(value) or is_list(value):
        yield from _known_first(value, path, maps)


def pairs(value: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Every text that stands as `value` beside its `name`, as variables and headers do: (path, name, text).

    What is not known yet is raised after all others.
    """
    unknown: UnknownValueError | None = None
    for place, inner in maps(value, path):
        try:
            name, text = inner.get("name"), inner.get("value")
        except UnknownValueError as error:
            unknown = unknown or error
            continue
        if isinstance(name, str) and isinstance(text, str):
            yield f"{place}.value" if place else "value", name, text
    if unknown:
        raise unknown


def document(value: Any) -> Any:
    """A value that may come as JSON text, as IAM documents and a provider's structured inputs do.

    Raises ValueError where the text is no JSON: what cannot be read cannot be judged.
    """
    return json.loads(value) if isinstance(value, str) else value


def is_loopback(address: Any) -> bool:
    """Whether a URL, or an address alone, is on this machine. A name never counts: it may lead anywhere."""
    if not isinstance(address, str) or not address:
        return False
    try:
        host = urlsplit(address).hostname if "//" in address else address
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
