"""What programs own: a Pulumi state or preview, and a Terraform plan, each as their tool prints them as JSON."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from keystone.checks.ownership.gitops import Owner, claim
from keystone.checks.ownership.manifests import Manifest, objects
from keystone.checks.ownership.objects import Claim, Scopes, metadata_of, release_key
from keystone.wire import name_of, provider_of

_PULUMI_RELEASE = "kubernetes:helm.sh/v3:Release"
_GROUPS = {
    "deployment": "apps/v1", "daemonset": "apps/v1", "stateful_set": "apps/v1", "daemon_set": "apps/v1",
    "stateful_set_v1": "apps/v1", "cron_job": "batch/v1", "job": "batch/v1",
    "ingress": "networking.k8s.io/v1", "network_policy": "networking.k8s.io/v1",
    "ingress_class": "networking.k8s.io/v1", "storage_class": "storage.k8s.io/v1",
    "csi_driver": "storage.k8s.io/v1", "role": "rbac.authorization.k8s.io/v1",
    "role_binding": "rbac.authorization.k8s.io/v1", "cluster_role": "rbac.authorization.k8s.io/v1",
    "cluster_role_binding": "rbac.authorization.k8s.io/v1", "pod_disruption_budget": "policy/v1",
    "horizontal_pod_autoscaler": "autoscaling/v2", "priority_class": "scheduling.k8s.io/v1",
    "api_service": "apiregistration.k8s.io/v1", "runtime_class": "node.k8s.io/v1",
    "mutating_webhook_configuration": "admissionregistration.k8s.io/v1",
    "validating_webhook_configuration": "admissionregistration.k8s.io/v1",
    "certificate_signing_request": "certificates.k8s.io/v1",
}  # fmt: skip
_KINDS = {"daemonset": "DaemonSet", "api_service": "APIService", "csi_driver": "CSIDriver"}
# Terraform resources that set a part of an object by server-side apply.
_PARTS = {"labels": "labels", "annotations": "annotations", "config_map_v1_data": "data", "secret_v1_data": "data"}


# What a preview shows where the engine does not know a value yet (sdk/go/common/resource/plugin/rpc.go).
_UNKNOWN = {
    "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
    "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
    "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
    "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
    "030794c1-ac77-496b-92df-f27374a8bd58",
    "e48ece36-62e2-4504-bad9-02848725956a",
    "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
}


@dataclass(frozen=True)
class Registered:
    """An object that a program registers, and the claim on it."""

    manifest: Manifest
    claim: Claim


def pulumi_resources(document: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """The resources of an exported state or of `pulumi preview --json`; None for any other document."""
    deployment = document.get("deployment")
    if isinstance(deployment, Mapping):
        return [one for one in deployment.get("resources") or [] if isinstance(one, Mapping)]
    if isinstance(document.get("steps"), list):
        return [step["newState"] for step in document["steps"] if isinstance(step.get("newState"), Mapping)]
    return None


def pulumi(resources: list[Mapping[str, Any]], place: str, scopes: Scopes) -> Iterator[Registered | Claim]:
    """What the program of a stack owns in Kubernetes. What it only reads, and what is about to be deleted, is not."""
    providers = _providers(resources)
    for resource in resources:
        kind = str(resource.get("type", ""))
        if not kind.startswith("kubernetes:") or resource.get("delete") or resource.get("external"):
            continue
        inputs = resource.get("inputs") or {}
        name = name_of(str(resource.get("urn", "")))
        where = f"{place}: {name}"
        cluster, server_side = providers.get(provider_of(str(resource.get("provider", ""))), ("", True))
        if kind == _PULUMI_RELEASE:
            outputs = {**inputs, **(resource.get("outputs") or {})}
            key = release_key(str(outputs.get("namespace") or "default"), str(outputs.get("name") or name), cluster)
            yield Claim(key=key, owner=f"Pulumi resource {name}", place=where, method="client-side")
            continue
        manifest = Manifest(_manifest(kind, resource, inputs), where)
        named = metadata_of(manifest.document)
        if not isinstance(named.get("name"), str) or _UNKNOWN & {str(named["name"]), str(named.get("namespace"))}:
            continue  # the name is known at the end of the update only
        patch = kind.endswith("Patch")
        owner = Owner(
            name=f"Pulumi resource {name}",
            method="server-side" if server_side or patch else "client-side",
            cluster=cluster,
            prunes=not patch,
        )
        if (made := claim(manifest, owner, scopes)) is not None:
            known = {path: value for path, value in made.fields.items() if not _is_unknown(value)}
            yield Registered(manifest, replace(made, fields=known))


def _is_unknown(value: Any) -> bool:
    return isinstance(value, str) and value in _UNKNOWN


def _manifest(kind: str, resource: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    module, _, last = kind.removeprefix("kubernetes:").partition(":")
    group, _, version = module.rpartition("/")
    default = version if group in ("core", "") else f"{_full_group(group)}/{version}"
    metadata = dict(inputs.get("metadata") or {})
    known = metadata_of(resource.get("outputs") or {})
    for key in ("name", "namespace"):
        if not metadata.get(key) and known.get(key):
            metadata[key] = known[key]
    return {
        **inputs,
        "apiVersion": str(inputs.get("apiVersion") or default),
        "kind": str(inputs.get("kind") or last.removesuffix("Patch")),
        "metadata": metadata,
    }


def _full_group(group: str) -> str:
    """Pulumi's types shorten Kubernetes' own groups."""
    plain = ("apps", "batch", "policy", "autoscaling", "extensions")
    longer = {"rbac": "rbac.authorization.k8s.io", "flowcontrol": "flowcontrol.apiserver.k8s.io"}
    return group if group in plain or "." in group else longer.get(group, f"{group}.k8s.io")


def _providers(resources: list[Mapping[str, Any]]) -> dict[str, tuple[str, bool]]:
    """Each Kubernetes provider's cluster (empty for the first, which is ours) and whether it applies server-side."""
    found: dict[str, tuple[str, bool]] = {}
    first: str | None = None
    for resource in resources:
        if resource.get("type") == "pulumi:providers:kubernetes":
            inputs = resource.get("inputs") or {}
            name = str(inputs.get("clusterIdentifier") or inputs.get("context") or "")
            first = name if first is None else first
            server_side = str(inputs.get("enableServerSideApply", "true")).lower() != "false"
            found[str(resource.get("urn"))] = ("" if name == first else name, server_side)
    return found


