"""Alertmanager's configuration: who is told of what. Secrets are files that it names; none stands in it.

https://prometheus.io/docs/alerting/latest/configuration/
"""

from collections.abc import Iterator
from typing import Any

from keystone.settings import Alerting, AlertRoute

RECEIVERS_SECRET = "alert-receivers"
"""The Secret with one key per receiver. The operator mounts it below FOLDER."""
FOLDER = f"/etc/alertmanager/secrets/{RECEIVERS_SECRET}"
NOBODY = "nobody"


def config(alerting: Alerting) -> dict[str, Any]:
    """The whole configuration, as the chart's value alertmanager.config."""
    return {
        "global": {"resolve_timeout": "5m"},
        "route": {
            "receiver": alerting.default or NOBODY,
            "group_by": ["alertname", "severity", "namespace"],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": f"{alerting.repeat_hours}h",
            "routes": [*_own_routes(alerting), *(_route(route) for route in alerting.routes)],
        },
        "inhibit_rules": list(_inhibitions()),
        "receivers": [{"name": NOBODY}, *_receivers(alerting)],
        "templates": ["/etc/alertmanager/config/*.tmpl"],
    }


def _own_routes(alerting: Alerting) -> Iterator[dict[str, Any]]:
    """Two alerts are signals and no faults: one always fires, one only silences others."""
    beats = alerting.receivers.heartbeat is not None
    yield {
        "receiver": "heartbeat" if beats else NOBODY,
        "matchers": ['alertname = "Watchdog"'],
        # The service at the other end warns when this one stops.
        **({"group_wait": "0s", "group_interval": "1m", "repeat_interval": "1m"} if beats else {}),
    }
    yield {"receiver": NOBODY, "matchers": ['alertname = "InfoInhibitor"']}


def _route(route: AlertRoute) -> dict[str, Any]:
    matchers = [
        f'{label} =~ "{"|".join(values)}"'
        for label, values in (("severity", route.severities), ("namespace", route.namespaces))
        if values
    ]
    return {
        "receiver": route.receiver,
        **({"matchers": matchers} if matchers else {}),
        **({"continue": True} if route.pass_on else {}),
    }


def _inhibitions() -> Iterator[dict[str, Any]]:
    """A graver alert about the same thing says it all."""
    for graver, others in (("critical", "warning|info"), ("warning", "info")):
        yield {
            "source_matchers": [f'severity = "{graver}"'],
            "target_matchers": [f'severity =~ "{others}"'],
            "equal": ["namespace", "alertname"],
        }
    # A host that is gone takes its own warnings with it.
    yield {
        "source_matchers": ['alertname = "HostNotReady"'],
        "target_matchers": ['alertname =~ "Host.+|Mesh.+"', 'alertname != "HostNotReady"'],
        "equal": ["node"],
    }
    yield {
        "source_matchers": ['alertname = "InfoInhibitor"'],
        "target_matchers": ['severity = "info"'],
        "equal": ["namespace"],
    }


def _receivers(alerting: Alerting) -> Iterator[dict[str, Any]]:
    chosen = alerting.receivers
    if chosen.slack:
        slack = {
            "api_url_file": f"{FOLDER}/slack",
            "channel": chosen.slack.channel,
            "send_resolved": True,
            "title": "{{ .Status | toUpper }} {{ .GroupLabels.alertname }} ({{ .CommonLabels.severity }})",
            "text": "{{ range .Alerts }}{{ .Annotations.summary }}\n{{ .Annotations.runbook_url }}\n{{ end }}",
        }
        yield {"name": "slack", "slack_configs": [slack]}
    if chosen.pagerduty:
        pagerduty = {"routing_key_file": f"{FOLDER}/pagerduty", "send_resolved": True}
        yield {"name": "pagerduty", "pagerduty_configs": [pagerduty]}
    if chosen.email:
        email = {
            "to": ", ".join(chosen.email.to),
            "from": chosen.email.sender,
            "smarthost": chosen.email.server,
            "auth_username": chosen.email.user,
            "auth_password_file": f"{FOLDER}/email",
            "require_tls": True,
            "send_resolved": True,
        }
        yield {"name": "email", "email_configs": [email]}
    if chosen.webhook:
        yield {"name": "webhook", "webhook_configs": [{"url_file": f"{FOLDER}/webhook", "send_resolved": True}]}
    if chosen.heartbeat:
        beat = {"url_file": f"{FOLDER}/heartbeat", "send_resolved": False}
        yield {"name": "heartbeat", "webhook_configs": [beat]}
