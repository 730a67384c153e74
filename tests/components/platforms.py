"""Settings and parts for the tests of the platform's components."""

from typing import Any

import pulumi

from keystone import charts
from keystone.settings import Settings, parse
from tests.recording import document

POOLS = {"ingress": "127.78.5.200-127.78.5.209", "dns": "127.78.5.210-127.78.5.211"}
CEPH = {"default": "ceph-block", "ceph": {}}


def settings(*, disks: int = 1, **sections: Any) -> Settings:
    """A Primer and three workers, each with so many disks for Ceph, and more sections."""
    base = document(agents=3)
    for name, host in base["hosts"].items():
        host["layout"] = "ext4-luks"  # on which every storage runs
        host["labels"] = {"topology.kubernetes.io/region": "pve"}  # of Proxmox
        host["osdDisks"] = [f"/dev/disk/by-id/{name}-{n}" for n in range(disks)]
    return parse({**base, **sections})


def names(chosen: Settings) -> dict[str, str]:
    """Namespaces as if they were made."""
    return {release.namespace: release.namespace for release in charts.releases(chosen).values()} | {
        "gateway": "gateway",
        "keystone-tests": "keystone-tests",
    }


class Anything(pulumi.CustomResource):
    """Something to come after."""

    def __init__(self, name: str = "anything") -> None:
        super().__init__("test:index:Anything", name, {})
