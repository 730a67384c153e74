"""What the network rules look at: the settings, and what a project's files say beside them."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import yaml

from keystone import mesh_policy
from keystone.checks.findings import Finding
from keystone.checks.ownership.manifests import Manifest, Reader
from keystone.settings import Settings, SettingsError

MESH_MTU = 1280
"""Bytes. What Tailscale gives its interface; larger packets are cut or lost on the way."""
LAN_MTU = 1500
_K3S_KEYS = {
    "vpn-auth",
    "flannel-iface",
    "flannel-backend",
    "advertise-address",
    "cluster-init",
    "node-ip",
    "cluster-cidr",
}
_SERVER_KEYS = {"cluster-init", "advertise-address", "tls-san", "etcd-arg", "cluster-cidr", "service-cidr"}
_OVERRIDE = re.compile(r"\b(underlayMtu|lan\.mtu)\s*=\s*(?:lib\.mk\w+\s+)?(\d+)\s*;")
_COMMENT = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING = re.compile(r",(\s*[}\]])")


@dataclass(frozen=True)
class K3sConfig:
    """One configuration file of k3s."""

    place: str
    values: Mapping[str, Any]

    @property
    def server(self) -> bool:
        """Whether it is a server's: by its keys, or by its name."""
        return bool(_SERVER_KEYS & self.values.keys()) or bool(re.search(r"server|primer|control", self.place))

    def text(self, key: str) -> str:
        """A value as text; a list's items joined by commas."""
        value = self.values.get(key, "")
        return ",".join(map(str, value)) if isinstance(value, list) else str(value)


@dataclass(frozen=True)
class Override:
    """A packet size that a Nix file sets."""

    place: str
    name: str
    value: int


@dataclass(kw_only=True)
class Plan:
    """Everything at once. `policies` are Headscale policies by their places, our own first."""

    settings: Settings
    stack: str = ""
    manifests: list[Manifest] = field(default_factory=list)
    configs: list[K3sConfig] = field(default_factory=list)
    policies: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    overrides: list[Override] = field(default_factory=list)
    facts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    faults: set[Finding] = field(default_factory=set)

    @property
    def mesh_nodes(self) -> list[str]:
        """The nodes that the others reach through the mesh alone: remote hosts, and pools in a cloud."""
        remote = sorted(name for name, host in self.settings.nodes.items() if host.remote)
        pools = getattr(getattr(self.settings, "aws", None), "node_pools", None) or {}
        return [*remote, *(f"pool {name}" for name in sorted(pools))]

    def of_kind(self, *kinds: str) -> Iterator[Manifest]:
        """The manifests of some kinds."""
        return (one for one in self.manifests if one.document.get("kind") in kinds)


def read(settings: Settings, stack: str, project: Path, sources: Iterable[Path] = ()) -> Plan:
    """The plan of a stack: its settings, the project's Nix files and facts, and the given files and folders."""
    plan = Plan(settings=settings, stack=stack)
    try:
        plan.policies["the settings"] = mesh_policy.policy(settings)
    except SettingsError as error:
        plan.faults |= {Finding("settings", one.place, one.problem, one.cure) for one in error.faults}
    reader = Reader(project)
    for source in sources:
        for file in [*reader.files(source), *sorted(source.rglob("*.hujson"))] if source.is_dir() else [source]:
            _take(plan, reader, file)
    _nix(plan, project)
    plan.faults |= reader.faults
    return plan


def _take(plan: Plan, reader: Reader, file: Path) -> None:
    manifests = reader.manifests(file) if file.suffix != ".hujson" else []
    plan.manifests += manifests
    if manifests:
        return
    text = file.read_text(encoding="utf-8", errors="replace")
    if file.suffix in (".json", ".hujson"):
        _policy(plan, reader.name(file), text)
        return
    for document, line, _ in reader.documents(file):
        if isinstance(document, Mapping) and _K3S_KEYS & document.keys():
            plan.configs.append(K3sConfig(f"{reader.name(file)}:{line}", document))


def _policy(plan: Plan, place: str, text: str) -> None:
    """A Headscale policy: JSON, perhaps with comments and trailing commas."""
    if "autoApprovers" not in text:
        return
    plain = _COMMENT.sub(lambda found: found[1] or "", text)
    try:
        document = json.loads(_TRAILING.sub(r"\1", plain))
    except ValueError:
        return
    if isinstance(document, Mapping) and isinstance(document.get("autoApprovers"), Mapping):
        plan.policies[place] = document


def _nix(plan: Plan, project: Path) -> None:
    for file in sorted((project / "nix").rglob("*.nix")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if not line.lstrip().startswith("#"):
                plan.overrides += [
                    Override(f"{file.relative_to(project)}:{number}", name, int(value))
                    for name, value in _OVERRIDE.findall(line)
                ]
    for file in sorted((project / "nix" / "facts" / plan.stack).glob("*.json")) if plan.stack else []:
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            continue  # `keystone facts` says so
        if isinstance(document, Mapping):
            plan.facts[str(file.relative_to(project))] = document


def values_of(one: Manifest) -> Mapping[str, Any]:
    """The values that a HelmRelease, a HelmChart, a HelmChartConfig or an Application gives its chart."""
    spec = one.document.get("spec") or {}
    helm = (spec.get("source") or {}).get("helm") or {}
    for given in (spec.get("values"), spec.get("valuesContent"), helm.get("valuesObject"), helm.get("values")):
        if isinstance(given, Mapping):
            return given
        if isinstance(given, str) and given:
            loaded = yaml.safe_load(given)
            return loaded if isinstance(loaded, Mapping) else {}
    return {}


def chart_of(one: Manifest) -> str:
    """The chart that a HelmRelease, a HelmChart or an Application installs; empty for anything else."""
    spec = one.document.get("spec") or {}
    if one.document.get("kind") == "HelmRelease":
        inner = ((spec.get("chart") or {}).get("spec") or {}).get("chart") or (spec.get("chartRef") or {}).get("name")
        return str(inner or "").rpartition("/")[2]
    if one.document.get("kind") == "Application":
        return str((spec.get("source") or {}).get("chart") or "")
    if one.document.get("kind") in ("HelmChart", "HelmChartConfig"):
        name = (one.document.get("metadata") or {}).get("name")
        return str(spec.get("chart") or name or "").rpartition("/")[2].split("-1")[0].removesuffix(".tgz")
    return ""


def addresses_in(text: str) -> list[IPv4Address]:
    """The IPv4 addresses in a text."""
    found = []
    for word in re.findall(r"\d{1,3}(?:\.\d{1,3}){3}", text):
        try:
            found.append(IPv4Address(word))
        except ValueError:
            continue
    return found


def network_in(text: object) -> IPv4Network | None:
    """A range in CIDR form; None for anything else."""
    try:
        return IPv4Network(str(text), strict=False) if "/" in str(text) else None
    except ValueError:
        return None