def is_terraform_plan(document: Mapping[str, Any]) -> bool:
    """Whether a document is what `terraform show -json` prints of a plan or a state."""
    return "planned_values" in document or ("format_version" in document and "values" in document)


def terraform(document: Mapping[str, Any], place: str, scopes: Scopes) -> Iterator[Registered | Claim]:
    """What a Terraform configuration will own once its plan is applied."""
    values = document.get("planned_values") or document.get("values") or {}
    for resource in _terraform_resources(values.get("root_module") or {}):
        address, kind = str(resource.get("address")), str(resource.get("type", ""))
        values, name = resource.get("values") or {}, f"Terraform resource {resource.get('address')}"
        where = f"{place}: {address}"
        if resource.get("mode") == "data":
            continue
        if kind == "helm_release":
            key = release_key(str(values.get("namespace") or "default"), str(values.get("name")))
            yield Claim(key=key, owner=name, place=where, method="client-side")
            continue
        for manifest, owner in _terraform_objects(kind, values, name):
            if isinstance(metadata_of(manifest).get("name"), str):
                one = Manifest(manifest, where)
                if (made := claim(one, owner, scopes)) is not None:
                    yield Registered(one, made)


def _terraform_resources(module: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from module.get("resources") or []
    for child in module.get("child_modules") or []:
        yield from _terraform_resources(child)


def _terraform_objects(kind: str, values: Mapping[str, Any], name: str) -> Iterator[tuple[Mapping[str, Any], Owner]]:
    """The objects of one resource of Terraform, with who owns them; none for what is no object of Kubernetes."""
    if kind == "kubernetes_manifest":
        yield from ((one, Owner(name=name)) for one in objects(values.get("manifest")))
    elif kind == "kubectl_manifest":
        server_side = bool(values.get("server_side_apply"))
        owner = Owner(name=name, method="server-side" if server_side else "client-side")
        try:
            documents = list(yaml.safe_load_all(str(values.get("yaml_body") or "")))
        except yaml.YAMLError:
            return
        yield from ((one, owner) for document in documents for one in objects(document))
    elif kind.startswith("kubernetes_"):
        short = kind.removeprefix("kubernetes_")
        if (found := _terraform_part(short, values)) is not None:
            yield found, Owner(name=name, prunes=False)
        else:
            yield _terraform_whole(short, values), Owner(name=name, method="client-side")


def _terraform_part(short: str, values: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a resource that owns a part of an object writes: its labels, data, taints; None for every other one."""
    metadata = _named(values)
    if short == "node_taint":
        taints = [{key: one.get(key) for key in ("key", "value", "effect")} for one in values.get("taint") or []]
        return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"taints": taints}}
    field = _PARTS.get(short)
    if field is None:
        return None
    inner = {field: values.get(field) or {}}
    if field in ("labels", "annotations"):
        given = {"kind": values.get("kind"), "apiVersion": values.get("api_version")}
        return {**given, "metadata": {**metadata, **inner}}
    return {
        "kind": "ConfigMap" if short.startswith("config") else "Secret",
        "apiVersion": "v1",
        "metadata": metadata,
        **inner,
    }


def _terraform_whole(short: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    base = re.sub(r"_v\d+(beta\d+)?$", "", short)
    rest = {key: value for key, value in values.items() if key in ("spec", "data", "rule", "subject", "role_ref")}
    return {
        "apiVersion": _GROUPS.get(base, "v1"),
        "kind": _KINDS.get(base) or "".join(word.capitalize() for word in base.split("_")),
        "metadata": _named(values, "labels", "annotations"),
        **{_camel(key): _camelled(value) for key, value in rest.items() if value},
    }


def _named(values: Mapping[str, Any], *more: str) -> dict[str, Any]:
    """The metadata block as far as it is there: name, namespace, and `more` of its keys."""
    block = next(iter(values.get("metadata") or []), {})
    return {key: block[key] for key in ("name", "namespace", *more) if block.get(key)}


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _camelled(value: Any) -> Any:
    """Terraform's blocks as Kubernetes has them: camel case, a block that stands once no list, plural list names."""
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], Mapping):
            return _camelled(value[0])
        return [_camelled(item) for item in value]
    if isinstance(value, Mapping):
        found = {}
        for key, item in value.items():
            plural = {"container": "containers", "init_container": "initContainers", "volume": "volumes"}.get(key)
            if plural and isinstance(item, list):
                found[plural] = [_camelled(one) for one in item]
            elif item not in (None, [], ""):
                found[_camel(key)] = _camelled(item)
        return found
    return value
