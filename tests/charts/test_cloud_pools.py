"""Pools at Hetzner, GCP and Azure, rendered from one shape."""

import base64
import json
from typing import Any

import pytest

from keystone.charts import Release, cloud_pools, releases
from keystone.charts.objects import Thing
from keystone.pools import parse as told
from keystone.pools import pools
from keystone.settings import Settings, parse
from tests.aws.sites import POOL as AWS_POOL
from tests.dry_run import faults
from tests.recording import document

POOL = {"machineType": "m-4", "max": 4, "min": 1, "image": "keystone-1", "labels": {"tier": "batch"}}
TAINTS = [{"key": "spot", "value": "yes", "effect": "NoSchedule"}]
ID = "01234567-89ab-cdef-0123-456789abcdef"
RESOURCE = f"/subscriptions/{ID}/resourceGroups/home"
CLOUDS: dict[str, Any] = {
    "hetzner": {"pools": {"hz": {**POOL, "zones": ["nbg1"]}}},
    "gcp": {
        "project": "home-cluster",
        "projectNumber": "123456789012",
        "identityPool": "keystone",
        "identityProvider": "home",
        "serviceAccount": "scaler@home-cluster.iam.gserviceaccount.com",
        "machineAccount": "machines@home-cluster.iam.gserviceaccount.com",
        "network": "lan",
        "subnetwork": "nodes",
        "diskKey": "projects/home-cluster/locations/europe/keyRings/k/cryptoKeys/disks",
        "pools": {"go": {**POOL, "zones": ["europe-west1-b"], "taints": TAINTS, "spot": False}},
    },
    "azure": {
        "tenantId": ID,
        "subscriptionId": ID,
        "resourceGroup": "home",
        "location": "westeurope",
        "clientId": ID,
        "subnetId": f"{RESOURCE}/providers/Microsoft.Network/virtualNetworks/lan/subnets/nodes",
        "machineIdentity": f"{RESOURCE}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/nodes",
        "diskEncryptionSet": f"{RESOURCE}/providers/Microsoft.Compute/diskEncryptionSets/disks",
        "vault": "home-cluster",
        "pools": {"az": {**POOL, "zones": ["1", "2"]}},
    },
}
LOGIN = "ssh-ed25519 AAAA"
SECRET = ("token", "password", "secret", "K10", "hskey-")


def site(aws: dict[str, Any] | None = None, cni: str = "cilium", **clouds: Any) -> Settings:
    base = document(agents=3)
    base["cluster"]["issuerHost"] = "oidc.example.org"
    base["cluster"]["api"]["sans"].append("primer.mesh.keystone.test")
    base["network"] = {"cni": cni, "gateway": "traefik", "loadBalancer": {"provider": "metallb"}}
    base["aws"] = {"region": "eu-central-1", "accountId": "123456789012", **(aws or {})}
    base["platform"] = {"certManager": {}}
    return parse({**base, "clouds": clouds})


def release(settings: Settings, cloud: str) -> Release:
    return releases(settings)[f"cluster-autoscaler-{cloud}"]


def of(settings: Settings, kind: str) -> Thing:
    [found] = [it for it in cloud_pools.things(settings, LOGIN) if it.kind == kind]
    return found


def test_every_cloud_says_the_same_of_a_pool_in_its_own_words() -> None:
    found = pools(site(**CLOUDS))
    assert {name: pool.cloud for name, pool in found.items()} == {"az": "azure", "go": "gcp", "hz": "hetzner"}
    for pool in found.values():
        assert (pool.min, pool.max, pool.machine_types) == (1, 4, ("m-4",))
        assert pool.node_labels["keystone.internal/pool"] == pool.name
        assert pool.node_labels["keystone.internal/cloud"] == pool.cloud


def test_each_chosen_cloud_has_an_autoscaler_of_its_own() -> None:
    settings = site(**CLOUDS)
    elected = set()
    for cloud, provider in (("hetzner", "hetzner"), ("gcp", "gce"), ("azure", "azure")):
        values = release(settings, cloud).values
        assert values["cloudProvider"] == provider
        elected.add(values["extraArgs"]["leader-elect-resource-name"])
    assert len(elected) == 3, "several autoscalers of one cluster would take turns"
    assert not [name for name in releases(site()) if name.startswith("cluster-autoscaler")]


