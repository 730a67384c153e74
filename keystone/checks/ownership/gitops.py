"""What Flux, Argo CD and k3s' chart controller own: the objects of the folders that they follow, and Helm releases."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from keystone.checks.ownership.kustomize import build, kustomization, transformed
from keystone.checks.ownership.manifests import Manifest, Reader
from keystone.checks.ownership.objects import Claim, Method, Scopes, fields_of, group_of, metadata_of, release_key

FLUX = "kustomize.toolkit.fluxcd.io"
HELM = "helm.toolkit.fluxcd.io"
ARGO = "argoproj.io"
K3S = "helm.cattle.io"
ENTRIES = {(FLUX, "Kustomization"), (ARGO, "Application")}
"""Group and kind of the objects that make an engine apply a folder."""
_HERE = ("", "in-cluster", "https://kubernetes.default.svc")
_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)(?::[=-]([^}]*))?\}")


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Somebody who applies manifests: its name as findings show it, and how it writes."""

    name: str
    method: Method = "server-side"
    cluster: str = ""
    namespace: str = ""
    force_namespace: bool = False
    prunes: bool = True


def claim(one: Manifest, owner: Owner, scopes: Scopes) -> Claim | None:
    """An owner's claim on a manifest; none where a mark on the object keeps the owner's hands off."""
    metadata = metadata_of(one.document)
    marks = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    options = str(marks.get(f"argocd.{ARGO}/sync-options", ""))
    if "helm.sh/hook" in marks or f"argocd.{ARGO}/hook" in marks:
        return None  # made for a moment, then removed
    if marks.get(f"{FLUX}/reconcile") == "disabled" or marks.get(f"{FLUX}/ssa") == "Ignore":
        return None
    key = scopes.key(one.document, owner.namespace, owner.cluster, force=owner.force_namespace)
    if "${" in key.name or "${" in key.namespace:
        return None  # named by a variable that only the cluster knows
    keeps = marks.get(f"{FLUX}/prune") == "disabled" or "Prune=false" in options
    # Only made where it is missing: the fields belong to whoever writes them later.
    once = marks.get(f"{FLUX}/ssa") == "IfNotPresent"
    method: Method = "server-side" if "ServerSideApply=true" in options else owner.method
    return Claim(
        key=key,
        owner=owner.name,
        place=one.place,
        fields={} if once else fields_of(one.document),
        method=method,
        creates=owner.prunes and not keeps and not once,
    )


