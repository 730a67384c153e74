"""Pools at Hetzner, GCP and Azure: an autoscaler per cloud, and Crossplane's objects for the groups of machines.

None of it holds a static key but Hetzner's, which knows no other way: the autoscaler proves itself by a token of its
service account, and a machine by the identity that its cloud gives it.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import versions
from keystone.charts.cloud_autoscaler import MOUNTS, NAMESPACE, TOKEN, autoscaler, token
from keystone.charts.objects import Thing
from keystone.charts.operators import CROSSPLANE, REGISTRY, package, runtime
from keystone.charts.release import Release
from keystone.pools import Pool, pools, user_data
from keystone.settings import Settings
from keystone.settings.clouds import Azure, Clouds, Gcp

HETZNER_SECRET, HETZNER_SECRET_KEY = "hetzner", "token"
"""Secret with the token that makes and removes servers."""
CONFIG, CONFIG_FOLDER = "gcp-identity", "/etc/keystone/gcp"
CONFIG_KEY, PLACE_KEY = "credentials.json", "cloud.conf"
AZURE_AUDIENCE = "api://AzureADTokenExchange"
ADMIN = "keystone"
WAITS = "wait"
"""In the place of a store of secrets: the machine has none, and waits until somebody lets it in."""


class Renderer(Protocol):
    """A cloud: what the cluster holds so that pools come to be there."""

    def releases(self, settings: Settings, pools: Mapping[str, Pool]) -> Iterator[Release]:
        """The autoscaler of the cloud, and what makes its groups."""
        ...

    def things(self, settings: Settings, pool: Pool, login: Any) -> Iterator[Thing]:
        """The objects of one pool, in order. `login` is the operator's public key, for clouds that want one."""
        ...


def group_name(settings: Settings, pool: Pool) -> str:
    """What a group is called at its cloud."""
    return f"{settings.cluster.name}-{pool.name}"


def clouds(settings: Settings) -> dict[str, Renderer]:
    """The chosen clouds but AWS, by name."""
    chosen = settings.clouds or Clouds()
    made: dict[str, Renderer | None] = {
        "azure": AzureRenderer(chosen.azure) if chosen.azure else None,
        "gcp": GcpRenderer(chosen.gcp) if chosen.gcp else None,
        "hetzner": HetznerRenderer() if chosen.hetzner else None,
    }
    return {name: renderer for name, renderer in made.items() if renderer}


def pools_of(settings: Settings, cloud: str) -> dict[str, Pool]:
    return {name: pool for name, pool in pools(settings).items() if pool.cloud == cloud}


def static_keys(settings: Settings) -> list[str]:
    """The chosen clouds whose API knows no credentials that end."""
    return ["hetzner"] if settings.clouds and settings.clouds.hetzner else []


def releases(settings: Settings) -> Iterator[Release]:
    for cloud, renderer in clouds(settings).items():
        yield from renderer.releases(settings, pools_of(settings, cloud))


def things(settings: Settings, login: Any) -> Iterator[Thing]:
    """The objects of every pool, cloud by cloud. `login` is the operator's public key."""
    for cloud, renderer in clouds(settings).items():
        for pool in pools_of(settings, cloud).values():
            yield from renderer.things(settings, pool, login)


