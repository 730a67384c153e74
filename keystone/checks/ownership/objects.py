"""Kubernetes objects as owners claim them: which object, which of its fields, and how they are written."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Method = Literal["server-side", "client-side"]
"""How an owner writes: by server-side apply, where the API server knows the owner of each field; or in another way."""

RELEASE_GROUP, RELEASE = "helm.sh", "Release"
"""The key of a Helm release, which is no API object but has one owner all the same."""

_CLUSTER_SCOPED = {
    "Namespace", "Node", "PersistentVolume", "StorageClass", "CSIDriver", "CSINode", "VolumeAttachment",
    "VolumeSnapshotClass", "CustomResourceDefinition", "APIService", "PriorityClass", "IngressClass",
    "GatewayClass", "RuntimeClass", "FlowSchema", "PriorityLevelConfiguration", "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
    "CertificateSigningRequest", "ClusterRole", "ClusterRoleBinding", "ClusterIssuer", "ClusterPolicy",
    "CiliumClusterwideNetworkPolicy", "CiliumLoadBalancerIPPool", "CiliumL2AnnouncementPolicy", "CiliumNode",
    "GlobalNetworkPolicy", "IPPool", "NodePool", "EC2NodeClass",
}  # fmt: skip
# The same objects under two groups.
_GROUPS = {("extensions", "Ingress"): "networking.k8s.io", ("extensions", "Deployment"): "apps"}
_GROUPS |= {("extensions", "DaemonSet"): "apps", ("extensions", "NetworkPolicy"): "networking.k8s.io"}
# Lists whose items the API server merges by a key instead of replacing the list (the schema's list-map-keys).
_LIST_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "secrets": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "hostAliases": ("ip",),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "webhooks": ("name",),
    "ports": ("containerPort", "port", "protocol"),
    "listeners": ("name",),
}
_SETS = ("finalizers",)


@dataclass(frozen=True, order=True)
class Key:
    """One object of one cluster; `cluster` is empty for the cluster that is checked."""

    group: str
    kind: str
    namespace: str
    name: str
    cluster: str = ""

    def __str__(self) -> str:
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        kind = f"{self.kind}.{self.group}" if self.group and self.group != RELEASE_GROUP else self.kind
        kind = "Helm release" if self.group == RELEASE_GROUP else kind
        return f"{kind} {name}{f' of cluster {self.cluster}' if self.cluster else ''}"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An owner's claim on an object. `creates` is false for one that only sets fields of what another one makes."""

    key: Key
    owner: str
    place: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    method: Method = "server-side"
    creates: bool = True


def group_of(manifest: Mapping[str, Any]) -> str:
    """The API group; the version is left out: it is the same object in each."""
    group, slash, _ = str(manifest.get("apiVersion") or "").partition("/")
    group = group if slash else ""
    return _GROUPS.get((group, str(manifest.get("kind"))), group)


def metadata_of(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata; empty when it is missing or broken."""
    metadata = manifest.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def is_object(document: Any) -> bool:
    """Whether a document is a Kubernetes object with a name of its own."""
    return (
        isinstance(document, Mapping)
        and isinstance(document.get("apiVersion"), str)
        and isinstance(document.get("kind"), str)
        and isinstance(metadata_of(document).get("name"), str)
    )


class Scopes:
    """Which kinds have no namespace: Kubernetes' own, and those whose definitions were seen."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], bool] = {}

    def learn(self, manifest: Mapping[str, Any]) -> None:
        """Take note of a CustomResourceDefinition."""
        spec = manifest.get("spec")
        if manifest.get("kind") == "CustomResourceDefinition" and isinstance(spec, Mapping):
            kind = (spec.get("names") or {}).get("kind")
            self._seen[str(spec.get("group")), str(kind)] = spec.get("scope") == "Cluster"

    def cluster_wide(self, group: str, kind: str) -> bool:
        """Whether objects of the kind have no namespace."""
        return self._seen.get((group, kind), kind in _CLUSTER_SCOPED)

    def key(self, manifest: Mapping[str, Any], namespace: str = "", cluster: str = "", *, force: bool = False) -> Key:
        """The key of an object; `namespace` is for one that names none, or for every one with `force`."""
        group, kind = group_of(manifest), str(manifest["kind"])
        own = str(metadata_of(manifest).get("namespace") or "")
        chosen = (namespace or own) if force else (own or namespace)
        if self.cluster_wide(group, kind):
            chosen = ""
        elif not chosen:
            chosen = "default"
        return Key(group, kind, chosen, str(metadata_of(manifest)["name"]), cluster)


def release_key(namespace: str, name: str, cluster: str = "") -> Key:
    """The key of a Helm release."""
    return Key(RELEASE_GROUP, RELEASE, namespace, name, cluster)


def fields_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of an object by path, such as `spec.template.spec.containers[name=web].image`.

    Items of lists that the API server merges stand under their keys; any other list is one value. What names the object
    is left out.
    """
    skipped = {"apiVersion", "kind", "status"}
    found: dict[str, Any] = {}
    for key, value in manifest.items():
        if key not in skipped:
            found.update(_leaves(key, key, value))
    for name in ("metadata.name", "metadata.namespace", "metadata.creationTimestamp"):
        found.pop(name, None)
    return found


def _leaves(path: str, name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(f"{path}.{key}", str(key), item)
    elif isinstance(value, list) and name in _SETS:
        yield from ((f"{path}[{item}]", item) for item in value)
    elif isinstance(value, list) and (keyed := _by_key(name, value)):
        for key, item in keyed.items():
            yield from _leaves(f"{path}[{key}]", "", item)
    elif value is not None:
        yield path, value


def _by_key(name: str, items: list[Any]) -> dict[str, Any]:
    """The items of a merged list by their keys; nothing when the list is not such a one."""
    keys = _LIST_KEYS.get(name, ())
    found: dict[str, Any] = {}
    for item in items:
        if not isinstance(item, Mapping):
            return {}
        given = [f"{key}={item[key]}" for key in keys if key in item]
        if not given:
            return {}
        found[",".join(given)] = {key: value for key, value in item.items() if key not in keys} or {"": True}
    return found
