"""Checks a running cluster against its settings, from the machines themselves: mesh, API, nodes, names, refusals.

Nothing is changed. Every check is bounded and says what it saw; what cannot be checked is listed as not run.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from itertools import permutations
from typing import Any

from keystone import mesh_policy, network_plugin
from keystone.charts import mount_test
from keystone.charts.mount_test import TEST_NAMESPACE
from keystone.charts.network import ROLE_LABEL
from keystone.errors import KeystoneError
from keystone.hosts import mesh, ssh
from keystone.hosts.context import Context
from keystone.pools import POOL_LABEL

# All machines of a large site at once would drown this computer in SSH sessions.
AT_ONCE = 64
# sshd's MaxSessions is 10.
PER_HOST = 8
PING_SECONDS = 20.0
QUERY_SECONDS = 20.0
# A refused port answers nothing at all: so long silence, on a mesh that pings in milliseconds, is a refusal.
SILENCE_SECONDS = 4.0
CONTROL_SECONDS = 20.0
# Pods of the plugin come back some time after their machine.
PLUGIN_SECONDS = 90.0
PLUGIN_PAUSE = 2.0
ETCD_PORT = "tcp:2379"
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"

# kwok's mark on a node that no kubelet runs.
NO_KUBELET = "kwok.x-k8s.io/node"


@dataclass(frozen=True)
class Check:
    """One finding. `seconds` is how long it took; `detail` what was seen."""

    group: str
    name: str
    ok: bool
    seconds: float
    detail: str


@dataclass
class Report:
    checks: list[Check] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all holds. A report without checks proves nothing."""
        return bool(self.checks) and all(check.ok for check in self.checks)

    def groups(self) -> Iterator[tuple[str, list[Check]]]:
        """The checks by group, in the order of their first appearance."""
        for group in dict.fromkeys(check.group for check in self.checks):
            yield group, [check for check in self.checks if check.group == group]

    def as_json(self) -> str:
        checks = [asdict(check) | {"seconds": round(check.seconds, 3)} for check in self.checks]
        return json.dumps({"ok": self.ok, "checks": checks, "notRun": self.not_run}, indent=2)


class _Failed(Exception):
    """A check that found something else than expected."""