class Gitops:
    """Follows the objects that make a GitOps engine apply a folder or install a chart."""

    def __init__(self, reader: Reader, scopes: Scopes, cluster: str = "") -> None:
        self._reader = reader
        self._scopes = scopes
        self._chosen = cluster
        self._clusters = {path.parent.name for path in reader.root.glob("clusters/*/*")}
        self._done: set[tuple[str, str, str]] = set()

    def follow(self, one: Manifest, cluster: str | None = None) -> Iterator[Claim]:
        """The claims that come with an object: of a Kustomization, an Application, a HelmRelease, a HelmChart.

        `cluster` is that of whoever owns the object itself; without, it is told by the folder that the object lies in.
        """
        document, spec = one.document, one.document.get("spec")
        here = self.cluster_of(one.place) if cluster is None else cluster
        identity = (f"{group_of(document)}/{document['kind']}", self._named(document), here)
        if not isinstance(spec, Mapping) or spec.get("suspend") or identity in self._done:
            return
        match (group_of(document), document["kind"]):
            case (f, "Kustomization") if f == FLUX:
                self._done.add(identity)
                yield from self._kustomization(one, spec, here)
            case (f, "HelmRelease") if f == HELM:
                namespace = str(spec.get("targetNamespace") or metadata_of(document).get("namespace") or "default")
                prefix = f"{spec['targetNamespace']}-" if spec.get("targetNamespace") else ""
                name = str(spec.get("releaseName") or f"{prefix}{metadata_of(document)['name']}")
                yield self._release(one, f"HelmRelease {self._named(document)}", namespace, name, self._far(spec, here))
            case (f, "HelmChart") if f == K3S:
                namespace = str(spec.get("targetNamespace") or "default")
                name = str(metadata_of(document)["name"])
                yield self._release(one, f"HelmChart {self._named(document)}", namespace, name, here)
            case (f, "Application") if f == ARGO:
                self._done.add(identity)
                yield from self._application(one, spec, here)

    def cluster_of(self, place: str) -> str:
        """The cluster that a file of the repository is for, by the usual folder clusters/NAME; empty for ours."""
        found = re.match(r"clusters/([^/]+)/", place)
        if found is None or len(self._clusters) < 2 or found[1] == self._chosen:
            return ""
        return found[1]

    @staticmethod
    def _named(document: Mapping[str, Any]) -> str:
        metadata = metadata_of(document)
        return f"{metadata.get('namespace') or 'default'}/{metadata['name']}"

    @staticmethod
    def _far(spec: Mapping[str, Any], here: str) -> str:
        """The cluster that an object with a kubeconfig of its own means."""
        config = spec.get("kubeConfig")
        return f"behind {json.dumps(config, sort_keys=True)}" if config else here

    @staticmethod
    def _release(one: Manifest, owner: str, namespace: str, name: str, cluster: str) -> Claim:
        return Claim(key=release_key(namespace, name, cluster), owner=owner, place=one.place, method="client-side")

    def _folder(self, path: object) -> Path | None:
        """A folder of the repository, from its root or from a folder above the one that is read."""
        text = str(path or "./").lstrip("/")
        for root in (self._reader.root, *self._reader.root.parents):
            if (root / text).is_dir():
                return (root / text).resolve()
            if (root / ".git").exists():
                break
        return None

    def _kustomization(self, one: Manifest, spec: Mapping[str, Any], here: str) -> Iterator[Claim]:
        folder = self._folder(spec.get("path"))
        if folder is None:
            return  # in another repository
        owner = Owner(
            name=f"Flux Kustomization {self._named(one.document)}",
            cluster=self._far(spec, here),
            namespace=str(spec.get("targetNamespace") or ""),
            force_namespace=bool(spec.get("targetNamespace")),
        )
        found = transformed(
            build(folder, self._reader, self._scopes), {**spec, "namespace": None}, folder, self._scopes
        )
        variables = (spec.get("postBuild") or {}).get("substitute") or {}
        yield from self._owned([_substituted(each, variables) for each in found], owner)

    def _owned(self, found: list[Manifest], owner: Owner) -> Iterator[Claim]:
        for each in found:
            self._scopes.learn(each.document)
        for each in found:
            if (made := claim(each, owner, self._scopes)) is not None:
                yield made
                yield from self.follow(each, owner.cluster)

    def _application(self, one: Manifest, spec: Mapping[str, Any], here: str) -> Iterator[Claim]:
        destination = spec.get("destination") or {}
        server = str(destination.get("server") or destination.get("name") or "")
        options = (spec.get("syncPolicy") or {}).get("syncOptions") or []
        owner = Owner(
            name=f"Argo CD Application {self._named(one.document)}",
            method="server-side" if "ServerSideApply=true" in options else "client-side",
            cluster=here if server in _HERE else server,
            namespace=str(destination.get("namespace") or ""),
        )
        sources = [*(spec.get("sources") or []), *([spec["source"]] if spec.get("source") else [])]
        for source in sources:
            if source.get("chart"):
                name = str((source.get("helm") or {}).get("releaseName") or metadata_of(one.document)["name"])
                yield self._release(one, owner.name, owner.namespace or "default", name, owner.cluster)
            elif (folder := self._folder(source.get("path"))) is not None and not (folder / "Chart.yaml").exists():
                respects = "RespectIgnoreDifferences=true" in options
                for made in self._owned(self._argo_folder(folder, source), owner):
                    yield _without_ignored(made, spec) if respects and made.owner == owner.name else made

    def _argo_folder(self, folder: Path, source: Mapping[str, Any]) -> list[Manifest]:
        """What Argo CD applies of a folder: a kustomization, else its files; of folders in it only when told."""
        if kustomization(folder) is not None:
            return build(folder, self._reader, self._scopes)
        recursive = bool((source.get("directory") or {}).get("recurse"))
        return [one for path in self._reader.files(folder, recursive=recursive) for one in self._reader.manifests(path)]


def _without_ignored(made: Claim, spec: Mapping[str, Any]) -> Claim:
    """The claim without the fields that an application is told to leave to others."""
    gone: set[str] = set()
    for entry in spec.get("ignoreDifferences") or []:
        same = str(entry.get("kind", "")) == made.key.kind and str(entry.get("group", "")) == made.key.group
        if same and str(entry.get("name") or made.key.name) == made.key.name:
            gone |= {
                pointer.strip("/").replace("/", ".").replace("~1", "/") for pointer in entry.get("jsonPointers") or []
            }
    kept = {
        path: value
        for path, value in made.fields.items()
        if not any(path == one or path.startswith((f"{one}.", f"{one}[")) for one in gone)
    }
    return replace(made, fields=kept)


def _substituted(one: Manifest, variables: Mapping[str, Any]) -> Manifest:
    """The object with Flux' variables put in; unknown ones stay."""
    text = json.dumps(one.document, default=str)
    if "${" not in text:
        return one

    def value(found: re.Match[str]) -> str:
        known = variables.get(found[1], found[2])
        return found[0] if known is None else json.dumps(str(known))[1:-1]

    return one.with_document(json.loads(_VARIABLE.sub(value, text)))
