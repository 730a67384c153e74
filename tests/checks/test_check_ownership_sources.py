"""Where the check of owners reads from: previews, states, Flux, k3s' files, Helm, Terraform; and what it compares."""

import json
import time
from pathlib import Path

import pytest
import yaml

from keystone.checks.ownership import Inventory, hostlayer
from keystone.checks.ownership.kustomize import build, merge
from keystone.checks.ownership.manifests import Reader
from keystone.checks.ownership.objects import Scopes, fields_of
from keystone.errors import KeystoneError
from keystone.settings import parse
from tests.checks.ownership import argo, deployment, flux, found, state, terraform, write
from tests.recording import document


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


BROUGHT = {
    "flannel": ("kubeadm", "apps/v1", "DaemonSet", "kube-flannel-ds", "kube-flannel"),
    "Flux' chart": ("k3s", "helm.cattle.io/v1", "HelmChart", "flux-operator", "kube-system"),
    "Flux": ("k3s", "fluxcd.controlplane.io/v1", "FluxInstance", "flux", "flux-system"),
    "the Gateway API": (
        *("kubeadm", "apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        *("gateways.gateway.networking.k8s.io", ""),
    ),
}


@pytest.mark.parametrize("part", BROUGHT)
def test_what_the_host_layer_brings_is_nobody_elses(tmp_path: Path, part: str) -> None:
    distribution, api, kind, name, namespace = BROUGHT[part]
    site = document()
    site["cluster"]["distribution"] = distribution
    if part == "flannel":
        plain = {"gateway": "traefik", "loadBalancer": {"provider": "metallb"}, "defaultDeny": False}
        site["network"] = {"cni": "flannel", **plain}
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    write(tmp_path, {"apps/it.yaml": json.dumps({"apiVersion": api, "kind": kind, "metadata": metadata})})
    inventory = Inventory(tmp_path)
    inventory.claims += hostlayer.claims(parse(site))
    inventory.add(str(tmp_path))
    [one] = inventory.findings()
    assert "the host layer" in str(one)


def test_the_host_layers_charts_are_where_nix_says() -> None:
    charts = json.loads(Path("nix/lib/charts.json").read_text())
    gateway = json.loads(Path("nix/lib/gateway-api.json").read_text())["files"]
    definitions = [name for name in gateway if "_vap_" not in name]
    assert [f"gateway.networking.k8s.io_{kind}.yaml" for kind in hostlayer.GATEWAY_KINDS] == definitions
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
