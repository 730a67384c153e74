"""Section `observability`: metrics, logs, alerts and dashboards. Left out: none of them runs."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StrictInt, StrictStr

from keystone.settings.model import Bool, Domain, Label, Model, Wrong
from keystone.settings.platform import Mail
from keystone.settings.storage import Gib, StorageClass

Days = Annotated[StrictInt, Field(ge=1, le=3650)]
Severity = Literal["critical", "warning", "info"]
ReceiverName = Literal["slack", "pagerduty", "email", "webhook"]
Name = Annotated[StrictStr, Field(min_length=1, max_length=60)]


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.hostname or parts.username:
        raise Wrong(f"{value!r} is not an https URL", "Write it like https://example.org/path")
    return value.rstrip("/")


def _channel(value: str) -> str:
    if not re.fullmatch(r"[#@][^\s#@]{1,79}", value):
        raise Wrong(f"{value!r} is not a channel", "Write it in quotes, like '#alerts' or '@somebody'")
    return value


def _server(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise Wrong(f"{value!r} is not a mail server with its port", "Write it like smtp.example.org:587")
    return value


Url = Annotated[StrictStr, AfterValidator(_url)]
Channel = Annotated[StrictStr, AfterValidator(_channel)]
MailServer = Annotated[StrictStr, AfterValidator(_server)]


class Metrics(Model):
    """Prometheus."""

    retention_days: Days = Field(default=15, description="days after which samples go")
    volume_gib: Gib = Field(
        default=50, description="volume of each Prometheus, in GiB; the oldest go before it is full"
    )
    scrape_seconds: Annotated[StrictInt, Field(ge=10, le=300)] = Field(
        default=30, description="seconds between two readings of a target"
    )
    replicas: Annotated[StrictInt, Field(ge=1, le=3)] = Field(
        default=1, description="Prometheus pods; each keeps all metrics for itself"
    )


class Logs(Model):
    """Loki, and Alloy that reads pods and journals."""

    retention_days: Days = Field(default=30, description="days after which lines go")
    store: Literal["volume", "bucket"] = Field(
        default="volume", description="where old lines lie: on Loki's volume, or in a bucket of Ceph"
    )
    volume_gib: Gib = Field(default=20, description="volume of Loki, in GiB")
    bucket_gib: Gib = Field(default=200, description="most that the bucket may hold, in GiB")


class Slack(Model):
    """A Slack channel; the webhook's URL is keystone:alertSlackUrl."""

    channel: Channel = Field(description="the channel, such as '#alerts'")


class Pagerduty(Model):
    """PagerDuty; the integration key is keystone:alertPagerdutyKey."""


class Email(Model):
    """Mail by an SMTP server with TLS; its password is keystone:alertSmtpPassword."""

    to: tuple[Mail, ...] = Field(min_length=1, description="who gets the mail")
    sender: Mail = Field(description="address that it comes from")
    server: MailServer = Field(description="SMTP server and port, such as smtp.example.org:587")
    user: Name = Field(description="who logs in at the server")


class Webhook(Model):
    """Any other service; its URL is keystone:alertWebhookUrl."""


class Heartbeat(Model):
    """A service that warns when it hears nothing; its URL is keystone:alertHeartbeatUrl. It gets the Watchdog alert."""


class Receivers(Model):
    """Who can be told of an alert. What each needs in secret is a top-level key of its own."""

    slack: Slack | None = Field(default=None, description="a Slack channel")
    pagerduty: Pagerduty | None = Field(default=None, description="PagerDuty")
    email: Email | None = Field(default=None, description="mail")
    webhook: Webhook | None = Field(default=None, description="any service with a URL")
    heartbeat: Heartbeat | None = Field(default=None, description="a service that watches the watcher")

    @property
    def chosen(self) -> tuple[ReceiverName, ...]:
        """The receivers that routes may name."""
        names: tuple[ReceiverName, ...] = ("slack", "pagerduty", "email", "webhook")
        return tuple(name for name in names if getattr(self, name) is not None)


class AlertRoute(Model):
    """Which alerts go where. An alert takes the first route that fits."""

    receiver: ReceiverName = Field(description="who is told")
    severities: tuple[Severity, ...] = Field(default=(), description="only these; none: all")
    namespaces: tuple[Label, ...] = Field(default=(), description="only alerts about these namespaces; none: all")
    pass_on: Bool = Field(default=False, description="whether the alert looks at the routes after this one too")


class Alerting(Model):
    """Alertmanager."""

    receivers: Receivers = Field(default=Receivers(), description="who can be told")
    default: ReceiverName | None = Field(
        default=None, description="who is told of alerts that no route fits; left out: nobody"
    )
    routes: tuple[AlertRoute, ...] = Field(default=(), description="which alerts go where, the first that fits wins")
    repeat_hours: Annotated[StrictInt, Field(ge=1, le=168)] = Field(
        default=12, description="hours after which an alert that goes on is told again"
    )
    volume_gib: Gib = Field(default=2, description="volume of each Alertmanager, in GiB: silences and what was told")
    runbooks: Url | None = Field(
        default=None, description="URL of the folder docs/runbooks; left out: alerts name the file in this project"
    )


class Sso(Model):
    """Login at Grafana by OpenID Connect; the client's secret is keystone:grafanaSsoSecret."""

    name: Name = Field(description="what the login page shows")
    client_id: Annotated[StrictStr, Field(min_length=1)] = Field(description="id of the client made for Grafana")
    auth_url: Url = Field(description="authorization_endpoint of the provider")
    token_url: Url = Field(description="token_endpoint of the provider")
    api_url: Url = Field(description="userinfo_endpoint of the provider")
    scopes: tuple[Name, ...] = Field(
        default=("openid", "email", "profile", "groups"), description="what is asked of the provider"
    )
    admin_groups: tuple[Name, ...] = Field(default=(), description="groups whose people administrate Grafana")
    editor_groups: tuple[Name, ...] = Field(default=(), description="groups whose people edit; all others read")


class Grafana(Model):
    """Grafana, behind the gateway. The first administrator's password is derived from the root secret."""

    host: Domain | None = Field(default=None, description="its DNS name; left out: grafana.DOMAIN of the cluster")
    sso: Sso | None = Field(default=None, description="login by OpenID Connect; left out: the administrator alone")


class Observability(Model):
    """Prometheus, Alertmanager, Grafana, Loki and Alloy."""

    storage_class: StorageClass | None = Field(
        default=None, description="class of the volumes; left out: the default one"
    )
    metrics: Metrics = Field(default=Metrics(), description="Prometheus")
    logs: Logs = Field(default=Logs(), description="Loki and Alloy")
    alerting: Alerting = Field(default=Alerting(), description="Alertmanager")
    grafana: Grafana = Field(default=Grafana(), description="Grafana")

    def named_receivers(self) -> Iterator[tuple[str, ReceiverName]]:
        """(place, receiver) of every receiver that default and routes name."""
        if self.alerting.default:
            yield "observability.alerting.default", self.alerting.default
        for index, route in enumerate(self.alerting.routes):
            yield f"observability.alerting.routes[{index}].receiver", route.receiver