class HetznerRenderer:
    """The autoscaler itself makes the servers; a server finds what it is told in its user data."""

    def releases(self, settings: Settings, pools: Mapping[str, Pool]) -> Iterator[Release]:
        nodes = {
            group_name(settings, pool): {
                "imagesForArch": {"amd64": pool.image},
                "cloudInit": user_data(settings, pool, WAITS),
                "labels": pool.node_labels,
                "taints": [{"key": one.key, "value": one.value, "effect": one.effect} for one in pool.taints],
            }
            for pool in pools.values()
        }
        config = {"nodeConfigs": nodes}
        groups = [
            {
                # Servers carry their group's name alone: two clusters of one project must not share one.
                "name": group_name(settings, pool),
                "instanceType": pool.machine_types[0],
                "region": pool.zones[0],
                "minSize": pool.min,
                "maxSize": pool.max,
            }
            for pool in pools.values()
        ]
        encoded = base64.b64encode(json.dumps(config, sort_keys=True).encode()).decode()
        yield autoscaler(
            settings,
            "hetzner",
            {
                "autoscalingGroups": groups,
                "extraEnv": {"HCLOUD_CLUSTER_CONFIG": encoded},
                "extraEnvSecrets": {"HCLOUD_TOKEN": {"name": HETZNER_SECRET, "key": HETZNER_SECRET_KEY}},
            },
        )

    def things(self, settings: Settings, pool: Pool, login: Any) -> Iterator[Thing]:
        del settings, pool, login  # the autoscaler makes the servers, and nothing else is needed
        yield from ()


class GcpRenderer:
    """A template and a group per pool, by Crossplane; the autoscaler is told its URL."""

    def __init__(self, choice: Gcp) -> None:
        self._choice = choice

    def _audience(self) -> str:
        it = self._choice
        pool = f"projects/{it.project_number}/locations/global/workloadIdentityPools/{it.identity_pool}"
        return f"//iam.googleapis.com/{pool}/providers/{it.identity_provider}"

    def identity(self) -> str:
        """How a program that holds a token becomes the service account. It is no secret: it names where things are."""
        account = self._choice.service_account
        return json.dumps(
            {
                "type": "external_account",
                "audience": self._audience(),
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                "token_url": "https://sts.googleapis.com/v1/token",
                "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/"
                f"serviceAccounts/{account}:generateAccessToken",
                "credential_source": {"file": TOKEN, "format": {"type": "text"}},
            },
            sort_keys=True,
        )

    def files(self, settings: Settings) -> dict[str, str]:
        """What programs read from CONFIG_FOLDER: how to prove themselves, and where they work.

        Without a place, the autoscaler asks the machine that it runs on, which is none of GCP's.
        """
        zones = sorted(zone for pool in pools_of(settings, "gcp").values() for zone in pool.zones)
        place = f"[Global]\nproject-id = {self._choice.project}\n" + "".join(f"local-zone = {it}\n" for it in zones[:1])
        return {CONFIG_KEY: self.identity(), PLACE_KEY: place}

    def _group_url(self, settings: Settings, pool: Pool) -> str:
        [zone] = pool.zones
        project = f"https://www.googleapis.com/compute/v1/projects/{self._choice.project}"
        return f"{project}/zones/{zone}/instanceGroups/{group_name(settings, pool)}"

    def releases(self, settings: Settings, pools: Mapping[str, Pool]) -> Iterator[Release]:
        groups = [
            {"name": self._group_url(settings, pool), "minSize": pool.min, "maxSize": pool.max}
            for pool in pools.values()
        ]
        config = [{"name": "config", "configMap": {"name": CONFIG}}]
        yield autoscaler(
            settings,
            "gcp",
            {
                "autoscalingGroups": groups,
                "extraEnv": {"GOOGLE_APPLICATION_CREDENTIALS": f"{CONFIG_FOLDER}/{CONFIG_KEY}"},
                "extraVolumes": [*token(self._audience()), *config],
                "extraVolumeMounts": [*MOUNTS, {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True}],
            },
            # The chart has a value for this path, which it reads for other clouds alone.
            **{"cloud-config": f"{CONFIG_FOLDER}/{PLACE_KEY}"},
        )

    def provider(self) -> Iterator[Thing]:
        """Crossplane's provider, with a token and what to make of it."""
        name = "provider-gcp-compute"
        yield _active(
            name, [f"{plural}.compute.gcp.m.upbound.io" for plural in ("instancetemplates", "instancegroupmanagers")]
        )
        mounts = [*MOUNTS, {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True}]
        volumes = [*token(self._audience()), {"name": "config", "configMap": {"name": CONFIG}}]
        pod = {"containers": [{"volumeMounts": mounts}], "volumes": volumes}
        yield runtime(name, {"metadata": {"name": name}}, pod)
        yield package(name, f"{REGISTRY}/{name}:v{versions.CROSSPLANE_GCP}")
        yield _account(
            "gcp",
            {
                "projectID": self._choice.project,
                "credentials": {"source": "Filesystem", "fs": {"path": f"{CONFIG_FOLDER}/{CONFIG_KEY}"}},
            },
        )

    def things(self, settings: Settings, pool: Pool, login: Any) -> Iterator[Thing]:
        del login
        it, name = self._choice, group_name(settings, pool)
        [zone] = pool.zones
        parameters = f"gcp:projects/{it.project}/secrets/{name}"
        template = {
            "namePrefix": f"{name}-",
            "project": it.project,
            "machineType": pool.machine_types[0],
            "canIpForward": False,
            "disk": [
                {
                    "sourceImage": pool.image,
                    "autoDelete": True,
                    "boot": True,
                    "diskSizeGb": pool.disk_gib,
                    "diskEncryptionKey": {"kmsKeySelfLink": it.disk_key},
                }
            ],
            # No access configuration: no public address.
            "networkInterface": [{"network": it.network, "subnetwork": it.subnetwork}],
            "metadata": {"user-data": user_data(settings, pool, parameters), "enable-oslogin": "true"},
            "serviceAccount": {
                "email": it.machine_account,
                "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
            },
            "scheduling": {
                "provisioningModel": "SPOT" if pool.spot else "STANDARD",
                "preemptible": pool.spot,
                "automaticRestart": not pool.spot,
            },
            "shieldedInstanceConfig": {"enableSecureBoot": True, "enableVtpm": True, "enableIntegrityMonitoring": True},
            "labels": {"keystone-cluster": settings.cluster.name, "keystone-pool": pool.name},
        }
        # A template never changes, at GCP nor in Crossplane: another one has another name.
        called = f"{name}-{hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:8]}"
        yield _managed("compute.gcp.m.upbound.io/v1beta1", "InstanceTemplate", called, template)
        group = {
            "project": it.project,
            "zone": zone,
            "baseInstanceName": name,
            # Else the template that was found once would stay.
            "version": [{"instanceTemplateRef": {"name": called, "policy": {"resolve": "Always"}}}],
            "updatePolicy": {"type": "OPPORTUNISTIC", "minimalAction": "REPLACE"},
        }
        # The first size alone: later ones are the autoscaler's.
        first = {"targetSize": pool.min}
        yield _managed("compute.gcp.m.upbound.io/v1beta1", "InstanceGroupManager", name, group, first)


