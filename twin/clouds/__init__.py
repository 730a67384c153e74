"""The clouds of a site: doubles that serve where the stack file's addresses point to this computer."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from twin.supervisor import Spec

if TYPE_CHECKING:
    from keystone.settings import Settings
    from twin.site import Site

AWS = "aws"
CLOUDFLARE = "cloudflare"
NAMES = (AWS, CLOUDFLARE)
ROOT = Path(__file__).resolve().parents[2]
HTTP_PORT = 80
HTTPS_PORT = 443
READY_SECONDS = 20.0
AWS_READY_SECONDS = 90.0
"""moto imports the services of a saved state before it serves."""


def endpoints(settings: Settings) -> Iterator[tuple[str, str, int]]:
    """Name, address and port of every double that a stack wants; a cloud elsewhere is not ours."""
    if settings.tunnel:
        parts = urlsplit(settings.tunnel.api_url)
        if parts.hostname and _is_loopback(parts.hostname):
            yield CLOUDFLARE, parts.hostname, parts.port or HTTP_PORT
    for address, port in aws_places(settings):
        yield AWS, address, port


def aws_places(settings: Settings) -> list[tuple[str, int]]:
    """The addresses and ports of AWS's endpoints in the stack file, each once; empty for the real AWS."""
    return places(settings.aws.endpoints.values() if settings.aws else ())


def places(urls: Iterable[str]) -> list[tuple[str, int]]:
    """The addresses and ports on this computer among some URLs, each once."""
    found = []
    for url in urls:
        parts = urlsplit(url)
        if parts.hostname and _is_loopback(parts.hostname):
            found.append((parts.hostname, parts.port or (HTTPS_PORT if parts.scheme == "https" else HTTP_PORT)))
    return list(dict.fromkeys(found))


def specs(site: Site) -> Iterator[Spec]:
    """How to run the doubles of a site."""
    for name, address, port in endpoints(site.settings):
        if name == CLOUDFLARE:
            tunnel = site.settings.tunnel
            assert tunnel
            zone = f"{tunnel.zone_id}:{tunnel.zone}:{tunnel.account_id}"
            arguments = ["--listen", f"{address}:{port}", "--zone", zone]
            yield _spec(site, name, address, port, arguments, READY_SECONDS)
    if (places := aws_places(site.settings)) and site.settings.aws:
        listen = [word for address, port in places for word in ("--listen", f"{address}:{port}")]
        arguments = [*listen, "--account", site.settings.aws.account_id]
        yield _spec(site, AWS, *places[0], arguments, AWS_READY_SECONDS)


def _spec(site: Site, name: str, address: str, port: int, arguments: list[str], limit: float) -> Spec:
    return Spec(
        name=name,
        argv=[sys.executable, "-m", f"twin.clouds.{name}", *arguments, "--state", str(state_of(site, name))],
        environment={"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        ready=_ready(f"http://{address}:{port}/_twin/health"),
        ready_limit=limit,
        # The last changes are written down at the end.
        stop_limit=20.0,
    )


def state_of(site: Site, name: str) -> Path:
    """Where a double keeps its objects."""
    return site.root / "clouds" / (f"{name}.state" if name == AWS else f"{name}.json")


def _ready(url: str):
    import httpx  # slow to import, and wanted by the daemon alone

    async def ready() -> bool:
        async with httpx.AsyncClient(trust_env=False) as http:
            return (await http.get(url, timeout=2)).status_code == 200

    return ready


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
