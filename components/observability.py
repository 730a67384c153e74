"""Metrics, alerts, dashboards and logs: the charts, what reads the hosts, and Keystone's own rules and pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import pulumi
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components.chart_release import install
from components.logs import Logs, LogsArgs
from components.thing import thing
from keystone import dashboards
from keystone.charts import Release, monitoring
from keystone.charts.alertmanager import RECEIVERS_SECRET
from keystone.charts.observability import (
    ADMIN_SECRET,
    NAMESPACE,
    SSO_SECRET,
    STACK,
    grafana_host,
    replica_services,
)
from keystone.identities import Identities
from keystone.settings import Observability as Choice
from keystone.settings import Secrets, Settings

AGENT = "alloy-hosts"


@dataclass(frozen=True, kw_only=True)
class ObservabilityArgs:
    """`after` are the releases of network and storage, by name: the volumes, and the gateway that Grafana is behind."""

    settings: Settings
    observability: Choice
    secrets: Secrets
    releases: Mapping[str, Release]
    namespaces: Mapping[str, pulumi.Input[str]]
    after: Mapping[str, pulumi.Resource]


class Observability(pulumi.ComponentResource):
    releases: dict[str, pulumi.Resource]
    """What stands for each installed chart, by the release's name. Prometheus' kinds come with the first."""
    url: pulumi.Output[str]
    """Where Grafana is. Its administrator is `admin`; the password is derived from the root secret."""

    def __init__(self, name: str, args: ObservabilityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:Observability", name, None, opts)
        namespace = args.namespaces[NAMESPACE]
        secrets = self._secrets(name, args, namespace)
        # By its data, not by order: the pods find their secrets when the chart comes.
        ready = pulumi.Output.all(namespace, *(secret.id for secret in secrets)).apply(lambda found: found[0])
        found = install(
            [args.releases[STACK], args.releases[AGENT]],
            args.settings.gitops,
            {**args.namespaces, NAMESPACE: ready},
            parent=self,
            after=args.after,
        )
        self.releases = {key: found[key] for key in (STACK, AGENT)}
        self._objects(name, args, namespace)
        self.releases |= Logs(
            "logs",
            LogsArgs(
                settings=args.settings,
                observability=args.observability,
                root=args.secrets.root,
                releases=args.releases,
                namespaces=args.namespaces,
                after={**args.after, **self.releases},
            ),
            opts=pulumi.ResourceOptions(parent=self),
        ).releases
        self.url = pulumi.Output.from_input(f"https://{grafana_host(args.settings, args.observability)}")
        self.register_outputs({"url": self.url})

    def _secrets(self, name: str, args: ObservabilityArgs, namespace: pulumi.Input[str]) -> list[core.Secret]:
        cluster, alerting = args.settings.cluster.name, args.observability.alerting
        password = pulumi.Output.secret(args.secrets.root).apply(
            lambda root: Identities(root, cluster).grafana_password()
        )
        wanted: dict[str, Mapping[str, pulumi.Input[str]]] = {
            ADMIN_SECRET: {"admin-user": "admin", "admin-password": password}
        }
        if args.observability.grafana.sso and args.secrets.grafana_sso is not None:
            wanted[SSO_SECRET] = {"GF_AUTH_GENERIC_OAUTH_CLIENT_SECRET": args.secrets.grafana_sso}
        if any(vars(alerting.receivers).values()):
            wanted[RECEIVERS_SECRET] = dict(args.secrets.receivers)
        return [
            core.Secret(
                f"{name}-{key}",
                metadata=meta.ObjectMetaArgs(name=key, namespace=namespace),
                string_data={entry: pulumi.Output.secret(value) for entry, value in values.items()},
                opts=pulumi.ResourceOptions(parent=self),
            )
            for key, values in wanted.items()
        ]

    def _objects(self, name: str, args: ObservabilityArgs, namespace: pulumi.Input[str]) -> None:
        settings, observability = args.settings, args.observability
        stack = self.releases[STACK]
        core.ConfigMap(
            f"{name}-dashboards",
            metadata=meta.ObjectMetaArgs(
                name="keystone-dashboards", namespace=namespace, labels={"grafana_dashboard": "1"}
            ),
            data=dict(dashboards.dashboards(settings)),
            opts=pulumi.ResourceOptions(parent=self),
        )
        for service, spec in replica_services(settings, observability).items():
            core.Service(
                f"{name}-{service}",
                metadata=meta.ObjectMetaArgs(name=service, namespace=namespace),
                spec=cast(Any, spec),
                opts=pulumi.ResourceOptions(parent=self),
            )
        found = [monitoring.rules(settings, observability), *monitoring.monitors(settings, args.releases)]
        for it in found:
            prefix = "rules" if it.kind == "PrometheusRule" else "monitor"
            thing(f"{name}-{prefix}-{it.name}", it, parent=self, after=[stack], namespace=namespace)
        if route := monitoring.route(settings, observability):
            # The kinds of routes may come with the gateway's chart, and the route without its gateway would wait.
            thing(f"{name}-route", route, parent=self, after=[stack, *args.after.values()], namespace=namespace)