class AzureRenderer:
    """A scale set per pool, by Crossplane; the autoscaler is told its name."""

    def __init__(self, choice: Azure) -> None:
        self._choice = choice

    def releases(self, settings: Settings, pools: Mapping[str, Pool]) -> Iterator[Release]:
        it = self._choice
        yield autoscaler(
            settings,
            "azure",
            {
                "azureSubscriptionID": it.subscription_id,
                "azureTenantID": it.tenant_id,
                "azureClientID": it.client_id,
                "azureResourceGroup": it.resource_group,
                "azureVMType": "vmss",
                "azureUseWorkloadIdentityExtension": True,
                "autoscalingGroups": [
                    {"name": group_name(settings, pool), "minSize": pool.min, "maxSize": pool.max}
                    for pool in pools.values()
                ],
                "extraEnv": {
                    "AZURE_CLIENT_ID": it.client_id,
                    "AZURE_TENANT_ID": it.tenant_id,
                    "AZURE_FEDERATED_TOKEN_FILE": TOKEN,
                    "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/",
                },
                "extraVolumes": token(AZURE_AUDIENCE),
                "extraVolumeMounts": MOUNTS,
            },
        )

    def provider(self) -> Iterator[Thing]:
        """Crossplane's provider, with a token that Azure takes for the application."""
        it, name = self._choice, "provider-azure-compute"
        yield _active(name, ["linuxvirtualmachinescalesets.compute.azure.m.upbound.io"])
        pod = {"containers": [{"volumeMounts": MOUNTS}], "volumes": token(AZURE_AUDIENCE)}
        yield runtime(name, {"metadata": {"name": name}}, pod)
        yield package(name, f"{REGISTRY}/{name}:v{versions.CROSSPLANE_AZURE}")
        spec = {"clientID": it.client_id, "tenantID": it.tenant_id, "subscriptionID": it.subscription_id}
        yield _account("azure", {**spec, "oidcTokenFilePath": TOKEN, "credentials": {"source": "OIDCTokenFile"}})

    def things(self, settings: Settings, pool: Pool, login: Any) -> Iterator[Thing]:
        it, name = self._choice, group_name(settings, pool)
        told = user_data(settings, pool, f"azure:https://{it.vault}.vault.azure.net/secrets/{name}")
        spec = {
            "location": it.location,
            "resourceGroupName": it.resource_group,
            "sku": pool.machine_types[0],
            "zones": list(pool.zones),
            "sourceImageId": pool.image,
            "userData": base64.b64encode(told.encode()).decode(),
            # Azure makes no machine without a login; the image has no SSH server.
            "adminUsername": ADMIN,
            "adminSshKey": [{"username": ADMIN, "publicKey": login}],
            "priority": "Spot" if pool.spot else "Regular",
            **({"evictionPolicy": "Delete"} if pool.spot else {}),
            "upgradeMode": "Manual",
            "overprovision": False,
            "encryptionAtHostEnabled": True,
            "secureBootEnabled": True,
            "vtpmEnabled": True,
            "identity": {"type": "UserAssigned", "identityIds": [it.machine_identity]},
            "osDisk": {
                "caching": "ReadOnly",
                "storageAccountType": "Premium_LRS",
                "diskSizeGb": pool.disk_gib,
                "diskEncryptionSetId": it.disk_encryption_set,
            },
            "networkInterface": [
                {
                    "name": "lan",
                    "primary": True,
                    # No public address.
                    "ipConfiguration": [{"name": "lan", "primary": True, "subnetId": it.subnet_id}],
                }
            ],
            "tags": {"keystone-cluster": settings.cluster.name, "keystone-pool": pool.name},
        }
        first = {"instances": pool.min}
        yield _managed("compute.azure.m.upbound.io/v1beta1", "LinuxVirtualMachineScaleSet", name, spec, first)


