"""How each engine writes down what it is to install, and how it tells the outcome: Flux, Argo CD, k3s.

The words, reasons and conditions are those of helm-controller 1.4, Argo CD 3.3 and k3s' Helm controller 0.16.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import yaml

from twin.charts.installer import Wish

Object = dict[str, Any]
RETRY_SECONDS = 3.0
"""The engines wait longer between attempts; a twin has no need to be spared."""
DEFAULT_LIMIT = 300.0


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(text: str) -> float:
    """A duration as Go writes it, such as 5m0s, in seconds."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text))


@dataclass(frozen=True)
class Engine:
    """One kind of object that asks for a chart."""

    api: str
    kind: str
    finalizer: str
    reporter: str
    wish: Callable[[Object, Object | None], Wish]
    """From the object, and from its source if it is one of those that name the chart."""
    progressing: Callable[[Object, Wish], Object]
    ready: Callable[[Object, Wish], Object]
    failed: Callable[[Object, Wish, str], Object]
    waiting: Callable[[Object, str], Object] | None = None
    source: Callable[[Object], Object | None] | None = None
    is_ready: Callable[[Object], bool] = lambda _thing: False
    reasons: tuple[str, str] = ("InstallSucceeded", "InstallFailed")


# --- Flux ---


def _conditions(thing: Object, *entries: tuple[str, str, str, str]) -> Object:
    generation = thing["metadata"]["generation"]
    return {
        "observedGeneration": generation,
        "conditions": [
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message,
                "lastTransitionTime": now(),
                "observedGeneration": generation,
            }
            for kind, status, reason, message in entries
        ],
    }


def _flux_source(thing: Object) -> Object:
    spec = thing["spec"]
    named = spec.get("chartRef") or spec["chart"]["spec"]["sourceRef"]
    namespace = named.get("namespace", thing["metadata"]["namespace"])
    return {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": named["kind"],
        "metadata": {"name": named["name"], "namespace": namespace},
    }


def _flux_wish(thing: Object, source: Object | None) -> Wish:
    spec = thing["spec"]
    if "chartRef" in spec:
        repository = source["spec"] if source else {"url": spec["chartRef"]["name"]}
        chart, version = repository["url"].rpartition("/")[2], repository.get("ref", {}).get("tag", "")
    else:
        chart, version = spec["chart"]["spec"]["chart"], spec["chart"]["spec"].get("version", "*")
    return Wish(
        release=spec.get("releaseName", thing["metadata"]["name"]),
        chart=chart,
        version=version,
        namespace=spec.get("targetNamespace", thing["metadata"]["namespace"]),
        values=spec.get("values", {}),
        limit=seconds(spec.get("timeout", "5m")),
        create_namespace=spec.get("install", {}).get("createNamespace", False),
    )


def _flux_ready(thing: Object, wish: Wish) -> Object:
    message = (
        f"Helm install succeeded for release {wish.namespace}/{wish.release}.v1 with chart {wish.chart}@{wish.version}"
    )
    return {
        **_conditions(
            thing, ("Ready", "True", "InstallSucceeded", message), ("Released", "True", "InstallSucceeded", message)
        ),
        "lastAttemptedRevision": wish.version,
        "lastAttemptedReleaseAction": "install",
        "storageNamespace": thing["spec"].get("storageNamespace", wish.namespace),
        "installFailures": 0,
        "failures": 0,
    }


def _flux_failed(thing: Object, wish: Wish, message: str) -> Object:
    return {
        **_conditions(
            thing, ("Ready", "False", "InstallFailed", message), ("Released", "False", "InstallFailed", message)
        ),
        "lastAttemptedRevision": wish.version,
        "lastAttemptedReleaseAction": "install",
        "failures": thing.get("status", {}).get("failures", 0) + 1,
    }


def _flux_progressing(thing: Object, wish: Wish) -> Object:
    message = f"Running 'install' action with timeout of {wish.limit:.0f}s"
    return _conditions(
        thing, ("Reconciling", "True", "Progressing", message), ("Ready", "Unknown", "Progressing", message)
    )


def _flux_waiting(thing: Object, dependency: str) -> Object:
    message = f"dependency '{dependency}' is not ready"
    return _conditions(thing, ("Ready", "False", "DependencyNotReady", message))


def _flux_is_ready(thing: Object) -> bool:
    status = thing.get("status", {})
    return status.get("observedGeneration") == thing["metadata"]["generation"] and any(
        one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", [])
    )


