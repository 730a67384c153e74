"""Owners of objects: planted conflicts are found, look-alikes are not."""

import json
import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from keystone.checks.findings import Finding
from keystone.checks.ownership import Inventory, check, hostlayer
from keystone.checks.ownership.kustomize import build, merge
from keystone.checks.ownership.manifests import Reader
from keystone.checks.ownership.objects import Scopes, fields_of
from keystone.errors import KeystoneError
from keystone.settings import parse
from tests.recording import document

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


def test_a_preview_is_read_like_a_state(tmp_path: Path) -> None:
    resources = json.loads(state(deployment(replicas=2)))["deployment"]["resources"]
    preview = {"config": {}, "steps": [{"op": "create", "urn": one["urn"], "newState": one} for one in resources]}
    write(tmp_path, {"preview.json": json.dumps(preview), "f.yaml": flux("apps", "apps"), "apps/w.yaml": deployment()})
    [one] = found(tmp_path)
    assert "with other values in spec.replicas" in one.problem


def test_what_a_preview_does_not_know_yet_is_no_conflict(tmp_path: Path) -> None:
    unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
    two = [deployment(unknown, replicas=count) for count in (1, 2)]
    write(tmp_path, {"state.json": state(*two, deployment(image=unknown)), "f.yaml": flux("apps", "apps")})
    write(tmp_path, {"apps/w.yaml": deployment()})
    assert found(tmp_path) == []


def test_a_flux_kustomization_that_pulumi_makes_is_followed(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "state.json": state(flux("apps", "./apps")),
            "apps/web.yaml": deployment(),
            "server/manifests/web.yaml": deployment(),
        },
    )
    [one] = found(tmp_path, "state.json", "server")
    assert one.rule == "two-owners"
    assert "Flux Kustomization flux-system/apps" in one.problem


def test_every_file_of_k3s_is_an_owner_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, {"k3s/a.yaml": deployment(), "k3s/b.yaml": deployment()})
    [one] = found(tmp_path)
    assert "k3s manifest k3s/a.yaml is also made and removed by k3s manifest k3s/b.yaml" in one.problem


def test_what_helm_printed_belongs_to_its_release(tmp_path: Path) -> None:
    printed = f"---\n# Source: web/templates/deployment.yaml\n{deployment()}"
    write(tmp_path, {"rendered.yaml": printed, "plan.json": terraform("kubectl_manifest", {"yaml_body": deployment()})})
    [one] = found(tmp_path)
    assert "Helm release web" in one.problem
    assert "rendered.yaml:2" in f"{one.place} {one.problem}"


def test_a_terraform_deployment_is_compared_field_by_field_with_a_patch(tmp_path: Path) -> None:
    container = {"name": "web", "image": "web:1"}
    values = {
        "metadata": [{"name": "web", "namespace": "shop"}],
        "spec": [{"replicas": "1", "template": [{"spec": [{"container": [container]}]}]}],
    }
    patch = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n" + yaml.safe_dump(
        {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}}
    )
    write(tmp_path, {"plan.json": terraform("kubernetes_deployment", values), "s.json": state(patch, suffix="Patch")})
    [one] = found(tmp_path)
    assert "spec.template.spec.containers[name=web].image" in one.problem


def test_encrypted_fields_count_as_different_and_no_value_is_shown(tmp_path: Path) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "shop"}}
    mark = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:abc"}
    write(
        tmp_path,
        {
            "state.json": state(json.dumps({**secret, "data": {"password": "b3RoZXI="}})),
            "flux.yaml": flux("apps", "./apps"),
            "apps/s.yaml": json.dumps({**secret, "data": {"password": "dmFsdWU="}}),
            "other.json": state(json.dumps({**secret, "stringData": mark})),
        },
    )
    [one] = found(tmp_path, "state.json", "flux.yaml")
    assert "data.password" in one.problem
    assert "dmFsdWU" not in str(one)


def test_the_host_layers_charts_have_their_owner() -> None:
    settings = parse(document())
    inventory = Inventory(Path())
    inventory.claims += hostlayer.claims(settings)
    assert inventory.findings() == []
    urn = "urn:pulumi:dev::p::kubernetes:helm.sh/v3:Release::network"
    inputs = {"name": "cilium", "namespace": "kube-system"}
    inventory.add_pulumi([{"urn": urn, "type": "kubernetes:helm.sh/v3:Release", "inputs": inputs}], "state")
    [one] = inventory.findings()
    assert one.rule == "cni-owner"
    assert "nix/modules/cni.nix" in f"{one.place}{one.problem}"


def test_the_host_layers_charts_are_where_nix_says() -> None:
    charts = json.loads(Path("nix/lib/charts.json").read_text())
    for cni, engine in (("cilium", "flux"), ("cilium", "argocd")):
        settings = parse({**document(), "network": {"cni": cni}, "gitops": {"engine": engine}})
        for made in hostlayer.claims(settings):
            if made.key.kind == "Release":
                assert charts[made.key.name]["namespace"] == made.key.namespace
            assert Path(made.place).is_file()


def test_a_file_that_is_no_yaml_is_a_finding(tmp_path: Path) -> None:
    write(tmp_path, {"apps/broken.yaml": "a: [1\nb: }\n"})
    [one] = found(tmp_path)
    assert str(one).startswith("[unreadable] apps/broken.yaml: is not sound YAML or JSON: ")


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeystoneError, match=r"nowhere: there is no such file or folder\. Correct"):
        found(tmp_path, "nowhere")


def test_five_hundred_manifests_are_judged_within_five_seconds(tmp_path: Path) -> None:
    files = {"flux.yaml": flux("apps", "./apps"), "argo.yaml": argo("shop", "argo")}
    files |= {f"apps/{number}.yaml": deployment(f"a{number}") for number in range(250)}
    files |= {f"argo/{number}.yaml": deployment(f"b{number}") for number in range(250)}
    files["argo/250.yaml"] = deployment("a7")
    write(tmp_path, files)
    before = time.process_time()
    assert len(found(tmp_path)) == 1
    assert time.process_time() - before < 5


def test_lists_are_merged_by_their_keys() -> None:
    fields = fields_of(yaml.safe_load(deployment()))
    assert fields["spec.template.spec.containers[name=web].image"] == "web:1"
    assert "metadata.name" not in fields


def test_patches_change_what_is_compared(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "kustomization.yaml": """
                resources: [web.yaml, old.yaml]
                namePrefix: my-
                namespace: other
                commonLabels: {team: red}
                images: [{name: web, newTag: "3"}]
                patches:
                  - patch: |
                      - {op: replace, path: /spec/replicas, value: 4}
                    target: {kind: Deployment, name: web}
                  - patch: |
                      apiVersion: apps/v1
                      kind: Deployment
                      metadata: {name: old}
                      $patch: delete
                """,
            "web.yaml": deployment(),
            "old.yaml": deployment("old"),
        },
    )
    [one] = build(tmp_path, Reader(tmp_path), Scopes())
    assert one.document["metadata"] == {"name": "my-web", "namespace": "other", "labels": {"team": "red"}}
    assert one.document["spec"]["replicas"] == 4
    assert one.document["spec"]["template"]["spec"]["containers"][0]["image"] == "web:3"
    assert merge({"a": [{"name": "x", "v": 1}]}, {"a": [{"name": "x", "w": 2}]}) == {
        "a": [{"name": "x", "v": 1, "w": 2}]
    }
