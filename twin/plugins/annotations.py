"""What the Pulumi SDK's classes say of a resource type's properties; the plugins' extractors read it."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SCALARS = {str: "string", bool: "bool", int: "number", float: "number"}


@dataclass(frozen=True)
class Property:
    """One property of an Args class; `wire` is its name for the engine, `text` its documentation."""

    wire: str
    name: str
    annotation: Any
    required: bool
    text: str


def properties(kind: Any) -> Iterator[Property]:
    """The properties of an Args class."""
    from pulumi import _types

    names = {wire: name for name, wire in _types.input_type_py_to_pulumi_names(kind).items()}
    parameters = inspect.signature(kind.__init__).parameters
    for wire, annotation in _types.input_type_types(kind).items():
        name = names[wire]
        required = name in parameters and parameters[name].default is inspect.Parameter.empty
        yield Property(wire, name, annotation, required, inspect.getdoc(getattr(kind, name)) or "")


def bare(annotation: Any) -> Any:
    """The plain type of an `Input[...]`: its first alternative."""
    if typing.get_origin(annotation) is typing.Union:
        return bare(typing.get_args(annotation)[0])
    return annotation


def inner(plain: Any) -> tuple[str, Any]:
    """("object", the class), ("map" or "list", the annotation of its items), or ("any", None) for all else."""
    from pulumi import _types

    if _types.is_input_type(plain):
        return "object", plain
    origin, arguments = typing.get_origin(plain), typing.get_args(plain)
    if origin is not None and issubclass(origin, typing.Mapping):
        return "map", arguments[1]
    if origin is not None and issubclass(origin, typing.Sequence):
        return "list", arguments[0]
    return "any", None