FLUX = Engine(
    api="helm.toolkit.fluxcd.io/v2",
    kind="HelmRelease",
    finalizer="finalizers.fluxcd.io",
    reporter="helm-controller",
    wish=_flux_wish,
    progressing=_flux_progressing,
    ready=_flux_ready,
    failed=_flux_failed,
    waiting=_flux_waiting,
    source=_flux_source,
    is_ready=_flux_is_ready,
)


# --- Argo CD ---


def _argo_wish(thing: Object, _source: Object | None) -> Wish:
    spec = thing["spec"]
    source = spec["source"]
    helm = source.get("helm", {})
    return Wish(
        release=helm.get("releaseName", thing["metadata"]["name"]),
        chart=source.get("chart", ""),
        version=source.get("targetRevision", ""),
        namespace=spec["destination"].get("namespace", "default"),
        values=helm.get("valuesObject", {}),
        limit=DEFAULT_LIMIT,
        create_namespace="CreateNamespace=true" in spec.get("syncPolicy", {}).get("syncOptions", []),
    )


def _compared(thing: Object) -> Object:
    """What the status repeats of the source: without values, whose removed keys a merge would keep."""
    return {key: value for key, value in thing["spec"]["source"].items() if key != "helm"}


def _argo_status(thing: Object, wish: Wish, sync: str, health: str, phase: str, message: str) -> Object:
    compared = {"source": _compared(thing), "destination": thing["spec"]["destination"]}
    return {
        "sync": {"status": sync, "revision": wish.version, "comparedTo": compared},
        "health": {"status": health},
        "operationState": {
            "operation": {"sync": {"revision": wish.version}},
            "phase": phase,
            "message": message,
            "startedAt": now(),
        },
        "conditions": [{"type": "SyncError", "message": message}] if phase == "Failed" else [],
        "reconciledAt": now(),
    }


def _argo_is_ready(thing: Object) -> bool:
    status = thing.get("status", {})
    state = (status.get("sync", {}).get("status"), status.get("health", {}).get("status"))
    return (
        state == ("Synced", "Healthy")
        and status["sync"].get("comparedTo", {}).get("source") == (thing["spec"]["source"])
    )


ARGO = Engine(
    api="argoproj.io/v1alpha1",
    kind="Application",
    finalizer="resources-finalizer.argocd.argoproj.io",
    reporter="argocd-application-controller",
    wish=_argo_wish,
    progressing=lambda it, wish: _argo_status(it, wish, "OutOfSync", "Missing", "Running", "waiting for healthy state"),
    ready=lambda it, wish: _argo_status(
        it, wish, "Synced", "Healthy", "Succeeded", "successfully synced (all tasks run)"
    ),
    failed=lambda it, wish, message: _argo_status(it, wish, "OutOfSync", "Missing", "Failed", message),
    is_ready=_argo_is_ready,
    reasons=("OperationCompleted", "OperationCompleted"),
)


# --- k3s ---


def _k3s_wish(thing: Object, _source: Object | None) -> Wish:
    spec = thing["spec"]
    return Wish(
        release=thing["metadata"]["name"],
        chart=spec["chart"],
        version=spec.get("version", ""),
        namespace=spec.get("targetNamespace", thing["metadata"]["namespace"]),
        values=yaml.safe_load(spec.get("valuesContent", "")) or {},
        limit=DEFAULT_LIMIT,
        create_namespace=spec.get("createNamespace", False),
    )


def _k3s_status(thing: Object, kind: str, reason: str, message: str) -> Object:
    job = f"helm-install-{thing['metadata']['name']}"
    condition = {"type": kind, "status": "True", "reason": reason, "message": message}
    return {"jobName": job, "conditions": [{**condition, "lastTransitionTime": now()}]}


K3S = Engine(
    api="helm.cattle.io/v1",
    kind="HelmChart",
    finalizer="wrangler.cattle.io/on-helm-chart-remove",
    reporter="helm-controller",
    wish=_k3s_wish,
    progressing=lambda thing, wish: _k3s_status(
        thing, "JobCreated", "Job created", f"Applying HelmChart {wish.release}"
    ),
    ready=lambda thing, wish: _k3s_status(thing, "JobCreated", "Job complete", f"Applied HelmChart {wish.release}"),
    failed=lambda thing, _, message: _k3s_status(thing, "Failed", "Job failed", message),
    reasons=("ApplyJob", "RemoveJob"),
)

ENGINES = (FLUX, ARGO, K3S)
