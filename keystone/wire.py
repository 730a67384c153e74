"""What Pulumi writes into states, plans and events: URNs, and the key by which a value is known to be no plain one.

A URN reads urn:pulumi:STACK::PROJECT::TYPES$TYPE::NAME, with the types of the parents in front.
"""

SIGNATURE = "4dabf18193072939515e22adb298388d"
"""A key of every secret and every asset (`resource.SigKey` of Pulumi's sdk/v3/go/common)."""


def name_of(urn: str) -> str:
    """The name of the resource."""
    return urn.rpartition("::")[2]


def kind_of(urn: str) -> str:
    """The type of the resource, without those of its parents; empty for what is no URN."""
    parts = urn.split("::")
    return parts[2].rpartition("$")[2] if len(parts) > 3 else ""


def provider_of(reference: str) -> str:
    """The URN in a resource's reference to its provider, which ends in the provider's id."""
    return reference.rpartition("::")[0]
