"""Gives people and policy of the mesh to the controller; the policy has no other owner.

A person who left the stack file stays known there: their devices are a person's to remove.
"""

import json

from keystone import mesh_policy
from keystone.errors import KeystoneError
from keystone.hosts import mesh, remove, ssh
from keystone.hosts.context import Context, host_lock, progress

CONTROLLER_SECONDS = 120.0


async def policy(context: Context) -> None:
    """Makes the users that are missing; sets the policy by standard input unless it is held. Raises KeystoneError."""
    primer, _ = context.settings.primer
    wanted = mesh_policy.deployed(context.settings).decode()
    async with host_lock(context.stack, f"{primer}.policy"), context.dial(primer) as controller:
        for unit in remove.PRIMER_UNITS:
            await remove.start(controller, unit)

        async def answers() -> ssh.Result | None:
            return await controller.run("headscale", "users", "list", "-o", "json")

        place = str(controller.target)
        users = await ssh.until("the mesh controller", answers, place=place, limit=CONTROLLER_SECONDS)
        known = {user["name"] for user in mesh.parsed(controller, "headscale users list", users.stdout) or []}
        for name in sorted(set(context.settings.mesh.users) - known):
            await controller.run("headscale", "users", "create", name)
            progress(primer, f"{name} may register devices in the mesh")
        held = await controller.run("headscale", "policy", "get", check=False)
        if held.status == 0 and _parsed(held.stdout) == json.loads(wanted):
            progress(primer, "the mesh policy is set already")
            return
        try:
            await controller.run("headscale", "policy", "set", "--file", "/dev/stdin", stdin=wanted)
        except ssh.CommandFailed as fault:
            raise KeystoneError("mesh", f"the controller refuses the policy: {ssh.last_line(fault.stderr)}") from None
        progress(primer, "the mesh policy is set")


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None  # HuJSON with comments is not ours
