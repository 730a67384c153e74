"""What a URN of Pulumi says: urn:pulumi:STACK::PROJECT::TYPES$TYPE::NAME, with the types of the parents in front."""


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
