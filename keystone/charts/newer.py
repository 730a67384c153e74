"""Fields that our values and objects use, and that the definitions we are proven against lack because they are older.

The twin adds exactly these to the definitions. A test holds that the list is whole and that none of it is idle.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Newer:
    """One field: the definition's name, the dotted path in its schema (`[]` for a list's items), and its schema."""

    definition: str
    path: str
    since: str
    schema: Mapping[str, Any] = field(default_factory=dict)


NEWER: tuple[Newer, ...] = (
    Newer(
        "cephclusters.ceph.rook.io",
        "spec.security.cephx.csi.keyType",
        "Rook 1.20",
        {"type": "string", "enum": ["aes", "aes256k"]},
    ),
)
