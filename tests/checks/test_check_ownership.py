"""Owners of objects: planted conflicts are found, look-alikes are not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.checks.ownership import Tree, argo, deployment, flux, found, release, state, terraform, write

# Five planted conflicts: one finding each, with rule and both places.

PLANTED: dict[str, tuple[Tree, str]] = {
    "Flux and Argo CD apply one Deployment": (
        {
            "flux.yaml": flux("apps", "./apps"),
            "argo.yaml": argo("shop", "argo"),
            "apps/web.yaml": deployment(),
            "argo/web.yaml": deployment(),
        },
        "[two-owners] apps/web.yaml:1: Deployment.apps shop/web of Flux Kustomization flux-system/apps is also "
        "made and removed by Argo CD Application argocd/shop (argo/web.yaml:1). Let one of them own it; the "
        "other may set single fields by server-side apply.",
    ),
    "Pulumi and Flux set other replicas": (
        {
            "state.json": state(deployment(replicas=2)),
            "flux.yaml": flux("apps", "./apps"),
            "apps/web.yaml": deployment(replicas=5),
        },
        "[field-fight] apps/web.yaml:1: Deployment.apps shop/web of Flux Kustomization flux-system/apps is also "
        "written by Pulumi resource thing-0 (state.json: thing-0), with other values in spec.replicas. Leave "
        "each field to one of them, or give it the same value in both.",
    ),
    "k3s' manifests folder and a Terraform plan make one namespace": (
        {
            "server/manifests/shop.yaml": "# first\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
            "plan.json": terraform("kubernetes_namespace_v1", {"metadata": [{"name": "shop"}]}),
        },
        "[two-owners] plan.json: kubernetes_namespace_v1.this: Namespace shop of Terraform resource "
        "kubernetes_namespace_v1.this is also made and removed by k3s manifest server/manifests/shop.yaml "
        "(server/manifests/shop.yaml:1). Let one of them own it; the other may set single fields by server-side "
        "apply.",
    ),
    "a HelmRelease and a k3s HelmChart install the network plugin": (
        {
            "flux.yaml": flux("base", "./base"),
            "base/cilium.yaml": release("cilium", "kube-system"),
            "k3s/cilium.yaml": """
                apiVersion: helm.cattle.io/v1
                kind: HelmChart
                metadata: {name: cilium, namespace: kube-system}
                spec: {chart: cilium, targetNamespace: kube-system}
                """,
        },
        "[cni-owner] base/cilium.yaml:1: Helm release kube-system/cilium of HelmRelease kube-system/cilium is "
        "also installed by HelmChart kube-system/cilium (k3s/cilium.yaml:1). The network plugin belongs to the "
        "host layer: what runs on the network cannot own it. Take it out of the other.",
    ),
    "one kustomization holds an object twice": (
        {
            "flux.yaml": flux("apps", "./apps"),
            "apps/a.yaml": deployment(),
            "apps/sub/b.yaml": f"---\n# the same\n{deployment()}",
        },
        "[defined-twice] apps/a.yaml:1: Deployment.apps shop/web is defined a second time at apps/sub/b.yaml:2, "
        "for the same owner (Flux Kustomization flux-system/apps). Delete one of the two.",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_conflict_gives_one_finding_with_both_places(name: str, tmp_path: Path) -> None:
    files, message = PLANTED[name]
    assert [str(one) for one in found(write(tmp_path, files))] == [message]


def test_five_planted_conflicts_in_one_repository_give_five_findings(tmp_path: Path) -> None:
    files = {
        "flux/apps.yaml": flux("apps", "./apps"),
        "flux/base.yaml": flux("base", "./base"),
        "flux/argo.yaml": argo("blog", "argo"),
        "apps/blog.yaml": deployment("blog"),
        "argo/blog.yaml": deployment("blog"),
        "state.json": state(deployment("counter", replicas=2)),
        "apps/counter.yaml": deployment("counter", replicas=5),
        "server/manifests/ns.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
        "plan.json": terraform("kubernetes_namespace", {"metadata": [{"name": "shop"}]}),
        "base/redis.yaml": release("redis", "data"),
        "server/manifests/redis.yaml": """
            apiVersion: helm.cattle.io/v1
            kind: HelmChart
            metadata: {name: redis, namespace: kube-system}
            spec: {chart: redis, targetNamespace: data}
            """,
        "apps/one.yaml": deployment("twice"),
        "apps/two.yaml": deployment("twice"),
        "apps/fine.yaml": deployment("fine"),
    }
    rules = sorted(one.rule for one in found(write(tmp_path, files)))
    assert rules == ["defined-twice", "field-fight", "release-twice", "two-owners", "two-owners"]


NODE = "apiVersion: v1\nkind: Node\nmetadata: {name: w1, labels: {keystone.internal/role: agent}}\n"
CLAIM = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {ports: [{port: 80}]}\n"
KNATIVE = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {}\n"
MARKED = """
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web, namespace: shop, annotations: {MARK}}
    spec: {replicas: 9}
    """

INNOCENT: dict[str, Tree] = {
    "fields with the same value, both by server-side apply": {
        "state.json": state(deployment()),
        "flux.yaml": flux("apps", "./apps"),
        "apps/web.yaml": deployment(),
    },
    "different fields of one node, by server-side apply": {
        "state.json": state(NODE, suffix="Patch"),
        "plan.json": terraform(
            "kubernetes_labels",
            {"api_version": "v1", "kind": "Node", "metadata": [{"name": "w1"}], "labels": {"disk": "ssd"}},
        ),
    },
    "the same name in another namespace": {
        "flux.yaml": flux("apps", "./apps"),
        "argo.yaml": argo("shop", "argo"),
        "apps/web.yaml": deployment(namespace="shop"),
        "argo/web.yaml": deployment(namespace="blog", replicas=4),
    },
    "the same name of another group": {
        "flux.yaml": flux("apps", "./apps"),
        "argo.yaml": argo("shop", "argo"),
        "apps/web.yaml": CLAIM,
        "argo/web.yaml": KNATIVE,
    },
    "the same folder in two clusters": {
        "clusters/staging/apps.yaml": flux("apps", "./apps"),
        "clusters/production/apps.yaml": flux("apps", "./production"),
        "apps/web.yaml": deployment(),
        "production/kustomization.yaml": "resources: [../apps]\nreplicas: [{name: web, count: 7}]\n",
    },
    "an application of a cluster elsewhere": {
        "flux.yaml": flux("apps", "./apps"),
        "argo.yaml": argo("shop", "argo", destination={"server": "https://other.example.org", "namespace": "shop"}),
        "apps/web.yaml": deployment(),
        "argo/web.yaml": deployment(replicas=3),
    },
    "one folder used twice with other variables": {
        "one.yaml": flux("one", "./tenant", postBuild={"substitute": {"team": "red"}}),
        "two.yaml": flux("two", "./tenant", postBuild={"substitute": {"team": "blue"}}),
        "tenant/web.yaml": deployment(name="${team}-web", namespace="${team}"),
    },
    "a base and its overlay": {
        "flux.yaml": flux("apps", "./overlays/home"),
        "base/kustomization.yaml": "resources: [web.yaml]\n",
        "base/web.yaml": deployment(),
        "overlays/home/kustomization.yaml": "resources: [../../base]\nnamespace: home\n",
    },
    "an object that Flux is told to leave alone": {
        "flux.yaml": flux("apps", "./apps"),
        "argo.yaml": argo("shop", "argo"),
        "apps/web.yaml": MARKED.replace("MARK", "kustomize.toolkit.fluxcd.io/reconcile: disabled"),
        "argo/web.yaml": deployment(),
    },
    "a resource that Pulumi only reads": {
        "state.json": state(deployment(replicas=2), external=True),
        "flux.yaml": flux("apps", "./apps"),
        "apps/web.yaml": deployment(replicas=5),
    },
    "replicas that Argo CD is told to ignore": {
        "state.json": state("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n"
                            "spec: {replicas: 5}\n", suffix="Patch"),
        "argo.yaml": argo(
            "shop", "argo", ("RespectIgnoreDifferences=true",),
            ignoreDifferences=[{"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"]}],
        ),
        "argo/web.yaml": deployment(),
    },
    "a chart installed twice under two names": {
        "flux.yaml": flux("apps", "./apps"),
        "apps/one.yaml": release("redis", "shop"),
        "apps/two.yaml": release("redis", "blog"),
    },
    "a HelmRelease and what its chart prints": {
        "flux.yaml": flux("apps", "./apps"),
        "apps/web.yaml": release("web", "shop"),
        "rendered/web.yaml": f"# Source: web/templates/deployment.yaml\n{deployment()}",
    },
    "a suspended Kustomization": {
        "old.yaml": flux("old", "./apps", suspend=True),
        "argo.yaml": argo("shop", "argo"),
        "apps/web.yaml": deployment(),
        "argo/web.yaml": deployment(replicas=3),
    },
    "a hook that runs in two releases": {
        "flux.yaml": flux("apps", "./apps"),
        "argo.yaml": argo("shop", "argo"),
        "apps/web.yaml": MARKED.replace("MARK", "helm.sh/hook: test"),
        "argo/web.yaml": MARKED.replace("MARK", "helm.sh/hook: test"),
    },
    "variants for environments, applied by nobody here": {
        "base/kustomization.yaml": "resources: [web.yaml]\n",
        "base/web.yaml": deployment(),
        "overlays/a/kustomization.yaml": "resources: [../../base]\n",
        "overlays/b/kustomization.yaml": "resources: [../../base]\nreplicas: [{name: web, count: 3}]\n",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", INNOCENT)
def test_a_look_alike_is_no_conflict(name: str, tmp_path: Path) -> None:
    assert found(write(tmp_path, INNOCENT[name])) == []


@pytest.mark.parametrize(
    ("name", "path", "change"),
    [
        ("fields with the same value, both by server-side apply", "apps/web.yaml", lambda _: deployment(image="web:2")),
        ("the same name in another namespace", "argo/web.yaml", lambda _: deployment()),
        ("the same name of another group", "argo/web.yaml", lambda _: CLAIM),
        ("an application of a cluster elsewhere", "argo.yaml", lambda _: argo("shop", "argo")),
        ("one folder used twice with other variables", "two.yaml", lambda text: text.replace("blue", "red")),
        (
            "an object that Flux is told to leave alone",
            "apps/web.yaml",
            lambda text: text.replace("disabled", "enabled"),
        ),
        ("a resource that Pulumi only reads", "state.json", lambda text: text.replace("true", "false")),
        (
            "replicas that Argo CD is told to ignore",
            "argo.yaml",
            lambda text: text.replace("/spec/replicas", "/spec/x"),
        ),
        ("a suspended Kustomization", "old.yaml", lambda text: text.replace("suspend: true", "suspend: false")),
        ("the same folder in two clusters", "clusters/production/apps.yaml", lambda _: argo("other", "production")),
    ],
)
def test_a_look_alike_is_a_conflict_once_what_excuses_it_is_gone(
    name: str, path: str, change: Callable[[str], str], tmp_path: Path
) -> None:
    write(tmp_path, INNOCENT[name])
    (tmp_path / path).write_text(change((tmp_path / path).read_text()))
    if name == "the same folder in two clusters":  # one cluster left: both entries are for it
        (tmp_path / path).rename(tmp_path / "clusters/staging/other.yaml")
    if name == "one folder used twice with other variables":
        text = (tmp_path / "tenant/web.yaml").read_text().replace("replicas: 1", "replicas: ${count:=1}")
        (tmp_path / "tenant/web.yaml").write_text(text)
        more = (tmp_path / path).read_text().replace("team: red", "team: red\n      count: '3'")
        (tmp_path / path).write_text(more)
    assert len(found(tmp_path)) == 1
