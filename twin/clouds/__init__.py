"""The clouds of a site: doubles that serve where the stack file's addresses point to this computer."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from twin.supervisor import Spec

if TYPE_CHECKING:
    from keystone.settings import Settings
    from twin.site import Site

CLOUDFLARE = "cloudflare"
NAMES = (CLOUDFLARE,)
ROOT = Path(__file__).resolve().parents[2]
HTTP_PORT = 80
READY_SECONDS = 20.0


def endpoints(settings: Settings) -> Iterator[tuple[str, str, int]]:
    """Name, address and port of every double that a stack wants; a cloud elsewhere is not ours."""
    if settings.tunnel:
        parts = urlsplit(settings.tunnel.api_url)
        if parts.hostname and _is_loopback(parts.hostname):
            yield CLOUDFLARE, parts.hostname, parts.port or HTTP_PORT


def specs(site: Site) -> Iterator[Spec]:
    """How to run the doubles of a site."""
    for name, address, port in endpoints(site.settings):
        tunnel = site.settings.tunnel
        assert name == CLOUDFLARE
        assert tunnel
        yield Spec(
            name=name,
            argv=[
                *(sys.executable, "-m", "twin.clouds.cloudflare"),
                *("--listen", f"{address}:{port}"),
                *("--state", str(state_of(site, name))),
                *("--zone", f"{tunnel.zone_id}:{tunnel.zone}:{tunnel.account_id}"),
            ],
            environment={"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            ready=_ready(f"http://{address}:{port}/_twin/health"),
            ready_limit=READY_SECONDS,
        )


def state_of(site: Site, name: str) -> Path:
    """Where a double keeps its objects."""
    return site.root / "clouds" / f"{name}.json"


def _ready(url: str):
    async def ready() -> bool:
        async with httpx.AsyncClient(trust_env=False) as http:
            return (await http.get(url, timeout=2)).status_code == 200

    return ready


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
