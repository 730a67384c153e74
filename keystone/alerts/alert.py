"""What an alert is, as a value."""

from collections.abc import Callable
from dataclasses import dataclass

from keystone.settings import Settings
from keystone.settings.observability import Severity


def always(settings: Settings) -> bool:
    """For alerts that every cluster has."""
    return settings.observability is not None


def zfs(settings: Settings) -> bool:
    """For alerts about pools of ZFS."""
    return always(settings) and any(host.layout == "zfs-luks" for host in settings.hosts.values())


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alert: `minutes` is how long its expression must hold; `summary` may name labels as Prometheus' templates do.

    `critical` wakes somebody, `warning` is for the next working day, `info` is for who looks. `needs` tells whether
    the settings choose what it is about.
    """

    name: str
    expr: str
    minutes: int
    severity: Severity
    summary: str
    needs: Callable[[Settings], bool] = always