class Verification:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.settings = context.settings
        self.primer, _ = context.settings.primer
        self.report = Report()
        self.machines: dict[str, ssh.Machine] = {}
        self._all = asyncio.Semaphore(AT_ONCE)
        self._each = {name: asyncio.Semaphore(PER_HOST) for name in context.settings.hosts}

    async def run(self) -> Report:
        async with AsyncExitStack() as stack:
            await self._group(
                "host answers",
                {name: self._one(name, lambda n=name: self._connect(stack, n)) for name in self.settings.hosts},
            )
            await self._group("mesh joined", {n: self._one(n, lambda n=n: self._joined(n)) for n in self.machines})
            await self._mesh()
            if self.primer in self.machines:
                await self._cluster()
        return self.report

    async def _mesh(self) -> None:
        pairs = list(permutations(sorted(self.machines), 2))
        names = [(a, self.primer) for a in sorted(self.machines)] + [(self.primer, b) for b in sorted(self.machines)]
        await self._group(
            "mesh ping", {f"{a} -> {b}": self._one(a, lambda a=a, b=b: self._ping(a, b)) for a, b in pairs}
        )
        known = [(a, b) for a, b in dict.fromkeys(names) if a in self.machines]
        await self._group(
            "mesh name", {f"{a} asks {b}": self._one(a, lambda a=a, b=b: self._resolve(a, b)) for a, b in known}
        )
        await self._group(
            "mesh refuses",
            {
                f"{a} -> {b} {port}": self._one(a, lambda a=a, b=b, p=port: self._refused(a, b, p))
                for a, b, port in self._closed()
            },
        )

    async def _cluster(self) -> None:
        workers = [name for name in self.settings.agents if name in self.machines]
        await self._group("mesh policy", {"tests": self._one(self.primer, self._policy)})
        await self._group("API", {"readyz": self._one(self.primer, lambda: self._ready(self.primer, None))})
        await self._group(
            "API over the mesh",
            {n: self._one(n, lambda n=n: self._ready(n, self.settings.mesh.name_of(self.primer))) for n in workers},
        )
        await self._nodes()

    # Running checks

    async def _one(self, host: str, work: Callable[[], Awaitable[str]]) -> tuple[bool, float, str]:
        async with self._all, self._each[host]:
            began = time.monotonic()
            try:
                seen, ok = await work(), True
            except (KeystoneError, _Failed) as fault:
                seen, ok = str(fault), False
            return ok, time.monotonic() - began, seen

    async def _group(self, group: str, work: dict[str, Awaitable[tuple[bool, float, str]]]) -> None:
        for name, (ok, seconds, seen) in zip(work, await asyncio.gather(*work.values()), strict=True):
            self.report.checks.append(Check(group, name, ok, seconds, seen))

    # The checks

    async def _connect(self, stack: AsyncExitStack, name: str) -> str:
        self.machines[name] = await stack.enter_async_context(self.context.dial(name))
        return str(self.machines[name].target.address)

    async def _joined(self, name: str) -> str:
        seen = await mesh.daemon(self.machines[name])
        tag = self.settings.tag_of(name)
        if seen.state != "Running" or tag not in seen.tags or not seen.address:
            raise _Failed(
                f"state {seen.state}, tags {list(seen.tags)}, address {seen.address}; expected Running, {tag}"
            )
        return f"{seen.address} {tag}"

    async def _ping(self, source: str, target: str) -> str:
        said = ssh.Result("", "", None)
        for count in ("1", "3"):  # the first packet may go while the path is being found
            argv = ("tailscale", "ping", "--c", count, "--timeout", "5s", "--until-direct=false", target)
            said = await self.machines[source].run(*argv, limit=PING_SECONDS, check=False)
            if said.status == 0 and "pong" in said.stdout:
                return ssh.last_line(said.stdout)
        raise _Failed(ssh.last_line(said.stderr or said.stdout))

    async def _resolve(self, source: str, target: str) -> str:
        name = self.settings.mesh.name_of(target)
        said = (await self.machines[source].run("tailscale", "dns", "query", name, limit=QUERY_SECONDS)).stdout
        wanted = (await mesh.daemon(self.machines[target])).address if target in self.machines else None
        words = said.split()
        if "RCodeSuccess" not in words or (wanted and wanted not in words):
            raise _Failed(f"{name} does not give {wanted}: {ssh.last_line(said)}")
        return f"{name} is {wanted}"

    def _closed(self) -> list[tuple[str, str, str]]:
        """For each host one neighbour and a port there that no rule opens to it: SSH, else etcd, else discard."""
        hosts = sorted(self.machines)
        found = []
        for source, target in zip(hosts, hosts[1:] + hosts[:1], strict=True):
            ports = (f"tcp:{self.settings.hosts[target].ssh.port}", ETCD_PORT, mesh_policy.CLOSED_PORT)
            tags = self.settings.tag_of(source), self.settings.tag_of(target)
            closed = [port for port in ports if not mesh_policy.allows(self.settings, *tags, port)]
            if source != target and closed:
                found.append((source, target, closed[0]))
        return found

    def _opened(self, source: str) -> tuple[str, str] | None:
        """A server whose API a rule opens to this host, and the port; another server than itself if there is one."""
        [port] = self.settings.ports("api")
        tag = self.settings.tag_of(source)
        found = [
            server
            for server in sorted(self.settings.servers, key=lambda name: (name == source, name))
            if mesh_policy.allows(self.settings, tag, self.settings.tag_of(server), port)
        ]
        return (found[0], port) if found else None

    async def _knock(self, source: str, target: str, port: str, limit: float) -> ssh.Result | None:
        """Connects and asks for a page, which even a TLS server answers; None when all is silent."""
        argv = ("tailscale", "nc", target, port.removeprefix("tcp:"))
        try:
            async with asyncio.timeout(limit):
                return await self.machines[source].run(*argv, stdin="GET / HTTP/1.0\r\n\r\n", check=False)
        except TimeoutError:
            return None

    async def _refused(self, source: str, target: str, port: str) -> str:
        said = await self._knock(source, target, port, SILENCE_SECONDS)
        if said is not None:
            # Even a refusal by the far end means that the packet went through.
            raise _Failed(f"the mesh let it through (status {said.status}: {ssh.last_line(said.stderr)})")
        silence = f"no answer in {SILENCE_SECONDS:g} s"
        opened = self._opened(source)
        if opened is None:
            self.report.not_run.append(f"an open port as control of {source} -> {target} {port}: no rule opens the API")
            return silence
        # A client that hangs is as silent as a refusal: it has to get through where it may.
        control = await self._knock(source, *opened, CONTROL_SECONDS)
        # A port that its machine refuses has been reached too.
        if control is None or (control.status != 0 and "refused" not in control.stderr):
            seen = "silent" if control is None else ssh.last_line(control.stderr)
            raise _Failed(f"{silence}, and {' '.join(opened)}, which a rule opens, fails too: {seen}")
        return f"{silence}; {' '.join(opened)} {'answers' if control.status == 0 else 'is reached'}"

    async def _policy(self) -> str:
        controller = self.machines[self.primer]
        present = {tag for node in await mesh.nodes(controller) for tag in node.tags}
        document = mesh_policy.checked(self.settings, present).decode()
        said = await controller.run("headscale", "policy", "check", "--file", "/dev/stdin", stdin=document, check=False)
        if said.status != 0:
            raise _Failed(ssh.last_line(said.stderr))
        tests = json.loads(document)
        return f"{len(tests['tests'])} tests and {len(tests['sshTests'])} SSH tests hold"

    async def _ready(self, name: str, server: str | None) -> str:
        where = ("--server", f"https://{server}:6443") if server else ()
        argv = ("kubectl", *where, "get", "--raw", "/readyz", "--request-timeout=10s")
        answer = (await self.machines[name].run(*argv, limit=QUERY_SECONDS)).stdout.strip()
        if answer != "ok":
            raise _Failed(f"/readyz says {answer[:80]!r}")
        return f"{server or 'localhost'}: ok"

    async def _nodes(self) -> None:
        known: dict[str, Any] = {}

        async def listed() -> str:
            said = await self.machines[self.primer].run("kubectl", "get", "nodes", "--output", "json")
            items = mesh.parsed(self.machines[self.primer], "kubectl get nodes", said.stdout)["items"]
            known.update({item["metadata"]["name"]: item for item in items})
            strangers = sorted(known.keys() - self.settings.nodes.keys() - self._of_pools(known).keys())
            if strangers:
                raise _Failed(f"nodes that the stack file does not have: {', '.join(strangers)}")
            return f"{len(known)} nodes"

        await self._group("nodes", {"all of the stack file": self._one(self.primer, listed)})

        async def ready(name: str) -> str:
            return _node_fault(known.get(name), self.settings.hosts[name].role)

        await self._group("node ready", {n: self._one(n, lambda n=n: ready(n)) for n in self.settings.nodes})
        await self._pools(self._of_pools(known))
        await self._group(
            "network plugin",
            {self.settings.network.cni: self._one(self.primer, lambda: self._plugin(list(known.values())))},
        )
        await self._mounts(any(NO_KUBELET in _labels(node) for node in known.values()))

    def _of_pools(self, known: dict[str, Any]) -> dict[str, Any]:
        """The nodes that machines of our pools have made of themselves."""
        pools = self.settings.aws.node_pools if self.settings.aws else {}
        return {name: node for name, node in sorted(known.items()) if _labels(node).get(POOL_LABEL) in pools}

    async def _pools(self, nodes: dict[str, Any]) -> None:
        """Each pool is of an allowed size, and each of its machines is Ready and found by every host."""

        async def size(pool: str, least: int, most: int) -> str:
            count = sum(_labels(node)[POOL_LABEL] == pool for node in nodes.values())
            if not least <= count <= most:
                raise _Failed(f"{count} nodes; the stack file wants {least} to {most}")
            return f"{count} nodes"

        async def ready(name: str) -> str:
            return _readiness(nodes[name])

        pools = self.settings.aws.node_pools if self.settings.aws else {}
        await self._group(
            "pool size",
            {n: self._one(self.primer, lambda n=n, it=it: size(n, it.min, it.max)) for n, it in sorted(pools.items())},
        )
        await self._group("pool node ready", {n: self._one(self.primer, lambda n=n: ready(n)) for n in nodes})
        pairs = [(host, node) for host in sorted(self.machines) for node in nodes]
        await self._group(
            "mesh ping to pools", {f"{a} -> {b}": self._one(a, lambda a=a, b=b: self._ping(a, b)) for a, b in pairs}
        )

    async def _listed(self, *what: str) -> Any:
        said = await self.machines[self.primer].run("kubectl", "get", *what, "--output", "json", limit=QUERY_SECONDS)
        return mesh.parsed(self.machines[self.primer], f"kubectl get {what[0]}", said.stdout)

    async def _plugin(self, nodes: list[Any]) -> str:
        deadline = time.monotonic() + PLUGIN_SECONDS
        while True:
            sets = (await self._listed("daemonsets", "--all-namespaces"))["items"]
            if not network_plugin.starting(self.settings, sets) or time.monotonic() > deadline:
                break
            await asyncio.sleep(PLUGIN_PAUSE)
        charts: list[str] = []
        if network_plugin.by_chart(self.settings):
            found = (await self._listed("helmcharts", "--namespace", "kube-system"))["items"]
            charts = [it["metadata"]["name"] for it in found]
        if wrong := list(network_plugin.faults(self.settings, sets, nodes, charts)):
            raise _Failed("; ".join(wrong))
        return network_plugin.state(self.settings, sets)

    async def _mounts(self, fake: bool) -> None:
        """Whether the Jobs that the program made have written and read a volume of each class, and a bucket."""
        if fake:
            self.report.not_run.append("mount test: not run (no kubelet)")
        elif TEST_NAMESPACE not in mount_test.namespaces(self.settings):
            self.report.not_run.append("mount test: not run (the stack file has none)")
        else:
            wanted = mount_test.jobs(self.settings)
            await self._group(
                "mount test",
                {
                    ", ".join(classes): self._one(self.primer, lambda job=job: self._mounted(job))
                    for job, classes in wanted.items()
                },
            )

    async def _mounted(self, name: str) -> str:
        job = await self._listed("job", name, "--namespace", TEST_NAMESPACE)
        done = [it["type"] for it in job.get("status", {}).get("conditions", []) if it["status"] == "True"]
        if "Complete" not in done:
            raise _Failed(f"the Job says {', '.join(done) or 'nothing yet'}")
        return "written and read"


def _labels(node: dict[str, Any]) -> dict[str, str]:
    metadata = node["metadata"]
    return {**metadata.get("annotations", {}), **metadata.get("labels", {})}


def _node_fault(node: dict[str, Any] | None, role: str) -> str:
    """What a good node looks like. Raises _Failed otherwise."""
    if node is None:
        raise _Failed("there is no such node")
    _readiness(node)
    labels = _labels(node)
    if (CONTROL_PLANE in labels) != (role in ("primer", "server")) or labels.get(ROLE_LABEL) != role:
        raise _Failed(
            f"its labels say {labels.get(ROLE_LABEL)!r}, control plane {CONTROL_PLANE in labels}; expected {role}"
        )
    return f"Ready, {role}"


def _readiness(node: dict[str, Any]) -> str:
    states = {entry["type"]: entry for entry in node["status"].get("conditions", [])}
    ready = states.get("Ready", {})
    if ready.get("status") != "True":
        raise _Failed(f"not Ready: {ready.get('message') or ready.get('reason') or 'no condition'}")
    return "Ready"


async def verify(context: Context) -> Report:
    """All checks of a stack. A host that does not answer fails its own check and is left out of the others."""
    return await Verification(context).run()
