"""Faults of a stack file in plain words: what `SettingsError` holds, and how pydantic's findings become such faults."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from keystone.errors import KeystoneError
from keystone.settings.model import Wrong


@dataclass(frozen=True, order=True)
class Fault:
    """One fault: the dotted path of the key, what is wrong with its value, and the cure."""

    place: str
    problem: str
    cure: str = ""

    def __str__(self) -> str:
        return str(KeystoneError(self.place, self.problem, self.cure))


class SettingsError(KeystoneError):
    """All faults of one stack file; prints one line for each."""

    def __init__(self, faults: Iterable[Fault], file: str = "") -> None:
        self.faults = sorted(set(faults))
        self.file = file
        first = self.faults[0]
        super().__init__(first.place, first.problem, first.cure)

    def __str__(self) -> str:
        prefix = f"{self.file}: " if self.file else ""
        return "\n".join(f"{prefix}{fault}" for fault in self.faults)


def from_pydantic(error: ValidationError, root: Any, above: Sequence[str | int] = ()) -> list[Fault]:
    """The findings of one validation as faults. `root` is the validated type, `above` the path that leads to it."""
    details = error.errors(include_url=False)
    return [_fault(detail, root, above) for detail in details if not _follows(detail, details)]


def dotted(path: Iterable[str | int]) -> str:
    """A path as a user writes it: hosts.w1.osdDisks[0]."""
    text = ""
    for part in path:
        if part == "[key]":
            continue
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        word = part if part and part.isprintable() else repr(part)
        text += f".{word}" if text else word
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A cure for an unknown word: the nearest known one, else all of them."""
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if near:
        return f"Perhaps {near[0]} is meant"
    return f"Known here: {', '.join(words)}" if words else "Remove it"


def _follows(detail: ErrorDetails, details: Sequence[ErrorDetails]) -> bool:
    """Whether a list is only called too short because its items were refused."""
    loc = detail["loc"]
    return detail["type"] == "too_short" and any(
        len(d["loc"]) > len(loc) and d["loc"][: len(loc)] == loc for d in details
    )


def _fault(detail: ErrorDetails, root: Any, above: Sequence[str | int]) -> Fault:
    place = dotted((*above, *detail["loc"]))
    problem, cure = _words(detail, root)
    return Fault(place, problem, cure)


def _words(detail: ErrorDetails, root: Any) -> tuple[str, str]:
    kind, context, loc = detail["type"], detail.get("ctx", {}), detail["loc"]
    match kind:
        case "value_error":
            error = context["error"]
            return (error.problem, error.cure) if isinstance(error, Wrong) else (str(error), "")
        case "extra_forbidden":
            model = type_at(root, loc[:-1])
            return "this key is unknown", did_you_mean(str(loc[-1]), keys_of(model))
        case "missing":
            model = type_at(root, loc[:-1])
            return "this key is missing", f"Add it: {_description(model, str(loc[-1]))}"
        case "literal_error":
            wanted = context["expected"].replace("'", "")
            return f"{_shown(detail['input'])} is not one of {wanted}", f"Write one of {wanted}"
        case "bool_type" | "bool_parsing":
            return f"{_shown(detail['input'])} is not true or false", "Write true or false, without quotes"
        case "int_type" | "int_parsing" | "int_from_float":
            return f"{_shown(detail['input'])} is not a whole number", "Write digits, without quotes"
        case "string_type":
            return f"{_shown(detail['input'])} is not text", "Write text, in quotes if YAML takes it for something else"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"{_shown(detail['input'])} is not a group of keys", "Write keys with values below it"
        case "tuple_type" | "list_type":
            return f"{_shown(detail['input'])} is not a list", "Write a list, such as [a, b]"
        case "greater_than_equal":
            return f"{_shown(detail['input'])} is below the limit {context['ge']}", f"Use {context['ge']} or more"
        case "less_than_equal":
            return f"{_shown(detail['input'])} is above the limit {context['le']}", f"Use {context['le']} or less"
        case "too_long" | "string_too_long":
            return f"{_shown(detail['input'])} is longer than {context['max_length']} characters", "Shorten it"
        case "too_short":
            return f"holds {context['actual_length']}, at least {context['min_length']} wanted", "Add what is missing"
        case _:
            return detail["msg"], ""


def _shown(value: Any) -> str:
    """A value for a message; cut, and never the inside of a group (somebody may have put a secret there)."""
    if isinstance(value, Mapping):
        return "a group of keys"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "an empty value"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _description(model: Any, alias: str) -> str:
    for field in _fields(model).values():
        if field.alias == alias and field.description:
            return field.description
    return alias


def keys_of(model: Any) -> list[str]:
    """The keys that a section's type has in YAML."""
    return [field.alias or name for name, field in _fields(model).items()]


def _fields(model: Any) -> dict[str, FieldInfo]:
    return model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else {}


def type_at(root: Any, loc: Sequence[str | int]) -> Any:
    """The type that a path leads to, starting from `root`: through fields, mappings and lists."""
    here = _bare(root)
    for part in loc:
        if fields := _fields(here):
            here = next((field.annotation for name, field in fields.items() if (field.alias or name) == part), None)
        else:
            arguments = [item for item in get_args(here) if item is not Ellipsis]
            here = arguments[-1] if arguments else None
        here = _bare(here)
    return here


def _bare(annotation: Any) -> Any:
    """The type without `Annotated` and without `| None`."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        rest = [item for item in get_args(annotation) if item is not NoneType]
        return _bare(rest[0])
    return annotation
