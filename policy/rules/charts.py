"""Charts: their name, version and values, whichever engine delivers them. No rules here."""

from collections.abc import Mapping
from typing import Any

from judging.kinds import custom, sdk
from judging.resource import Resource, document, is_map

FLUX = custom("helm.toolkit.fluxcd.io/v2", "HelmRelease")
ARGO = custom("argoproj.io/v1alpha1", "Application")
HELM = sdk("pulumi_kubernetes.helm.v3", "Release")
# Components that render their chart out of sight: the engine is told what comes of it, and neither version nor values.
RENDERED = (*sdk("pulumi_kubernetes.helm.v4", "Chart"), *custom("helm.sh/v3", "Chart"))
CHARTS = (*FLUX, *ARGO, *HELM)
CEPH = "rook-ceph-cluster"
# What an engine reads besides the values that the rules see; one rule refuses them all.
UNSEEN = (
    "spec.sources",
    *(f"spec.source.helm.{key}" for key in ("values", "valueFiles", "parameters", "fileParameters")),
    "spec.chart.spec.valuesFiles",
    "valueYamlFiles",
)


def name(it: Resource) -> str:
    """The chart's name without its repository; "" where it is none (a Kustomize application)."""
    if it.kind in FLUX:
        found = it.at("spec.chart.spec.chart") or it.at("spec.chartRef.name")
    elif it.kind in ARGO:
        found = it.at("spec.source.chart")
    else:
        found = it.at("chart")
    return str(found or "").rstrip("/").rpartition("/")[2]


def version(it: Resource) -> Any:
    """What it is pinned to. A Flux chartRef has its version in the source, which has a rule of its own."""
    if it.kind in FLUX:
        return it.at("spec.chart.spec.version")
    return it.at("spec.source.targetRevision") if it.kind in ARGO else it.at("version")


def values(it: Resource) -> tuple[str, Mapping[str, Any]]:
    """(path, values). Raises ValueError where they are no map. What is UNSEEN is not among them."""
    if it.kind in FLUX:
        path, found = "spec.values", it.at("spec.values")
    elif it.kind in ARGO:
        path, found = "spec.source.helm.valuesObject", it.at("spec.source.helm.valuesObject")
    else:
        path, found = "values", it.at("values")
    found = document(found) if found is not None else {}
    if not is_map(found):
        raise ValueError("values are no map")
    return path, found


def namespace(it: Resource) -> Any:
    """Where the chart's pods run; None where nothing says so."""
    if it.kind in FLUX:
        return it.at("spec.targetNamespace") or it.at("metadata.namespace")
    return it.at("spec.destination.namespace") if it.kind in ARGO else it.at("namespace")
