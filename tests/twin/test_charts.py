"""Promises about the twin's chart controller, with the real API server and the real definitions."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from keystone.charts import Release, mount_test, releases
from keystone.charts.ceph import OBJECT_STORE_HOST
from keystone.settings import parse
from tests import networks
from tests.charts.test_catalogue import CEPH, POOLS, THREE, settings
from tests.twin.sites import Trial, document, trial
from tests.twin.waiting import until
from twin.charts.orders import Order, Orders
from twin.cli import app
from twin.services.layout import Layout
from twin.services.units import K3s
from twin.site import Site

pytestmark = [pytest.mark.twin, pytest.mark.timeout(300)]
NETWORK = networks.fresh()
LIMIT = 60.0


@pytest.fixture(scope="module")
def site(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A primer alone; its pods run on it."""
    one = trial(tmp_path_factory.mktemp("charts"), NETWORK, workers=0)

    async def start() -> None:
        await one.services("primer")["k3s"].start()
        await until(lambda: installed(one, "helmchart", "flux-operator", "kube-system"), LIMIT)

    try:
        runner.run(start())
        yield one
    finally:
        runner.run(one.stop())
        one.site.run.rmdir()


async def get(site: Trial, *what: str) -> Any:
    code, output, _ = await site.run("primer", "k3s", "get", *what, "-o", "json")
    return json.loads(output) if code == 0 else None


async def apply(site: Trial, *things: dict[str, Any]) -> tuple[int, str]:
    text = yaml.safe_dump_all(json.loads(json.dumps(things))).encode()
    code, _, errors = await site.run("primer", "k3s", "apply", "--server-side", "-f", "-", stdin=text)
    return code, errors


async def condition(site: Trial, kind: str, name: str, namespace: str = "flux-system") -> tuple[str, str, str]:
    """Status, reason and message of Ready (or of what k3s reports)."""
    thing = await get(site, kind, name, "-n", namespace)
    found = (thing or {}).get("status", {}).get("conditions", [])
    one = next((c for c in found if c["type"] in ("Ready", "JobCreated")), {})
    return one.get("status", ""), one.get("reason", ""), one.get("message", "")


async def installed(site: Trial, kind: str, name: str, namespace: str = "flux-system") -> bool:
    status, reason, _ = await condition(site, kind, name, namespace)
    return status == "True" and reason in ("InstallSucceeded", "Job complete", "Succeeded")


def orders(site: Trial) -> Orders:
    unit = site.services("primer")["k3s"]
    assert isinstance(unit, K3s)
    return Orders(Layout(unit.system.root).chart_orders)


def namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def flux(release: Release, **spec: Any) -> list[dict[str, Any]]:
    """A release as Flux has it, with its source."""
    kind = "OCIRepository" if release.oci else "HelmRepository"
    url = f"{release.repository}/{release.chart}" if release.oci else release.repository
    tag = {"ref": {"tag": release.version}} if release.oci else {}
    named = {"kind": kind, "name": release.name}
    chart = {"chart": release.chart, "version": release.version, "sourceRef": named}
    return [
        {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": kind,
            "metadata": {"name": release.name, "namespace": "flux-system"},
            "spec": {"interval": "1h", "url": url, **tag},
        },
        {
            "apiVersion": "helm.toolkit.fluxcd.io/v2",
            "kind": "HelmRelease",
            "metadata": {"name": release.name, "namespace": "flux-system"},
            "spec": {
                "interval": "1h",
                "releaseName": release.name,
                "targetNamespace": release.namespace,
                **({"chartRef": named} if release.oci else {"chart": {"spec": chart}}),
                **({"dependsOn": [{"name": need} for need in release.needs]} if release.needs else {}),
                "values": release.values,
                **spec,
            },
        },
    ]


def small(name: str) -> Release:
    return Release(name=name, chart="metrics-server", repository="https://charts.test", version="1", namespace="small")


