"""What Argo CD says of applications that do not come: Pulumi waits for their status, and knows in the end only that.

https://argo-cd.readthedocs.io/en/stable/operator-manual/health/ and the type ApplicationStatus of Argo CD's API.
"""

import json
from collections.abc import Iterable
from typing import Any

from keystone.hosts.context import Context
from keystone.wire import kind_of, name_of

KIND = "kubernetes:argoproj.io/v1alpha1:Application"
LIMIT_SECONDS = 20.0
_PREFIX, _SUFFIX = "chart-", "-release"


def among(urns: Iterable[str]) -> dict[str, str]:
    """The names of the applications among resources, by URN."""
    found = (urn for urn in urns if kind_of(urn) == KIND)
    return {urn: name_of(urn).removeprefix(_PREFIX).removesuffix(_SUFFIX) for urn in found}


async def last_words(context: Context, urns: Iterable[str]) -> dict[str, str]:
    """What the applications among resources say, by URN. Raises KeystoneError when the Primer does not answer."""
    line = ("kubectl", "get", "applications", "--namespace", "argocd", "--output", "json")
    async with context.dial(context.settings.primer[0], limit=LIMIT_SECONDS) as primer:
        done = await primer.run(*line, limit=LIMIT_SECONDS)
    found = {one["metadata"]["name"]: words(one.get("status", {})) for one in json.loads(done.stdout)["items"]}
    return {urn: found[name] for urn, name in among(urns).items() if found.get(name)}


def words(status: dict[str, Any]) -> str:
    """What keeps an application from being synced and healthy: its own faults, its operation, its health."""
    # What a SyncError says, the operation says too.
    faults = (one for one in status.get("conditions") or [] if one.get("type") != "SyncError")
    parts = [one["message"] for one in faults if one.get("message")]
    operation, health = status.get("operationState") or {}, status.get("health") or {}
    if operation.get("phase") not in (None, "Succeeded"):
        parts.append(f"sync {operation['phase']}: {operation.get('message', '')}".rstrip(": "))
    if health.get("status") not in (None, "Healthy"):
        parts.append(f"health {health['status']}: {health.get('message', '')}".rstrip(": "))
    return "; ".join(dict.fromkeys(" ".join(part.split()) for part in parts))