def providers(settings: Settings) -> Iterator[Thing]:
    """What Crossplane needs for the chosen clouds, in order."""
    for renderer in clouds(settings).values():
        if isinstance(renderer, GcpRenderer | AzureRenderer):
            yield from renderer.provider()


def _active(name: str, kinds: list[str]) -> Thing:
    return Thing(
        api="apiextensions.crossplane.io/v1alpha1",
        kind="ManagedResourceActivationPolicy",
        name=name,
        after=CROSSPLANE,
        spec={"activate": kinds},
    )


def _account(cloud: str, spec: Mapping[str, Any]) -> Thing:
    return Thing(
        api=f"{cloud}.m.upbound.io/v1beta1", kind="ClusterProviderConfig", name="default", after=CROSSPLANE, spec=spec
    )


def _managed(api: str, kind: str, name: str, spec: Mapping[str, Any], first: Mapping[str, Any] | None = None) -> Thing:
    """A thing at a cloud. `first` counts when it is made and never again."""
    return Thing(
        api=api,
        kind=kind,
        name=name,
        namespace=NAMESPACE,
        after=CROSSPLANE,
        # Crossplane writes what it finds into the same lists.
        annotations={"pulumi.com/patchForce": "true"},
        spec={
            # Without LateInitialize: it would write sizes and defaults of the cloud into what is wanted.
            "managementPolicies": ["Observe", "Create", "Update", "Delete"],
            "providerConfigRef": {"kind": "ClusterProviderConfig", "name": "default"},
            "forProvider": dict(spec),
            **({"initProvider": dict(first)} if first else {}),
        },
    )
