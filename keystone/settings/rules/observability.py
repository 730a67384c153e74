"""Rules about metrics, logs and alerts."""

from collections.abc import Iterator

from keystone.settings.cluster import Cluster
from keystone.settings.faults import Fault
from keystone.settings.network import Network
from keystone.settings.observability import Observability
from keystone.settings.platform import Platform
from keystone.settings.storage import Storage


def metrics_and_logs_have_volumes(observability: Observability | None, storage: Storage | None) -> Iterator[Fault]:
    if observability is None:
        return
    if storage is None:
        yield Fault(
            "observability", "its volumes need a storage class", "Add storage, such as storage: {localPath: {}}"
        )
    elif observability.storage_class and observability.storage_class not in storage.classes:
        yield Fault(
            "observability.storageClass",
            f"{observability.storage_class} is not one of the chosen classes",
            f"Name one of {', '.join(storage.classes)}, or choose what makes {observability.storage_class}",
        )


def buckets_for_logs_have_a_store(observability: Observability | None, storage: Storage | None) -> Iterator[Fault]:
    if observability is None or observability.logs.store != "bucket":
        return
    if not (storage and storage.ceph and storage.ceph.object):
        yield Fault(
            "observability.logs.store",
            "bucket needs Ceph's object store",
            "Add storage.ceph with object: true, or set it to volume",
        )


def alerts_go_to_receivers_that_exist(observability: Observability | None) -> Iterator[Fault]:
    if observability is None:
        return
    chosen = observability.alerting.receivers.chosen
    for place, name in observability.named_receivers():
        if name not in chosen:
            yield Fault(
                place, f"there is no receiver {name}", f"Add observability.alerting.receivers.{name}, or name another"
            )


def alerts_are_heard(observability: Observability | None) -> Iterator[Fault]:
    if observability is None:
        return
    alerting = observability.alerting
    named = {name for _, name in observability.named_receivers()}
    if idle := [name for name in alerting.receivers.chosen if name not in named]:
        yield Fault(
            f"observability.alerting.receivers.{idle[0]}",
            "no route and no default names it, so it would hear nothing",
            f"Set observability.alerting.default to {idle[0]}, add a route, or remove it",
        )


def grafana_has_a_name_that_the_gateway_serves(
    observability: Observability | None, network: Network, platform: Platform | None, cluster: Cluster
) -> Iterator[Fault]:
    host = observability.grafana.host if observability else None
    # Without certificates, and at an Ingress, every name is served.
    if host is None or network.gateway == "nginx" or not (platform and platform.cert_manager):
        return
    if "ingress" not in network.load_balancer.pools:
        return  # there is no gateway
    if host.partition(".")[2] != cluster.domain:
        yield Fault(
            "observability.grafana.host",
            f"{host} is not served by the gateway, whose certificate is for *.{cluster.domain}",
            f"Take one such as grafana.{cluster.domain}, or leave it out",
        )


RULES = (
    metrics_and_logs_have_volumes,
    buckets_for_logs_have_a_store,
    alerts_go_to_receivers_that_exist,
    alerts_are_heard,
    grafana_has_a_name_that_the_gateway_serves,
)
