"""Takes the etcd member of a leaving server out of the cluster, from the Primer; it comes before the node.

k3s does it itself, on an annotation of the node, and as well when the node is deleted. kubeadm leaves it to the
operator: a member that stays counts as a lost vote for ever.
"""

import json
from typing import Any

from keystone.errors import KeystoneError
from keystone.hosts import ssh
from keystone.hosts.context import progress

SECONDS = 60.0
# docs.k3s.io: k3s removes the etcd member of a node with this annotation and confirms with the other one.
REMOVE = "etcd.k3s.cattle.io/remove=true"
REMOVED = "etcd.k3s.cattle.io/removed-node-name"
# kubeadm runs etcd as a static pod, whose certificates lie here on the machine and in the pod alike.
PKI = "/etc/kubernetes/pki/etcd"
ETCDCTL = (
    "etcdctl",
    "--endpoints=https://127.0.0.1:2379",
    f"--cacert={PKI}/ca.crt",
    f"--cert={PKI}/server.crt",
    f"--key={PKI}/server.key",
)


async def leave_k3s(controller: ssh.Machine, name: str) -> None:
    """Asks k3s for it and waits for its word; says so when there is none."""
    await controller.run("kubectl", "annotate", "node", name, REMOVE, "--overwrite")

    async def left() -> bool | None:
        node = json.loads((await controller.run("kubectl", "get", "node", name, "--output", "json")).stdout)
        if REMOVED in node["metadata"].get("annotations", {}):
            return True
        raise KeystoneError(str(controller.target), f"{REMOVED} is not set yet")

    try:
        await ssh.until("its etcd member to leave", left, place=f"hosts.{name}", limit=SECONDS)
        progress(name, "its etcd member has left")
    except KeystoneError as fault:
        # k3s removes the member of a deleted node as well, so the removal goes on.
        progress(name, f"no word that its etcd member left ({fault.problem}); deleting the node removes it too")


async def leave_kubeadm(controller: ssh.Machine, name: str) -> None:
    """Removes the member that kubeadm named after the node; nothing when it is gone already.

    Raises KeystoneError when etcd does not let it go: without it the node must stay, so that a second run tries again.
    """
    member = await _member(controller, name)
    if member is None:
        progress(name, "its etcd member is gone already")
        return
    await _etcdctl(controller, "member", "remove", member)
    if await _member(controller, name) is not None:
        raise KeystoneError(
            f"hosts.{name}", f"its etcd member {member} is still listed after its removal", "Look at etcd and try again"
        )
    progress(name, f"its etcd member {member} has left")


async def _member(controller: ssh.Machine, name: str) -> str | None:
    """The number of the member with this name, as `member remove` takes it."""
    listed = await _etcdctl(controller, "member", "list", "--write-out=json")
    try:
        members: list[dict[str, Any]] = json.loads(listed)["members"]
        return next((f"{int(one['ID']):x}" for one in members if one.get("name") == name), None)
    except (ValueError, KeyError, TypeError):
        raise KeystoneError(
            str(controller.target), f"etcd's list of members cannot be read: {ssh.last_line(listed)}"
        ) from None


async def _etcdctl(controller: ssh.Machine, *argv: str) -> str:
    """Runs etcdctl in the Primer's own etcd pod, whose machine has none on its path."""
    pod = ("kubectl", "exec", "--namespace", "kube-system", f"etcd-{controller.target.name}", "--")
    return (await controller.run(*pod, *ETCDCTL, *argv, limit=SECONDS)).stdout
