"""Headscale's policy and its tests, worked out from the settings.

The deployed policy never carries `tests`: Headscale refuses them while a tag has no node. They travel in a second
document (`checked`), which is checked and never stored. A rule of the stack file that would open what must stay closed
is refused here, whatever it is called.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from keystone.settings import Fault, Settings, SettingsError
from keystone.settings.mesh import MESH_TAGS
from keystone.settings.ports import ETCD_PORTS

HOST_TAGS = ("tag:primer", "tag:server", "tag:agent", "tag:edge", "tag:pool")
CONTROL_PLANE = frozenset({"tag:primer", "tag:server"})
CI, CI_UP = "tag:ci", "tag:ci-up"
# Discard (RFC 863): nothing of ours listens there, so every pair must refuse it.
CLOSED_PORT = "tcp:9"


@dataclass(frozen=True)
class Ports:
    """A protocol and its ports from `first` to `last`."""

    protocol: str
    first: int
    last: int

    def meets(self, other: "Ports") -> bool:
        """Tell whether the two have a port in common."""
        return self.protocol == other.protocol and self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True)
class Flow:
    """What one rule opens: from an alias, to an alias or a range, on some ports."""

    rule: str
    source: str
    target: str
    ports: Ports


def _parse(text: str) -> Ports:
    protocol, _, numbers = text.partition(":")
    first, _, last = numbers.partition("-")
    return Ports(protocol, int(first), int(last or first))


def _ports(settings: Settings, words: Iterable[str]) -> list[Ports]:
    return [_parse(text) for word in words for text in settings.ports(word)]


def flows(settings: Settings) -> list[Flow]:
    """Return what the rules of the stack file and the default rules open, in the order of their names."""
    found = []
    for name, rule in sorted(settings.mesh.rules.items()):
        targets = [*rule.targets, *(str(settings.mesh.routes[route].cidr) for route in rule.routes)]
        ports = _ports(settings, rule.ports)
        found += [Flow(name, source, target, each) for source in rule.sources for target in targets for each in ports]
    return found


def allows(settings: Settings, source: str, target: str, port: str) -> bool:
    """Tell whether a rule lets the alias `source` reach `target` on a port such as tcp:443."""
    wanted = _parse(port)
    return any((f.source, f.target) == (source, target) and f.ports.meets(wanted) for f in flows(settings))


def violations(settings: Settings) -> list[Fault]:
    """Return every rule that opens what must stay closed, each with its cure."""
    etcd = [Ports("tcp", port, port) for port in ETCD_PORTS]
    ssh, api = _ports(settings, ["ssh"]), _ports(settings, ["api"])
    allowed = {CI: api, CI_UP: [*api, *ssh]}
    # A pipeline outside of the site comes to a host's address there by a route to this address alone.
    hosts = {*HOST_TAGS, *(f"{host.address}/32" for host in settings.hosts.values())}
    found: list[Fault] = []
    for flow in flows(settings):
        problem = ""
        if flow.source not in CONTROL_PLANE and any(flow.ports.meets(port) for port in etcd):
            problem = f"lets {flow.source} reach etcd ({flow.ports} on {flow.target}), which holds every secret"
        elif flow.source in HOST_TAGS and any(flow.ports.meets(port) for port in ssh):
            problem = f"lets {flow.source} reach SSH of other hosts ({flow.ports} on {flow.target})"
        elif flow.source in allowed and (flow.target not in hosts or flow.ports not in allowed[flow.source]):
            problem = f"lets {flow.source} reach {flow.ports.protocol} {flow.ports} on {flow.target}"
        if problem:
            cure = "Take it out: only people and tag:ci-up log in" if "SSH" in problem else "Take it out of the rule"
            found.append(Fault(f"mesh.rules.{flow.rule}", problem, cure))
    for name, rule in sorted(settings.mesh.ssh.items()):
        for tag in sorted(set(rule.sources) & set(MESH_TAGS) - {CI_UP}):
            problem = f"lets machines ({tag}) log in on other hosts"
            found.append(Fault(f"mesh.ssh.{name}", problem, "Take it out: only people and tag:ci-up log in"))
    return sorted(set(found))


def _unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))


def _acls(settings: Settings) -> list[dict[str, Any]]:
    # Peers learn of each other only where a rule joins them. This one makes all hosts peers, so that each can ping
    # each (`tailscale ping`, path MTU discovery), whatever the other rules say.
    acls = [
        {"action": "accept", "proto": "icmp", "src": list(HOST_TAGS), "dst": [f"{tag}:*" for tag in HOST_TAGS]},
    ]
    opened: dict[tuple[str, str], list[Flow]] = {}
    for flow in flows(settings):
        opened.setdefault((flow.rule, flow.ports.protocol), []).append(flow)
    for (_, protocol), group in opened.items():
        ports = ",".join(_unique(str(flow.ports) for flow in group))
        acls.append(
            {
                "action": "accept",
                "proto": protocol,
                "src": _unique(flow.source for flow in group),
                "dst": _unique(f"{flow.target}:{ports}" for flow in group),
            }
        )
    return acls


def policy(settings: Settings) -> dict[str, Any]:
    """Return the policy to deploy. Raises SettingsError with all `violations`."""
    if faults := violations(settings):
        raise SettingsError(faults)
    mesh = settings.mesh
    approvers = {
        str(route.cidr): _unique(settings.tag_of(host) for host in sorted(route.hosts))
        for _, route in sorted(mesh.routes.items())
    }
    return {
        "groups": {f"group:{name}": [f"{user}@" for user in users] for name, users in sorted(mesh.groups.items())},
        # No owner: only keys that the controller mints carry a tag, no device can claim one.
        "tagOwners": {tag: [] for tag in MESH_TAGS},
        "acls": _acls(settings),
        "ssh": [
            {"action": rule.action, "src": [*rule.sources], "dst": [*rule.targets], "users": [*rule.users]}
            for _, rule in sorted(mesh.ssh.items())
        ],
        "autoApprovers": {"routes": approvers},
    }


def admits_ssh(settings: Settings, tag: str) -> bool:
    """Whether the mesh's own SSH lets anybody into the hosts with this tag: a group without members is nobody."""
    empty = {f"group:{name}" for name, users in settings.mesh.groups.items() if not users}
    return any(tag in rule.targets and set(rule.sources) - empty for rule in settings.mesh.ssh.values())


