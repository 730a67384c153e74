"""Between Pulumi's properties and the words of AWS's APIs, and when two values are the same for AWS."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from twin.plugins import wire

Props = dict[str, Any]


def pascal(value: Any, names: Mapping[str, str] | None = None) -> Any:
    """Properties as an API has them: first letters upper case, whole numbers as such, nothing without a value.

    `names` are properties that an API calls otherwise, at whatever depth.
    """
    known = names or {}
    if isinstance(value, dict):
        return {
            known.get(key) or key[:1].upper() + key[1:]: pascal(item, known)
            for key, item in value.items()
            if item is not None and key != wire.SIGNATURE
        }
    if isinstance(value, list):
        return [pascal(item, known) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def camel(value: Any, names: Mapping[str, str] | None = None) -> Any:
    """An answer as properties: the way back."""
    back = {api: name for name, api in (names or {}).items()}
    return _camel(value, back)


def _camel(value: Any, back: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            back.get(key) or key[:1].lower() + key[1:]: _camel(item, back)
            for key, item in value.items()
            if item is not None
        }
    return [_camel(item, back) for item in value] if isinstance(value, list) else value


def numbers(value: Any) -> Any:
    """The value with every whole number as the wire has it."""
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [numbers(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def tags_of(items: Any) -> dict[str, str]:
    """Tags in any of AWS's shapes, without those that belong to AWS itself."""
    if isinstance(items, dict):
        pairs = items.items()
    else:
        pairs = [(_get(item, "Key"), _get(item, "Value")) for item in items or []]
    return {str(key): str(item or "") for key, item in pairs if not str(key).startswith("aws:")}


def _get(item: Mapping[str, Any], name: str) -> Any:
    # KMS alone calls them TagKey and TagValue.
    return item.get(name, item.get(f"Tag{name}"))


def tag_list(tags: Mapping[str, str], key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
    """Tags as most APIs take them."""
    return [{key: name, value: item} for name, item in sorted(tags.items())]


def compact(**parameters: Any) -> dict[str, Any]:
    """Parameters of a request without those that have no value."""
    return {name: whole(item) for name, item in parameters.items() if item is not None}


def whole(value: Any) -> Any:
    """A number without a fraction as the client wants it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def document(text: Any) -> Any:
    """A JSON document in a form that compares: lists of one are what they hold, other lists have no order."""
    if not isinstance(text, str) or not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return _canonical(json.loads(text))
    except ValueError:
        return None


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [_canonical(item) for item in value]
        return items[0] if len(items) == 1 else sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    return value


def covers(have: Any, want: Any, *, ordered: bool = False) -> bool:
    """Whether an object has all that the program wants; what it has besides, and the order of a list, do not count."""
    if isinstance(want, dict):
        return isinstance(have, dict) and all(
            covers(have.get(key), item, ordered=ordered) for key, item in want.items() if item is not None
        )
    if isinstance(want, list):
        if not isinstance(have, list):
            return not want and not have
        if len(have) != len(want):
            return False
        if ordered:
            return all(covers(one, other, ordered=True) for one, other in zip(have, want, strict=True))
        return _matched(have, want)
    if have is None:
        # Nothing, as an answer has it.
        return want in (False, "")
    if wire.equal(have, want):
        return True
    if isinstance(want, str) and isinstance(have, str):
        known = document(want)
        return known is not None and known == document(have)
    # Booleans that the SDK has as text, and the other way round.
    return isinstance(want, bool | str) and isinstance(have, bool | str) and _flag(have) == _flag(want) is not None


def _flag(value: bool | str) -> bool | None:
    return value if isinstance(value, bool) else {"true": True, "false": False}.get(value)


def _matched(have: list[Any], want: list[Any]) -> bool:
    left = list(have)
    for item in want:
        found = next((index for index, one in enumerate(left) if covers(one, item)), None)
        if found is None:
            return False
        del left[found]
    return True


def over(state: Any, inputs: Any) -> Any:
    """The state with the inputs as they were given, secret marks and all."""
    plain, marked = wire.open_secret(inputs)
    if marked or not isinstance(plain, dict) or not isinstance(state, dict) or wire.signature(state) is not None:
        return inputs
    return {**state, **{key: over(state.get(key), item) for key, item in plain.items() if item is not None}}


def taken_over(old: wire.Map, read: wire.Map, same: Callable[[str, Any, Any], bool]) -> wire.Map:
    """The state after a read: what an answer told, in the words of the old state where that means the same."""
    state = dict(old)
    for name, item in read.items():
        if item is None:
            state.pop(name, None)
        elif name not in old or not same(name, item, wire.reveal(old[name])):
            state[name] = item
    return state