@pytest.mark.parametrize(("cni", "taint"), [("cilium", "node.cilium.io/agent-not-ready"), ("flannel", None)])
def test_an_autoscaler_waits_for_machines_whose_network_is_not_there_yet(cni: str, taint: str | None) -> None:
    aws = {"network": {"cidr": "10.60.0.0/16"}, "nodePools": {"spot": AWS_POOL}}
    found = releases(site(aws=aws, cni=cni, **CLOUDS))
    told = {name: it.values["extraArgs"] for name, it in found.items() if it.chart == "cluster-autoscaler"}
    assert len(told) == 4
    assert {name: args.get("startup-taint") for name, args in told.items()} == dict.fromkeys(told, taint)


@pytest.mark.parametrize(
    ("cloud", "known"),
    [
        ("gcp", "https://www.googleapis.com/compute/v1/projects/home-cluster/zones/europe-west1-b/instanceGroups/"),
        ("azure", ""),
    ],
)
def test_an_autoscaler_knows_its_groups_and_their_bounds(cloud: str, known: str) -> None:
    settings = site(**{cloud: CLOUDS[cloud]})
    [group] = release(settings, cloud).values["autoscalingGroups"]
    [thing] = [it for it in cloud_pools.things(settings, LOGIN) if it.kind != "InstanceTemplate"]
    assert group == {"name": f"{known}{thing.name}", "minSize": 1, "maxSize": 4}


def test_at_hetzner_a_group_has_the_clusters_name_and_the_image_of_its_own_pool() -> None:
    choice = CLOUDS["hetzner"]
    other = {**POOL, "zones": ["fsn1"], "image": "keystone-2"}
    settings = site(hetzner={**choice, "pools": {**choice["pools"], "batch": other}})
    values = release(settings, "hetzner").values
    assert {one["name"]: one["region"] for one in values["autoscalingGroups"]} == {
        "site-hz": "nbg1",
        "site-batch": "fsn1",
    }
    nodes = json.loads(base64.b64decode(values["extraEnv"]["HCLOUD_CLUSTER_CONFIG"]))["nodeConfigs"]
    assert {name: node["imagesForArch"]["amd64"] for name, node in nodes.items()} == {
        "site-hz": "keystone-1",
        "site-batch": "keystone-2",
    }


def test_gcps_autoscaler_is_told_where_it_works_and_asks_no_machine() -> None:
    settings = site(gcp=CLOUDS["gcp"])
    values, renderer = release(settings, "gcp").values, cloud_pools.clouds(settings)["gcp"]
    assert isinstance(renderer, cloud_pools.GcpRenderer)
    [folder] = [it["mountPath"] for it in values["extraVolumeMounts"] if it["name"] == "config"]
    held = {f"{folder}/{name}": text for name, text in renderer.files(settings).items()}
    place = held[values["extraArgs"]["cloud-config"]]
    assert place == "[Global]\nproject-id = home-cluster\nlocal-zone = europe-west1-b\n"
    identity = json.loads(held[values["extraEnv"]["GOOGLE_APPLICATION_CREDENTIALS"]])
    assert identity["type"] == "external_account"


