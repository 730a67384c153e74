"""Takes a host out of the cluster and the mesh. Runs against the Primer and never needs the removed host.

A name that is still in the stack file means that the stack is destroyed or that its join is replaced: nothing tells the
two apart. So only what `join` brings back ends, the services and the mesh node; a Primer that is gone is no fault then.
Each step may find its work done.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass

from keystone.errors import KeystoneError
from keystone.hosts import etcd, mesh, osds, ssh
from keystone.hosts.context import Context, host_lock, note, progress

DRAIN_SECONDS = 120
FORCED_DRAIN_SECONDS = 30
STOP_SECONDS = 90.0
START_SECONDS = 120.0
LOGOUT_SECONDS = 20.0
SERVERS = ("primer", "server")
PRIMER_UNITS = ("headscale", "tailscaled", "k3s")
# Units with this condition (nix/modules) stay down, so that a reboot does not bring a removed host back.
MARK = "/var/lib/keystone/removed"
# The cluster forgets the pods of a dead node that has it; else they stay for ever, and their namespaces with them.
# https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/#non-graceful-node-shutdown
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


@dataclass(frozen=True)
class Removed:
    """A host that leaves, as the deleted resource knew it: the stack file may not have it any more."""

    name: str
    role: str
    target: ssh.Target
    generation: int

    @property
    def has_node(self) -> bool:
        return self.role != "edge"


async def remove(context: Context, removed: Removed) -> None:
    """Removes a host; see the module. Raises KeystoneError when the Primer cannot be reached for a single removal."""
    async with host_lock(context.stack, removed.name):
        if removed.name in context.settings.hosts or removed.role == "primer":
            await _suspend(context, removed)
            return
        await leave(context, removed, drain=True, primer_may_be_gone=False, purge=True)
        note(removed.name, "removed; it still holds its agent token: switch it off or reinstall it")


async def give_up(context: Context, names: Iterable[str]) -> None:
    """Lets a destroy pass by machines that are dead. What keeps a node from being marked is said, and is no fault."""
    try:
        async with context.dial(context.settings.primer[0]) as controller:
            for name in (one for one in names if one in context.settings.nodes):
                taint = f"{OUT_OF_SERVICE}=nodeshutdown:NoExecute"
                done = await controller.run("kubectl", "taint", "node", name, taint, "--overwrite", check=False)
                said = "its pods are given up" if done.status == 0 else f"its pods stay ({ssh.last_line(done.stderr)})"
                progress(name, f"does not answer: {said}")
    except KeystoneError as fault:
        progress(context.settings.primer[0], f"the pods of dead machines stay: {fault.problem}")


async def take_up(controller: ssh.Machine, name: str) -> None:
    """Gives a node that was given up its pods again; nothing where it was not."""
    await controller.run("kubectl", "taint", "node", name, f"{OUT_OF_SERVICE}-", check=False)


async def _suspend(context: Context, removed: Removed) -> None:
    """Ends what `join` brings back. Its Kubernetes node, pods and etcd member stay: a replaced join must cost none."""
    # The Primer's own services end with the mesh policy, after every other host has left.
    await (log_out if removed.role == "primer" else stop)(context, removed)
    primer, _ = context.settings.primer
    async with _unless_gone(removed), context.dial(primer) as controller:
        await _leave_mesh(controller, removed.name)


@asynccontextmanager
async def _unless_gone(removed: Removed) -> AsyncIterator[None]:
    try:
        yield
    except (ssh.Unreachable, ssh.WrongHostKey) as fault:
        progress(removed.name, f"the Primer is gone, nothing to unregister ({fault.problem})")


async def leave(
    context: Context, removed: Removed, *, drain: bool, primer_may_be_gone: bool, purge: bool = False
) -> None:
    """Drain and etcd member on the Primer, services on the host, then node, node password and mesh node on the Primer.

    `purge` takes its OSDs out of Ceph before all that; a host that is installed anew comes back with its disks.

    The services stop in between: a running kubelet or daemon would register again what was just deleted.
    """
    primer, _ = context.settings.primer
    async with _unless_gone(removed) if primer_may_be_gone else nullcontext():
        if drain and removed.has_node:
            async with context.dial(primer) as controller:
                await _empty(controller, removed, context.settings.cluster.distribution, purge=purge)
        await stop(context, removed)
        async with context.dial(primer) as controller:
            await _forget(controller, removed)


async def _empty(controller: ssh.Machine, removed: Removed, distribution: str, *, purge: bool) -> None:
    name = removed.name
    if not await _api(controller, name):
        return
    if purge:
        await osds.leave(controller, name)
    has_node = await _has_node(controller, name)
    if has_node:
        await _drain(controller, name)
    if removed.role not in SERVERS:
        return
    if distribution == "kubeadm":
        await etcd.leave_kubeadm(controller, name)
    elif has_node:
        await etcd.leave_k3s(controller, name)


async def _forget(controller: ssh.Machine, removed: Removed) -> None:
    name = removed.name
    if removed.has_node and await _api(controller, name):
        await controller.run("kubectl", "delete", "node", name, "--ignore-not-found", "--timeout=60s", limit=70)
        secret = f"{name}.node-password.k3s"
        await controller.run("kubectl", "delete", "secret", secret, "--namespace", "kube-system", "--ignore-not-found")
    await _leave_mesh(controller, name)


async def _api(controller: ssh.Machine, name: str) -> bool:
    answer = await controller.run("kubectl", "get", "--raw", "/readyz", "--request-timeout=10s", check=False)
    if answer.status == 0:
        return True
    progress(name, f"the Kubernetes API is down, its node stays ({ssh.last_line(answer.stderr)})")
    return False


async def _has_node(controller: ssh.Machine, name: str) -> bool:
    found = await controller.run("kubectl", "get", "node", name, "--output", "name", "--ignore-not-found")
    return bool(found.stdout.strip())


async def _drain(controller: ssh.Machine, name: str) -> None:
    progress(name, f"draining, at most {DRAIN_SECONDS} s")
    argv = ("kubectl", "drain", name, "--ignore-daemonsets", "--delete-emptydir-data")
    gentle = await controller.run(*argv, f"--timeout={DRAIN_SECONDS}s", limit=DRAIN_SECONDS + 20, check=False)
    if gentle.status == 0:
        return
    progress(name, f"draining by force, without regard to disruption budgets ({ssh.last_line(gentle.stderr)})")
    forced = (*argv, "--force", "--disable-eviction", "--grace-period=0", f"--timeout={FORCED_DRAIN_SECONDS}s")
    result = await controller.run(*forced, limit=FORCED_DRAIN_SECONDS + 20, check=False)
    if result.status != 0:
        progress(name, f"some pods did not go; their node goes now ({ssh.last_line(result.stderr)})")


async def _leave_mesh(controller: ssh.Machine, name: str) -> None:
    listed = await controller.run("headscale", "nodes", "list", "-o", "json", check=False)
    if listed.status != 0:
        progress(name, f"the mesh controller is down, its mesh node stays ({ssh.last_line(listed.stderr)})")
        return
    for node in await mesh.nodes(controller):
        if node.name == name:
            await mesh.delete_node(controller, node)
            progress(name, f"its mesh node {node.number} is gone")


async def stop(context: Context, removed: Removed) -> None:
    """Ends the host's part in cluster and mesh if it answers with its pinned key; else says so."""
    try:
        async with context.dial_target(removed.target, removed.generation) as machine:
            if removed.has_node:
                await machine.run("systemctl", "stop", "k3s", limit=STOP_SECONDS)
            await _log_out(machine)
            await machine.run("systemctl", "stop", "tailscaled", limit=STOP_SECONDS)
            await _mark(machine)
            progress(removed.name, "its services are stopped")
    except KeystoneError as fault:
        progress(removed.name, f"its services were not stopped: {fault.problem}")


