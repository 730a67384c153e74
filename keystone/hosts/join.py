"""Brings an installed host into the mesh and waits for its Kubernetes node.

The mesh key is minted on the Primer, used once, and passed by standard input: it is in no argument, file or state.
"""

import json

from keystone import mesh_policy
from keystone.errors import KeystoneError
from keystone.hosts import mesh, remove, ssh
from keystone.hosts.context import Context, host_lock, progress

UP_SECONDS = 90
RUNNING_SECONDS = 60.0
NODE_SECONDS = 300.0
STATE = "/var/lib/tailscale/tailscaled.state"
READY = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'


async def join(context: Context, name: str) -> dict[str, str | None]:
    """Joins a host and gives its Kubernetes node (None for an edge) and mesh address. Raises KeystoneError."""
    host = context.host(name)
    primer, _ = context.settings.primer
    async with host_lock(context.stack, name), context.dial(name) as machine, context.dial(primer) as controller:
        await remove.start(machine, "tailscaled")
        seen = await mesh.daemon(machine)
        known = await mesh.nodes(controller)
        tag = context.settings.tag_of(name)
        if seen.state == "Running" and any(node.key == seen.key and tag in node.tags for node in known):
            progress(name, f"is in the mesh as {tag}, {seen.address}")
        else:
            await _forget_login(machine)
            await _forget(controller, name, known)
            seen = await _enter(context, name, tag, machine, controller)
        allowed = str(mesh_policy.admits_ssh(context.settings, tag)).lower()
        await machine.run("tailscale", "set", f"--ssh={allowed}", "--accept-risk=lose-ssh")
        node = None
        if name in context.settings.nodes:
            await remove.start(machine, "k3s")
            node = await _registered(controller, name)
            await remove.take_up(controller, name)
        # A remote agent's address is the mesh's to give, so it is an output; `host.address` stays the settings'.
        progress(name, f"joined: {seen.address}, " + (f"node {node}" if node else f"{host.role}, no Kubernetes node"))
        return {"node": node, "mesh": seen.address}


async def _forget_login(machine: ssh.Machine) -> None:
    """Starts the daemon anew as one that was never in a mesh, with a node key that nobody has seen.

    Under its old key a host that gets another address stays lost for its peers, which keep routing to the old one.
    `tailscale logout` needs a controller that still knows the host, and `up --force-reauth` may use a key twice.
    """
    await machine.run("systemctl", "stop", "tailscaled", limit=remove.STOP_SECONDS)
    await machine.run("rm", "-f", STATE)
    await remove.start(machine, "tailscaled")


async def _forget(controller: ssh.Machine, name: str, known: list[mesh.Node]) -> None:
    """Deletes what an earlier install of this host left: its mesh node, which would take the name, and its password.

    k3s refuses a node whose password differs from the one in this Secret, and makes the Secret anew when it is missing.
    A node that is ready has been let in: its password is its own and goes on keeping others from taking its name.
    """
    for node in known:
        if node.name == name:
            progress(name, f"removing its earlier mesh node {node.number}")
            await mesh.delete_node(controller, node)
    ready = await controller.run("kubectl", "get", "node", name, "--output", READY, "--ignore-not-found", check=False)
    if ready.status == 0 and ready.stdout.strip() == "True":
        return
    secret = f"{name}.node-password.k3s"
    await controller.run("kubectl", "delete", "secret", secret, "--namespace", "kube-system", "--ignore-not-found")


async def _enter(context: Context, name: str, tag: str, machine: ssh.Machine, controller: ssh.Machine) -> mesh.Daemon:
    key = await mesh.mint(controller, tag)
    try:
        await _up(context, name, machine, key)
        seen = await ssh.until(
            "its mesh daemon to be Running", lambda: _running(machine), place=f"hosts.{name}", limit=RUNNING_SECONDS
        )
    except BaseException:
        progress(name, f"expiring the unused mesh key {key.number}")
        await mesh.expire(controller, key)
        raise
    if tag not in seen.tags:
        raise KeystoneError(
            str(machine.target), f"it joined with the tags {list(seen.tags)}, expected {tag}", "Remove its mesh node"
        )
    return seen


async def _up(context: Context, name: str, machine: ssh.Machine, key: mesh.Key) -> None:
    settings = context.settings.mesh
    routes = sorted(str(route.cidr) for route in settings.routes.values() if name in route.hosts)
    argv = ["tailscale", "up", "--auth-key=file:/dev/stdin", "--login-server", settings.server_url, "--hostname", name]
    argv += [f"--timeout={UP_SECONDS}s", "--reset"]
    argv += [f"--advertise-routes={','.join(routes)}"] if routes else []
    progress(name, f"joining the mesh at {settings.server_url}")
    await machine.run(*argv, stdin=f"{key.secret}\n", limit=UP_SECONDS + ssh.CONNECT_SECONDS)


async def _running(machine: ssh.Machine) -> mesh.Daemon | None:
    seen = await mesh.daemon(machine)
    if seen.state == "Running" and seen.address:
        return seen
    raise KeystoneError(str(machine.target), f"the daemon's state is {seen.state}, its address {seen.address}")


async def _registered(controller: ssh.Machine, name: str) -> str:
    async def attempt() -> str | None:
        return (await controller.run("kubectl", "get", "node", name, "--output", "name")).stdout.strip() or None

    found = await ssh.until("its Kubernetes node", attempt, place=f"hosts.{name}", limit=NODE_SECONDS)
    return found.removeprefix("node/")


def output(result: dict[str, str | None]) -> str:
    """The result as the program reads it from standard output."""
    return json.dumps(result, sort_keys=True)
