"""Jobs of the copies, operators and pools of other clouds, with the real API server.

Built-in kinds are judged by their own schemas and by the level of their namespace. The definitions of Crossplane and
of AWS' controllers are permissive (twin/charts/catalogue.py says which), so of these the server shows that it takes
the objects and gives them back whole; their fields were held against upstream's definitions by hand.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import yaml

from keystone.backup import plan
from keystone.charts import backup, cloud_pools, operators, releases
from keystone.charts.objects import Thing
from tests.backup import test_jobs as copies
from tests.charts.test_cloud_pools import CLOUDS
from tests.charts.test_cloud_pools import site as with_clouds
from tests.twin.sites import Trial
from tests.twin.test_charts import LIMIT, apply, flux, get, installed, site
from tests.twin.waiting import until

__all__ = ["site"]

pytestmark = [pytest.mark.twin, pytest.mark.timeout(300)]
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


def named(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def given(it: Thing) -> dict[str, Any]:
    metadata = {"name": it.name, **({"namespace": it.namespace} if it.namespace else {})}
    return {"apiVersion": it.api, "kind": it.kind, "metadata": metadata, "spec": it.spec}


async def strictly(site: Trial, *things: dict[str, Any]) -> tuple[int, str]:
    """As `kubectl apply` does, but a field that the server does not know is a fault."""
    text = yaml.safe_dump_all(json.loads(json.dumps(things))).encode()
    line = ("apply", "--server-side", "--validate=strict", "-f", "-")
    code, _, errors = await site.run("primer", "k3s", *line, stdin=text)
    return code, errors


def test_the_jobs_of_the_copies_are_taken_and_their_pods_fit_a_restricted_namespace(
    site: Trial, runner: asyncio.Runner
) -> None:
    chosen = copies.jobs(copies.site(objectBuckets=["photos"]))

    async def scenario() -> None:
        await strictly(site, named(plan.NAMESPACE, **RESTRICTED))
        for name, spec in chosen.items():
            place = {"name": name, "namespace": plan.NAMESPACE}
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": place}
            job = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": place, "spec": spec}
            code, said = await strictly(site, account, job)
            assert (code, said) == (0, ""), name
            assert (await get(site, "cronjob", name, "-n", plan.NAMESPACE))["spec"]["timeZone"] == "Etc/UTC"
            code, _, said = await site.run(
                "primer", "k3s", "create", "job", f"{name}-now", f"--from=cronjob/{name}", "-n", plan.NAMESPACE
            )
            # What the level forbids would be a warning here, and no pod later.
            assert (code, said) == (0, "")
            await until(lambda name=name: pods(site, f"{name}-now"), LIMIT)

    runner.run(scenario())


async def pods(site: Trial, job: str) -> bool:
    found = await get(site, "pods", "-n", plan.NAMESPACE, "-l", f"batch.kubernetes.io/job-name={job}")
    return bool(found and found["items"])


def test_a_misspelt_field_of_a_job_is_refused(site: Trial, runner: asyncio.Runner) -> None:
    spec = {**copies.jobs(copies.site())[backup.VERIFY], "timezone": "Etc/UTC"}
    wrong = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "x", "namespace": "default"},
        "spec": spec,
    }
    code, said = runner.run(strictly(site, wrong))
    assert code != 0
    assert "timezone" in said


def test_crossplanes_kinds_come_with_its_chart_and_its_providers_become_healthy(
    site: Trial, runner: asyncio.Runner
) -> None:
    settings = with_clouds(**CLOUDS)
    crossplane = releases(settings)[operators.CROSSPLANE]
    things = [*cloud_pools.providers(settings), *operators.provider("s3", "arn:aws:iam::1:role/x")]
    things += [operators.account_of_aws(), *cloud_pools.things(settings, "ssh-ed25519 AAAA")]

    async def scenario() -> None:
        code, said = await apply(site, named(crossplane.namespace), named(cloud_pools.NAMESPACE), *flux(crossplane))
        assert code == 0, said
        await until(lambda: installed(site, "helmrelease", crossplane.name), LIMIT)
        for it in things:
            code, said = await strictly(site, given(it))
            assert (code, said) == (0, ""), (it.kind, it.name)
            space = ["-n", it.namespace] if it.namespace else []
            group, _, version = it.api.partition("/")
            kept = await get(site, f"{it.kind}.{version}.{group}", it.name, *space)
            assert kept["spec"] == json.loads(json.dumps(it.spec)), "given back whole"
        for name in ("provider-gcp-compute", "provider-azure-compute", "provider-aws-s3"):
            await until(lambda name=name: healthy(site, name), LIMIT)

    runner.run(scenario())


async def healthy(site: Trial, name: str) -> bool:
    found = await get(site, "providers.pkg.crossplane.io", name)
    conditions = (found or {}).get("status", {}).get("conditions", [])
    return any(one["type"] == "Healthy" and one["status"] == "True" for one in conditions)