async def _mark(machine: ssh.Machine) -> None:
    await machine.run("install", "-D", "-m", "600", "/dev/stdin", MARK, stdin="Taken out of its cluster.\n")


async def take_back(machine: ssh.Machine) -> None:
    """Lets the services of a host start again; nothing where it was not removed."""
    await machine.run("rm", "-f", MARK)


async def start(machine: ssh.Machine, unit: str) -> None:
    """Starts a unit that a removal has stopped; a running one is left alone."""
    if (await machine.run("systemctl", "is-active", unit, check=False)).stdout.strip() != "active":
        progress(machine.target.name, f"starting {unit}")
        await take_back(machine)
        await machine.run("systemctl", "start", unit, limit=START_SECONDS)


async def log_out(context: Context, removed: Removed) -> None:
    """Makes the host's daemon forget its node key, while the controller still knows it; says so when that fails."""
    try:
        async with context.dial_target(removed.target, removed.generation) as machine:
            await _log_out(machine)
    except KeystoneError as fault:
        progress(removed.name, f"its mesh daemon was not logged out: {fault.problem}")


async def _log_out(machine: ssh.Machine) -> None:
    out = await machine.run("tailscale", "logout", limit=LOGOUT_SECONDS, check=False)
    if out.status != 0:
        progress(machine.target.name, f"`tailscale logout`: {ssh.last_line(out.stderr)}")


async def stop_primer(context: Context, removed: Removed) -> None:
    """The last step of a destroy: the Primer's own services, the mesh controller among them; `policy` starts them."""
    async with host_lock(context.stack, removed.name):
        try:
            async with context.dial_target(removed.target, removed.generation) as machine:
                for unit in reversed(PRIMER_UNITS):
                    await machine.run("systemctl", "stop", unit, limit=STOP_SECONDS)
                await _mark(machine)
            progress(removed.name, "its services are stopped")
        except KeystoneError as fault:
            progress(removed.name, f"its services were not stopped: {fault.problem}")