def test_the_host_layers_charts_are_installed_as_k3s_would(runner: asyncio.Runner, site: Trial) -> None:
    async def scenario() -> None:
        await until(lambda: installed(site, "helmchart", "cilium", "kube-system"), LIMIT)
        kinds = {item["metadata"]["name"] for item in (await get(site, "crd"))["items"]}
        assert {"helmreleases.helm.toolkit.fluxcd.io", "ciliumnetworkpolicies.cilium.io"} <= kinds
        assert "gateways.gateway.networking.k8s.io" in kinds
        assert (await get(site, "gatewayclass", "cilium"))["status"]["conditions"][0]["status"] == "True"

    runner.run(scenario())


def test_a_custom_resource_before_its_chart_is_refused_and_after_it_is_checked_and_served(
    runner: asyncio.Runner, site: Trial
) -> None:
    cluster = settings(platform={"certManager": {}})
    issuer = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "ClusterIssuer",
        "metadata": {"name": "self"},
        "spec": {"selfSigned": {}},
    }

    async def scenario() -> None:
        code, errors = await apply(site, issuer)
        assert code != 0
        assert "no matches for kind" in errors
        await apply(site, namespace("cert-manager"), *flux(releases(cluster)["cert-manager"]))
        await until(lambda: installed(site, "helmrelease", "cert-manager"), LIMIT)
        assert (await condition(site, "helmrelease", "cert-manager"))[2].endswith("cert-manager@v1.21.1")
        assert (await apply(site, issuer))[0] == 0
        misspelt = {**issuer, "metadata": {"name": "other"}, "spec": {"selfsigned": {}}}
        code, errors = await apply(site, misspelt)
        assert code != 0
        assert "selfsigned" in errors

        async def ready() -> bool:
            return (await condition(site, "clusterissuer", "self"))[0] == "True"

        await until(ready, LIMIT)
        pods = await get(site, "pods", "-n", "cert-manager")
        assert {pod["status"]["phase"] for pod in pods["items"]} == {"Running"}

    runner.run(scenario())


def test_ceph_comes_up_in_order_and_gives_volumes_and_buckets(runner: asyncio.Runner, site: Trial) -> None:
    chosen = releases(settings(THREE, network={"loadBalancer": {"pools": POOLS}}, storage=CEPH))
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "rook-ceph"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    bucket = {
        "apiVersion": "objectbucket.io/v1alpha1",
        "kind": "ObjectBucketClaim",
        "metadata": {"name": "logs", "namespace": "rook-ceph"},
        "spec": {"generateBucketName": "logs", "storageClassName": "ceph-bucket"},
    }

    async def scenario() -> None:
        # The last first: it has to wait for the others, and says so.
        await apply(site, namespace("rook-ceph"), *flux(chosen["rook-ceph-cluster"]))

        async def waits() -> bool:
            return "is not ready" in (await condition(site, "helmrelease", "rook-ceph-cluster"))[2]

        await until(waits, LIMIT)
        await apply(site, *flux(chosen["rook-ceph"]), *flux(chosen["ceph-csi-drivers"]))
        await until(lambda: installed(site, "helmrelease", "rook-ceph-cluster"), LIMIT)
        assert (await apply(site, claim, bucket))[0] == 0

        async def served() -> bool:
            volume, store = await get(site, "pvc", "data", "-n", "rook-ceph"), await get(site, "obc", "-n", "rook-ceph")
            phases = [item.get("status", {}).get("phase") for item in store["items"]]
            return volume["status"]["phase"] == "Bound" and phases == ["Bound"]

        await until(served, LIMIT)
        keys = (await get(site, "secret", "logs", "-n", "rook-ceph"))["data"]
        assert {name: len(base64.b64decode(value)) for name, value in keys.items()} == {
            "AWS_ACCESS_KEY_ID": 20,
            "AWS_SECRET_ACCESS_KEY": 40,
        }
        address = (await get(site, "configmap", "logs", "-n", "rook-ceph"))["data"]
        [held] = (await get(site, "objectbucketclaim", "-n", "rook-ceph"))["items"]
        assert address["BUCKET_NAME"] == held["spec"]["bucketName"] == f"logs-{held['metadata']['uid']}"
        assert (address["BUCKET_HOST"], address["BUCKET_PORT"]) == (OBJECT_STORE_HOST, "443")
        health = (await get(site, "cephcluster", "rook-ceph", "-n", "rook-ceph"))["status"]
        assert (health["phase"], health["ceph"]["health"]) == ("Ready", "HEALTH_OK")
        classes = (await get(site, "storageclass"))["items"]
        mark = "storageclass.kubernetes.io/is-default-class"
        assert [c["metadata"]["name"] for c in classes if c["metadata"]["annotations"].get(mark) == "true"] == [
            "ceph-block"
        ]

    runner.run(scenario())


