"""From a document to Settings, or to all faults at once."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from keystone.settings import rules
from keystone.settings.faults import Fault, SettingsError, did_you_mean, dotted, from_pydantic, keys_of
from keystone.settings.root import Settings

_SECTIONS = {name: TypeAdapter(field.rebuild_annotation()) for name, field in Settings.model_fields.items()}


def parse(document: Mapping[str, Any]) -> Settings:
    """The settings that a document holds. Raises SettingsError with all faults."""
    sections, faults = examine(document)
    if faults:
        raise SettingsError(faults)
    return Settings.model_construct(**sections)


def examine(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """The sound sections by attribute name, and all faults: in sections, and between the sound ones."""
    faults = [
        Fault(dotted((str(key),)), "this key is unknown", did_you_mean(str(key), keys_of(Settings)))
        for key in document
        if key not in keys_of(Settings)
    ]
    sections: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        alias = to_camel(name)
        if alias in document:
            try:
                sections[name] = _SECTIONS[name].validate_python(document[alias])
            except ValidationError as error:
                faults += from_pydantic(error, field.annotation, (alias,))
        elif field.is_required():
            faults.append(Fault(alias, "this key is missing", f"Add it: {field.description}"))
        else:
            sections[name] = field.get_default(call_default_factory=True)
    return sections, faults + list(rules.broken(sections))