def _encoded(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def deployed(settings: Settings) -> bytes:
    """Return the policy as it is sent to `headscale policy set`: the same settings, the same bytes."""
    return _encoded(policy(settings))


def _groups(settings: Settings) -> list[str]:
    return [f"group:{name}" for name, users in sorted(settings.mesh.groups.items()) if users]


def _probes(settings: Settings) -> list[str]:
    """Return the ports that every pair is tried on: the services', etcd's, those of every rule, and one closed."""
    ports = _ports(settings, ("api", "ssh", "kubelet", "cni"))
    ports += [flow.ports for flow in flows(settings)]
    ends = [f"{each.protocol}:{port}" for each in ports for port in (each.first, each.last)]
    return sorted({*ends, *(f"tcp:{port}" for port in ETCD_PORTS), CLOSED_PORT})


def policy_tests(settings: Settings) -> list[dict[str, Any]]:
    """Return Headscale's `tests`: for each pair of aliases and each protocol, which ports open and which do not.

    Sources are the tags and the groups with members, targets the tags. A test whose alias has no node is refused:
    `checked` leaves these out.
    """
    return [
        test
        for source in (*MESH_TAGS, *_groups(settings))
        for target in MESH_TAGS
        for protocol in ("tcp", "udp")
        if len(test := _test(settings, source, target, protocol)) > 2
    ]


def _test(settings: Settings, source: str, target: str, protocol: str) -> dict[str, Any]:
    test: dict[str, Any] = {"src": source, "proto": protocol}
    for probe in _probes(settings):
        if probe.startswith(protocol):
            verdict = "accept" if allows(settings, source, target, probe) else "deny"
            test.setdefault(verdict, []).append(f"{target}:{probe.partition(':')[2]}")
    return test


def ssh_tests(settings: Settings) -> list[dict[str, Any]]:
    """Return Headscale's `sshTests`: who may log in where by the mesh's own SSH, and who may not."""
    rules = settings.mesh.ssh.values()
    users = sorted({"root", *(user for rule in rules for user in rule.users)})
    tests = []
    for source in (*MESH_TAGS, *_groups(settings)):
        for target in HOST_TAGS:
            test: dict[str, Any] = {"src": source, "dst": [target]}
            for user in users:
                opens = any(source in r.sources and target in r.targets and user in r.users for r in rules)
                test.setdefault("accept" if opens else "deny", []).append(user)
            tests.append(test)
    return tests


def checked(settings: Settings, present: Collection[str]) -> bytes:
    """Return the policy with the tests that can run, for `headscale policy check`; never to be deployed.

    `present` holds the tags and groups that have at least one node in the mesh.
    """
    tests = [t for t in policy_tests(settings) if t["src"] in present and _alias(t) in present]
    ssh = [t for t in ssh_tests(settings) if t["src"] in present and t["dst"][0] in present]
    return _encoded({**policy(settings), "tests": tests, "sshTests": ssh})


def _alias(test: Mapping[str, Any]) -> str:
    """Return the alias that a test's destinations share."""
    return [*test.get("accept", ()), *test.get("deny", ())][0].rpartition(":")[0]
