"""`keystone check ownership`: every object of the cluster has one owner.

Reads what Pulumi, Terraform, Flux, Argo CD, Helm and k3s' manifests folder would apply, builds the map of object and
field to owners, and reports where two are in each other's way. Nothing is asked of a cluster.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from keystone.checks.findings import Finding
from keystone.checks.ownership import programs
from keystone.checks.ownership.conflicts import conflicts
from keystone.checks.ownership.gitops import ENTRIES, Gitops, Owner, claim
from keystone.checks.ownership.kustomize import build, includes, kustomization
from keystone.checks.ownership.manifests import Manifest, Reader
from keystone.checks.ownership.objects import Claim, Scopes, group_of, metadata_of
from keystone.checks.ownership.programs import Registered
from keystone.errors import KeystoneError

KINDS = ("gitops", "k3s", "helm", "manifests", "flux", "argocd")
"""Words before a path, as in k3s:FOLDER, that say what it is; without one it is told by what is in it."""
_HELM_LABEL, _HELM_NAME = "app.kubernetes.io/managed-by", "meta.helm.sh/release-name"
_VARIANTS = ("overlays", "clusters", "environments", "envs")
_K3S_FOLDER = "server/manifests"

__all__ = ["KINDS", "Inventory", "check"]


def check(sources: Iterable[str | Path], *, root: Path | None = None, extra: Iterable[Claim] = ()) -> list[Finding]:
    """The conflicts among some sources. Raises KeystoneError when one does not exist."""
    inventory = Inventory(root or Path())
    for source in sources:
        inventory.add(str(source))
    inventory.claims += extra
    return inventory.findings()


class Inventory:
    """The map of objects to owners, filled source by source."""

    def __init__(self, root: Path, cluster: str = "") -> None:
        self.claims: list[Claim] = []
        self._root = root
        self._cluster = cluster
        self._scopes = Scopes()
        self._faults: set[Finding] = set()

    def findings(self) -> list[Finding]:
        """The conflicts, and the files that could not be read."""
        return sorted({*conflicts(self.claims), *self._faults})

    def add(self, source: str) -> None:
        """A file or folder, perhaps with one of KINDS and a colon before it."""
        word, colon, rest = source.partition(":")
        kind, path = (word, Path(rest)) if colon and word in KINDS else ("", Path(source))
        if not path.exists():
            raise KeystoneError(str(path), "there is no such file or folder", "Correct the path")
        reader = Reader(path if path.is_dir() and kind in ("", "gitops") else self._root)
        if path.is_file() and not kind and path.suffix == ".json" and self._program(path, reader):
            return
        match kind:
            case "k3s":
                self._each(self._k3s(path, reader))
            case "helm":
                self._each(self._helm(list(reader.below([path])), str(path)))
            case "manifests" | "flux" | "argocd":
                self._each(self._folder(path, reader, kind))
            case _:
                self._each(self._repository(path, reader))
        self._faults |= reader.faults

    def add_pulumi(self, resources: list[Mapping[str, Any]], place: str) -> None:
        """The resources of a state."""
        self._registered(programs.pulumi(resources, place, self._scopes), Reader(self._root))

    def _each(self, claims: Iterable[Claim]) -> None:
        self.claims += claims

    def _program(self, path: Path, reader: Reader) -> bool:
        """Whether the file was a state, a preview or a plan; if so, its claims are taken."""
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError):
            return False
        if not isinstance(document, dict):
            return False
        resources = programs.pulumi_resources(document)
        if resources is not None:
            self._registered(programs.pulumi(resources, path.name, self._scopes), reader)
        elif programs.is_terraform_plan(document):
            self._registered(programs.terraform(document, path.name, self._scopes), reader)
        else:
            return False
        return True

    def _registered(self, found: Iterable[Registered | Claim], reader: Reader) -> None:
        """What a program registers, and what its GitOps objects bring with them."""
        gitops = Gitops(reader, self._scopes, self._cluster)
        for one in found:
            if isinstance(one, Claim):
                self.claims.append(one)
            else:
                self.claims.append(one.claim)
                self.claims += gitops.follow(one.manifest, one.claim.key.cluster)

    def _learned(self, found: Iterable[Manifest]) -> list[Manifest]:
        manifests = list(found)
        for one in manifests:
            self._scopes.learn(one.document)
        return manifests

    def _owned(self, found: Iterable[Manifest], owner: Owner, gitops: Gitops) -> Iterator[Claim]:
        for one in found:
            if (made := claim(one, owner, self._scopes)) is not None:
                yield made
                yield from gitops.follow(one, owner.cluster)

    def _k3s(self, path: Path, reader: Reader) -> Iterator[Claim]:
        """k3s' manifests folder: each file is an owner of its own, and takes away what leaves it."""
        gitops = Gitops(reader, self._scopes, self._cluster)
        for file in reader.files(path) if path.is_dir() else [path]:
            owner = Owner(name=f"k3s manifest {reader.name(file)}", method="client-side")
            yield from self._owned(self._learned(reader.manifests(file)), owner, gitops)

    def _helm(self, found: list[Manifest], place: str) -> Iterator[Claim]:
        """What `helm template` or `helm get manifest` printed: the owner is the release."""
        for one in self._learned(found):
            metadata = metadata_of(one.document)
            annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
            chart = one.chart or str(labels.get("helm.sh/chart", "")).rpartition("-")[0]
            name = annotations.get(_HELM_NAME) or labels.get("app.kubernetes.io/instance") or chart or place
            if (made := claim(one, Owner(name=f"Helm release {name}", method="client-side"), self._scopes)) is not None:
                yield made

    def _folder(self, path: Path, reader: Reader, kind: str) -> Iterator[Claim]:
        """A folder or file that one tool applies as a whole."""
        names = {"flux": "Flux", "argocd": "Argo CD"}
        owner = Owner(
            name=f"{names.get(kind, 'manifests')} {reader.name(path)}",
            method="server-side" if kind == "flux" else "client-side",
        )
        found = build(path.resolve(), reader, self._scopes) if path.is_dir() else reader.manifests(path)
        yield from self._owned(self._learned(found), owner, Gitops(reader, self._scopes, self._cluster))

    def _repository(self, path: Path, reader: Reader) -> Iterator[Claim]:
        """A folder that holds whatever: what GitOps objects point to, k3s folders, Helm's output, programs' JSON.

        Where no GitOps object says what is applied, the rest counts as applied by hand: the manifests, and each
        kustomization that no other one includes. Variants beside each other are for different clusters: left out.
        """
        gitops = Gitops(reader, self._scopes, self._cluster)
        plain: list[Manifest] = []
        for file in reader.files(path) if path.is_dir() else [path]:
            if file.suffix == ".json" and self._program(file, reader):
                continue
            found = self._learned(reader.manifests(file))
            if _K3S_FOLDER in file.as_posix() or "k3s" in file.parent.name:
                yield from self._k3s(file, reader)
            elif found and all(_of_helm(one) for one in found):
                yield from self._helm(found, reader.name(file))
            elif not any(kustomization(folder) for folder in _between(path, file)):
                plain += found
        entries = list(self._entries(path, reader))
        yield from (made for one in entries for made in gitops.follow(one))
        if not entries:
            owner = Owner(name=f"manifests {reader.name(path)}", method="client-side")
            yield from self._owned(plain, owner, gitops)
            for folder in _kustomizations(path, reader) if path.is_dir() else ():
                yield from self._folder(folder, reader, "manifests")

    @staticmethod
    def _entries(path: Path, reader: Reader) -> Iterator[Manifest]:
        """The objects that make an engine apply a folder of a repository."""
        for one in reader.below([path]):
            if (group_of(one.document), one.document["kind"]) in ENTRIES:
                yield one


def _between(top: Path, file: Path) -> Iterator[Path]:
    """The folders of a file, up to the top one."""
    for folder in file.parents:
        yield folder
        if folder == top:
            return


def _kustomizations(top: Path, reader: Reader) -> Iterator[Path]:
    """The kustomizations below a folder that no other one includes, and that are no variants of one another."""
    found = [folder for folder in [top, *reader.all_folders(top)] if kustomization(folder)]
    included = {inner for folder in found for inner in includes(folder, reader)}
    for folder in found:
        if folder.resolve() not in included and folder.parent.name not in _VARIANTS:
            yield folder


def _of_helm(one: Manifest) -> bool:
    labels = metadata_of(one.document).get("labels") or {}
    return bool(one.chart) or labels.get(_HELM_LABEL) == "Helm"