def test_a_folder_of_the_node_is_given_to_a_claim_once_its_pod_has_a_node(runner: asyncio.Runner, site: Trial) -> None:
    chosen = settings(storage={"localPath": {}})
    local = releases(chosen)["local-path"]
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "local-path", "namespace": local.namespace},
        "spec": json.loads(json.dumps(mount_test.claim("local-path"))),
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "probe", "namespace": local.namespace},
        "spec": mount_test.job({"local-path": "local-path"}),
    }

    async def scenario() -> None:
        await apply(site, namespace(local.namespace), *flux(local))
        await until(lambda: installed(site, "helmrelease", "local-path"), LIMIT)
        assert (await apply(site, claim, job))[0] == 0

        async def done() -> bool:
            return (await get(site, "job", "probe", "-n", local.namespace)).get("status", {}).get("succeeded") == 1

        await until(done, LIMIT)

    runner.run(scenario())


def test_a_bucket_goes_with_its_claim_and_so_do_keys_and_address(runner: asyncio.Runner, site: Trial) -> None:
    async def scenario() -> None:
        await site.must("primer", "k3s", "delete", "objectbucketclaim", "logs", "-n", "rook-ceph", "--timeout=60s")

        async def gone() -> bool:
            left = [await get(site, kind, "logs", "-n", "rook-ceph") for kind in ("secret", "configmap")]
            return left == [None, None] and (await get(site, "objectbuckets"))["items"] == []

        await until(gone, LIMIT)

    runner.run(scenario())


def test_values_that_the_schema_refuses_fail_the_release_with_the_apis_own_words(
    runner: asyncio.Runner, site: Trial
) -> None:
    good = releases(settings(THREE, storage=CEPH))["ceph-csi-drivers"]
    bad = Release(**{**vars(good), "name": "misspelt", "needs": (), "namespace": "misspelt"})
    values = json.loads(json.dumps(good.values))
    values["operatorConfig"] |= {"namespace": "misspelt"}
    values["operatorConfig"]["driverSpecDefaults"]["nodePlugin"]["prioritClass"] = "x"

    async def scenario() -> None:
        await apply(site, namespace("misspelt"), *flux(bad, values=values))

        async def refused() -> bool:
            status, reason, message = await condition(site, "helmrelease", "misspelt")
            return status == "False" and reason == "InstallFailed" and "prioritClass" in message

        await until(refused, LIMIT)
        await site.must("primer", "k3s", "delete", "helmrelease", "misspelt", "-n", "flux-system", "--timeout=30s")

    runner.run(scenario())


def test_a_release_into_a_namespace_that_is_not_there_fails_as_helm_would(runner: asyncio.Runner, site: Trial) -> None:
    lost = Release(**{**vars(small("lost")), "namespace": "nowhere"})

    async def scenario() -> None:
        await apply(site, *flux(lost))

        async def refused() -> bool:
            return 'namespaces "nowhere" not found' in (await condition(site, "helmrelease", "lost"))[2]

        await until(refused, LIMIT)

    runner.run(scenario())