def test_no_cloud_but_hetzner_has_a_static_key() -> None:
    settings = site(**CLOUDS)
    for cloud in ("gcp", "azure"):
        values = release(settings, cloud).values
        assert "extraEnvSecrets" not in values
        [token] = [it for it in values["extraVolumes"] if it["name"] == "identity"]
        assert token["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] == 3600
    assert release(settings, "hetzner").values["extraEnvSecrets"] == {
        "HCLOUD_TOKEN": {"name": "hetzner", "key": "token"}
    }


def test_gcp_takes_a_token_of_the_cluster_for_its_service_account() -> None:
    settings = site(gcp=CLOUDS["gcp"])
    renderer = cloud_pools.clouds(settings)["gcp"]
    assert isinstance(renderer, cloud_pools.GcpRenderer)
    identity = json.loads(renderer.identity())
    pool = "projects/123456789012/locations/global/workloadIdentityPools/keystone"
    assert identity["audience"] == f"//iam.googleapis.com/{pool}/providers/home"
    assert identity["credential_source"]["file"] == "/var/run/secrets/keystone/cloud/token"
    assert "private_key" not in identity
    [volume, _] = release(settings, "gcp").values["extraVolumes"]
    assert volume["projected"]["sources"][0]["serviceAccountToken"]["audience"] == identity["audience"]


def test_machines_are_told_in_the_words_of_the_image_and_hold_no_secret() -> None:
    settings = site(**CLOUDS)
    hetzner = release(settings, "hetzner").values["extraEnv"]["HCLOUD_CLUSTER_CONFIG"]
    texts = {
        "hz": json.loads(base64.b64decode(hetzner))["nodeConfigs"]["site-hz"]["cloudInit"],
        "go": of(settings, "InstanceTemplate").spec["forProvider"]["metadata"]["user-data"],
        "az": base64.b64decode(of(settings, "LinuxVirtualMachineScaleSet").spec["forProvider"]["userData"]).decode(),
    }
    wanted = {
        "hz": "wait",
        "go": "gcp:projects/home-cluster/secrets/site-go",
        "az": "azure:https://home-cluster.vault.azure.net/secrets/site-az",
    }
    for name, text in texts.items():
        found = told(text)
        assert found["keystone-parameters"] == wanted[name]
        assert "tier=batch" in found["keystone-labels"]
        assert not [word for word in ("K10", "hskey-", "PRIVATE KEY") if word in text]
    assert told(texts["go"])["keystone-taints"] == "spot=yes:NoSchedule"


def test_another_template_has_another_name_and_its_group_takes_it() -> None:
    """GCP changes no template, and Crossplane looks no name up twice unless told."""
    choice = CLOUDS["gcp"]
    before = site(gcp=choice)
    after = site(gcp={**choice, "pools": {"go": {**choice["pools"]["go"], "image": "keystone-2"}}})
    names = [of(settings, "InstanceTemplate").name for settings in (before, after, before)]
    assert names[0] == names[2] != names[1]
    for settings, name in zip((before, after), names, strict=False):
        [version] = of(settings, "InstanceGroupManager").spec["forProvider"]["version"]
        assert version["instanceTemplateRef"] == {"name": name, "policy": {"resolve": "Always"}}


def test_azure_gets_the_login_without_which_it_makes_no_machine() -> None:
    spec = of(site(azure=CLOUDS["azure"]), "LinuxVirtualMachineScaleSet").spec["forProvider"]
    assert spec["adminSshKey"] == [{"username": spec["adminUsername"], "publicKey": LOGIN}]


def test_the_size_that_an_autoscaler_chose_is_not_taken_for_what_is_wanted() -> None:
    for it in cloud_pools.things(site(**CLOUDS), LOGIN):
        assert it.spec["managementPolicies"] == ["Observe", "Create", "Update", "Delete"], it.name


def test_disks_are_encrypted_under_a_customer_key_and_machines_have_no_public_address() -> None:
    settings = site(**CLOUDS)
    template = of(settings, "InstanceTemplate").spec["forProvider"]
    assert template["disk"][0]["diskEncryptionKey"] == {"kmsKeySelfLink": CLOUDS["gcp"]["diskKey"]}
    assert template["networkInterface"] == [{"network": "lan", "subnetwork": "nodes"}]
    assert template["scheduling"] == {"provisioningModel": "STANDARD", "preemptible": False, "automaticRestart": True}
    scale_set = of(settings, "LinuxVirtualMachineScaleSet").spec["forProvider"]
    assert scale_set["osDisk"]["diskEncryptionSetId"] == CLOUDS["azure"]["diskEncryptionSet"]
    [address] = scale_set["networkInterface"][0]["ipConfiguration"]
    assert "publicIpAddress" not in address
    assert (scale_set["priority"], scale_set["zones"]) == ("Spot", ["1", "2"])


def test_the_number_of_machines_is_the_autoscalers_after_the_first() -> None:
    settings = site(**CLOUDS)
    for kind, word in (("InstanceGroupManager", "targetSize"), ("LinuxVirtualMachineScaleSet", "instances")):
        spec = of(settings, kind).spec
        assert spec["initProvider"] == {word: 1}
        assert word not in spec["forProvider"]


def test_crossplane_comes_for_clouds_whose_groups_it_makes() -> None:
    assert "crossplane" in releases(site(gcp=CLOUDS["gcp"]))
    assert "crossplane" not in releases(site(hetzner=CLOUDS["hetzner"]))
    names = [it.name for it in cloud_pools.providers(site(**CLOUDS)) if it.kind == "Provider"]
    assert names == ["provider-azure-compute", "provider-gcp-compute"]


def test_an_api_server_would_take_every_object() -> None:
    settings = site(**CLOUDS)
    found = [*cloud_pools.providers(settings), *cloud_pools.things(settings, LOGIN)]
    assert len(found) == 11
    things = ({"apiVersion": it.api, "kind": it.kind, "metadata": {"name": it.name}, "spec": it.spec} for it in found)
    assert [fault for thing in things for fault in faults(thing)] == []
