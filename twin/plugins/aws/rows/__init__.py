"""The table of resource types, one module per family of services."""

from twin.plugins.aws.kinds import Kind
from twin.plugins.aws.rows import (
    buckets,
    cdn,
    certificates,
    efs,
    groups,
    iam,
    keys,
    messages,
    networks,
    objects,
    roles,
    routes,
    security_groups,
    templates,
)

MODULES = (
    *(buckets, cdn, certificates, efs, groups, iam, keys, messages, networks, objects, roles, routes),
    *(security_groups, templates),
)
KINDS: dict[str, Kind] = {kind.token: kind for module in MODULES for kind in module.ROWS}
