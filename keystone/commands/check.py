"""`keystone check network | ownership | secrets`: the checks of `keystone up`, alone and over any files."""

from pathlib import Path
from typing import Annotated

import typer

from keystone.commands.options import Stack

check = typer.Typer(
    no_args_is_help=True, help="Look for known faults in settings, manifests and state. Changes nothing."
)


@check.command()
def network(
    stack: Stack = "dev",
    sources: Annotated[
        list[Path] | None, typer.Argument(help="Folders or files with manifests, k3s' configuration, mesh policies.")
    ] = None,
) -> None:
    """Combinations of network settings that do not work: ranges, packet sizes, etcd, routes, ports, the relay."""
    from keystone.checks import network as checks
    from keystone.checks.around import of_network
    from keystone.checks.findings import require
    from keystone.errors import KeystoneError

    for source in sources or ():
        if not source.exists():
            raise KeystoneError(str(source), "there is no such file or folder", "Correct the path")
    require("network", checks.check(stack, Path.cwd(), sources) if sources else of_network(stack, Path.cwd()))
    typer.echo(f"check network: nothing found, {len(checks.RULES)} rules")


@check.command()
def ownership(
    stack: Stack = "dev",
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            help="Folders or files: repositories, manifests, an exported state, JSON of a preview or a Terraform plan; "
            "gitops:, k3s:, helm:, flux:, argocd: or manifests: before a path says what it is."
        ),
    ] = None,
    together: Annotated[bool, typer.Option(help="With sources: the stack's own state and host layer too.")] = False,
    cluster: Annotated[str, typer.Option(help="Which folder of clusters/ in a repository is for this cluster.")] = "",
) -> None:
    """Objects with two owners: Pulumi, Terraform, Flux, Argo CD, Helm, k3s' manifests folder."""
    from keystone.checks.around import of_ownership, sources_of
    from keystone.checks.findings import require
    from keystone.checks.ownership import Inventory, hostlayer
    from keystone.engine import state
    from keystone.settings import read

    project = Path.cwd()
    if not sources:
        held = state.load(stack, project, create=False)
        require("ownership", of_ownership(stack, project, held.resources))
        typer.echo("check ownership: nothing found")
        return
    inventory = Inventory(project, cluster)
    if together:
        inventory.claims += hostlayer.claims(read(stack, project))
        inventory.add_pulumi([*state.load(stack, project, create=False).resources], "state")
    for source in sources_of(sources):
        inventory.add(source)
    require("ownership", inventory.findings())
    objects = len({claim.key for claim in inventory.claims})
    typer.echo(f"check ownership: nothing found, {objects} objects")


@check.command()
def secrets(
    stack: Stack = "dev",
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Further files or folders: event logs, plug-ins' logs, .drv files.")
    ] = None,
    state: Annotated[Path | None, typer.Option(help="A file of `pulumi stack export` instead of the backend.")] = None,
) -> None:
    """The stack's own secrets in any encoding, and credentials by their format, where they must not stand."""
    from keystone.checks.around import of_secrets
    from keystone.checks.findings import require

    found, short, count = of_secrets(stack, Path.cwd(), paths, state=state)
    for name in short:
        typer.echo(f"warning: {name} is too short to be searched for", err=True)
    require("secrets", found)
    typer.echo(f"check secrets: nothing found in {count} places")
