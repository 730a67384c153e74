"""Waits for the GitOps engine that the host layer brings: before it is there, the cluster takes no release."""

from keystone.errors import KeystoneError
from keystone.hosts import ssh
from keystone.hosts.context import Context, progress

READY_SECONDS = 600.0
"""Images of the network plugin and of the engine have to be fetched first."""
# Flux is there when its operator says so; Argo CD when it has brought its kinds, each release tells the rest itself.
_READY = {
    "flux": ("fluxinstance/flux", "Ready", ("--namespace", "flux-system")),
    "argocd": ("customresourcedefinition/applications.argoproj.io", "Established", ()),
}


async def gitops(context: Context) -> None:
    """Waits until the engine of the settings is ready. Raises KeystoneError with what it said last."""
    primer, _ = context.settings.primer
    thing, condition, where = _READY[context.settings.gitops.engine]
    path = f'jsonpath={{range .status.conditions[?(@.type=="{condition}")]}}{{.status}} {{.message}}{{end}}'

    async with context.dial(primer) as machine:

        async def ready() -> bool | None:
            said = (await machine.run("kubectl", "get", thing, *where, "--output", path)).stdout.strip()
            if said.startswith("True"):
                return True
            raise KeystoneError(thing, said or "says nothing yet")

        progress(primer, f"waiting for {thing}")
        await ssh.until(f"{thing} to be {condition}", ready, place=str(machine.target), limit=READY_SECONDS)
