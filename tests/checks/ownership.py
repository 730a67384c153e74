"""Trees of manifests with an owner or two, and what the check of owners finds in them."""

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from keystone.checks.findings import Finding
from keystone.checks.ownership import check

Tree = Mapping[str, str]


def write(folder: Path, files: Tree) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text).lstrip())
    return folder


def deployment(name: str = "web", namespace: str = "shop", replicas: int = 1, image: str = "web:1") -> str:
    spec = {"replicas": replicas, "template": {"spec": {"containers": [{"name": "web", "image": image}]}}}
    metadata = {"name": name, "namespace": namespace}
    return yaml.safe_dump({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})


def flux(name: str, path: str, **spec: Any) -> str:
    body = {"path": path, "sourceRef": {"kind": "GitRepository", "name": "flux-system"}, "prune": True, **spec}
    metadata = {"name": name, "namespace": "flux-system"}
    return yaml.safe_dump(
        {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": metadata, "spec": body}
    )


def argo(name: str, path: str = "", options: tuple[str, ...] = (), **spec: Any) -> str:
    source = {"repoURL": "https://git.example.org/team/cluster", **({"path": path} if path else {})}
    body = {
        "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"},
        "source": source,
        "syncPolicy": {"syncOptions": list(options)},
        **spec,
    }
    metadata = {"name": name, "namespace": "argocd"}
    return yaml.safe_dump(
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": metadata, "spec": body}
    )


def release(name: str, namespace: str, **spec: Any) -> str:
    metadata = {"name": name, "namespace": namespace}
    body = {"chart": {"spec": {"chart": name}}, "interval": "1h", **spec}
    return yaml.safe_dump(
        {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "metadata": metadata, "spec": body}
    )


def state(*manifests: str, **options: Any) -> str:
    """A Pulumi state with these objects."""
    resources = [{"urn": "urn:pulumi:dev::p::pulumi:providers:kubernetes::k", "type": "pulumi:providers:kubernetes"}]
    for number, text in enumerate(manifests):
        inputs = yaml.safe_load(text)
        group, _, version = inputs["apiVersion"].rpartition("/")
        kind = f"kubernetes:{group or 'core'}/{version}:{inputs['kind']}{options.get('suffix', '')}"
        urn = f"urn:pulumi:dev::p::{kind}::thing-{number}"
        provider = "urn:pulumi:dev::p::pulumi:providers:kubernetes::k::id"
        extra = {key: value for key, value in options.items() if key != "suffix"}
        resources.append({"urn": urn, "type": kind, "inputs": inputs, "provider": provider, **extra})
    return json.dumps({"version": 3, "deployment": {"resources": resources}})


def terraform(kind: str, values: Mapping[str, Any]) -> str:
    resource = {"address": f"{kind}.this", "mode": "managed", "type": kind, "name": "this", "values": values}
    return json.dumps({"format_version": "1.2", "planned_values": {"root_module": {"resources": [resource]}}})


def found(folder: Path, *sources: str) -> list[Finding]:
    return check([folder / one for one in sources] if sources else [folder], root=folder)