def test_a_release_that_is_told_to_fail_says_why_in_status_and_event_and_goes_on_once_mended(
    runner: asyncio.Runner, site: Trial
) -> None:
    async def scenario() -> None:
        orders(site).give("broken", Order(fail="no space left on device"))
        await apply(site, namespace("small"), *flux(small("broken")))

        async def failed() -> bool:
            status, reason, message = await condition(site, "helmrelease", "broken")
            return (status, reason) == ("False", "InstallFailed") and "no space left on device" in message

        await until(failed, LIMIT)
        events = (await get(site, "events", "-n", "flux-system"))["items"]
        [said, *_] = [one for one in events if one["involvedObject"]["name"] == "broken"]
        assert (said["type"], said["reason"]) == ("Warning", "InstallFailed")
        assert "no space left on device" in said["message"]
        orders(site).give("broken", Order())
        await until(lambda: installed(site, "helmrelease", "broken"), LIMIT)

    runner.run(scenario())


def test_a_release_that_hangs_fails_at_its_own_limit(runner: asyncio.Runner, site: Trial) -> None:
    async def scenario() -> None:
        orders(site).give("stuck", Order(hang=True))
        await apply(site, namespace("small"), *flux(small("stuck"), timeout="2s"))

        async def late() -> bool:
            return "context deadline exceeded" in (await condition(site, "helmrelease", "stuck"))[2]

        await until(late, LIMIT)
        orders(site).give("stuck", Order())

    runner.run(scenario())


def test_a_stand_in_for_a_kind_of_kubernetes_own_groups_is_taken(runner: asyncio.Runner, site: Trial) -> None:
    chosen = releases(settings(platform={"verticalPodAutoscaler": True}))["vertical-pod-autoscaler"]

    async def scenario() -> None:
        await apply(site, namespace(chosen.namespace), *flux(chosen))
        await until(lambda: installed(site, "helmrelease", chosen.name), LIMIT)
        kinds = {item["metadata"]["name"] for item in (await get(site, "crd"))["items"]}
        assert "verticalpodautoscalers.autoscaling.k8s.io" in kinds

    runner.run(scenario())


def test_a_slow_release_is_in_progress_until_it_is_done(runner: asyncio.Runner, site: Trial) -> None:
    async def scenario() -> None:
        orders(site).give("slow", Order(slow=30.0))
        await apply(site, namespace("small"), *flux(small("slow")))

        async def running() -> bool:
            return (await condition(site, "helmrelease", "slow"))[:2] == ("Unknown", "Progressing")

        await until(running, 25.0)
        orders(site).give("slow", Order())
        await until(lambda: installed(site, "helmrelease", "slow"), LIMIT)

    runner.run(scenario())


def test_a_removed_release_takes_its_workloads_along_even_when_deleted_in_the_foreground(
    runner: asyncio.Runner, site: Trial
) -> None:
    async def scenario() -> None:
        await apply(site, namespace("gone"), *flux(Release(**{**vars(small("gone")), "namespace": "gone"})))
        await until(lambda: installed(site, "helmrelease", "gone"), LIMIT)
        assert (await get(site, "deployments", "-n", "gone"))["items"]
        line = ("delete", "helmrelease", "gone", "-n", "flux-system", "--cascade=foreground", "--timeout=30s")
        await site.must("primer", "k3s", *line)

        async def empty() -> bool:
            return not (await get(site, "deployments,pods", "-n", "gone"))["items"]

        await until(empty, LIMIT)

    runner.run(scenario())


def test_the_command_line_gives_and_takes_back_an_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = parse(document(NETWORK))
    place = Site(stack="trial", project=tmp_path, settings=chosen, network=IPv4Network(str(NETWORK)))
    monkeypatch.setattr(Site, "read", lambda *_: place)
    given = Orders(Layout(place.machines / "primer" / "root").chart_orders)
    assert CliRunner().invoke(app, ["chart", "loki", "--fail", "no space left"]).exit_code == 0
    assert given.of("loki") == Order(fail="no space left")
    assert given.of("another") == Order()
    assert CliRunner().invoke(app, ["chart", "loki"]).exit_code == 0
    assert given.of("loki") == Order()
