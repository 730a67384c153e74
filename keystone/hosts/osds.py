"""Takes the OSDs of a leaving host out of Ceph, from the Primer; it comes before the drain.

Rook does not: it makes OSDs of the disks in its list and keeps those of a node that left the list. The steps are those
of its `rook ceph osd remove`, which takes only OSDs that do not run. Its `removeOSDsIfOutAndSafeToRemove` deletes a
deployment and leaves the OSD in Ceph, where nobody would find it any more: so Keystone does not set it.
"""

import json

from keystone.charts.ceph import NAMESPACE
from keystone.errors import KeystoneError
from keystone.hosts import ssh
from keystone.hosts.context import progress

MOVE_SECONDS = 600.0
PURGE_SECONDS = 180.0
COMMAND_SECONDS = 60.0
PAUSE_SECONDS = 5.0
TOOLBOX = ("kubectl", "exec", "--namespace", NAMESPACE, "deploy/rook-ceph-tools", "--")
PAGE = "docs/operations/replace.md"


async def leave(controller: ssh.Machine, name: str) -> None:
    """Marks the host's OSDs out, waits until their data lies elsewhere, and purges them; nothing when it has none.

    Raises KeystoneError when that takes too long: the host must stay then, for it may hold the last copy. A second run
    goes on from there.
    """
    numbers = await _numbers(controller, name)
    if not numbers:
        return
    place = f"hosts.{name}"
    progress(name, f"its OSDs {', '.join(numbers)} leave Ceph; their data moves, at most {MOVE_SECONDS:.0f} s")
    await _ceph(controller, "osd", "out", *numbers)

    async def moved() -> bool | None:
        await _ceph(controller, "osd", "safe-to-destroy", *numbers)
        return True

    try:
        await ssh.until(
            "the data of its OSDs to lie elsewhere", moved, place=place, limit=MOVE_SECONDS, pause=PAUSE_SECONDS
        )
    except KeystoneError as fault:
        cure = f"The data moves on by itself: try again when Ceph is healthy; {PAGE} has the commands"
        raise KeystoneError(place, fault.problem, cure) from None
    for number in numbers:
        await _purge(controller, place, number)
    # Ceph keeps an empty host; with OSDs that are none of ours left on it, it refuses.
    await controller.run(*TOOLBOX, "ceph", "osd", "crush", "rm", name, limit=COMMAND_SECONDS, check=False)
    progress(name, "its OSDs are gone")


async def _purge(controller: ssh.Machine, place: str, number: str) -> None:
    deployment = f"rook-ceph-osd-{number}"

    async def purged() -> bool | None:
        # Rook may start it again while it takes in the new list of disks; Ceph purges none that runs.
        await controller.run("kubectl", "scale", "deployment", deployment, "--namespace", NAMESPACE, "--replicas=0")
        await _ceph(controller, "osd", "down", number)
        await _ceph(controller, "osd", "purge", number, "--yes-i-really-mean-it")
        return True

    await ssh.until(f"Ceph to let OSD {number} go", purged, place=place, limit=PURGE_SECONDS, pause=PAUSE_SECONDS)
    # Last: by it a second run finds the OSD.
    await controller.run("kubectl", "delete", "deployment", deployment, "--namespace", NAMESPACE, "--ignore-not-found")


async def _numbers(controller: ssh.Machine, name: str) -> list[str]:
    """The OSDs on a host, by the labels of Rook's deployments."""
    selector = f"app=rook-ceph-osd,topology-location-host={name}"
    argv = ("kubectl", "get", "deployments", "--namespace", NAMESPACE, "--selector", selector, "--output", "json")
    listed = (await controller.run(*argv)).stdout
    try:
        return sorted((one["metadata"]["labels"]["ceph-osd-id"] for one in json.loads(listed)["items"]), key=int)
    except (ValueError, KeyError, TypeError):
        raise KeystoneError(
            str(controller.target), f"the list of OSDs cannot be read: {ssh.last_line(listed)}"
        ) from None


async def _ceph(controller: ssh.Machine, *argv: str) -> None:
    await controller.run(*TOOLBOX, "ceph", *argv, limit=COMMAND_SECONDS)
