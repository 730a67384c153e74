"""The Primer: the first server, whose API gives the administrator's kubeconfig."""

from dataclasses import dataclass

import pulumi

from components.host import Host, HostArgs
from components.machine_command import Line, machine_command

READY_LIMIT = "15m"


@dataclass(frozen=True, kw_only=True)
class PrimerArgs:
    host: HostArgs
    kubeconfig_generation: int


class Primer(pulumi.ComponentResource):
    kubeconfig: pulumi.Output[str]
    """Secret. Known once the API is ready."""
    system: pulumi.Resource
    ready: pulumi.Resource
    """Stands for the ready API."""

    def __init__(self, name: str, args: PrimerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:Primer", name, None, opts)
        host = Host(name, args.host, opts=pulumi.ResourceOptions(parent=self))
        generations = f"{args.host.host.install_generation}.{args.kubeconfig_generation}"
        kubeconfig = machine_command(
            f"kubeconfig-{name}",
            args.host.machine,
            # A raised generation updates: the same file again keeps the provider and all below it as they are.
            Line(create=f"kubeconfig {name}", environment={"KEYSTONE_GENERATIONS": generations}),
            pulumi.ResourceOptions(
                parent=self,
                depends_on=[host.system],  # k3s comes with the system
                custom_timeouts=pulumi.CustomTimeouts(create=READY_LIMIT, update=READY_LIMIT),
                additional_secret_outputs=["stdout", "stderr"],
            ),
        )
        self.system = host.system
        self.ready = kubeconfig
        self.kubeconfig = pulumi.Output.secret(kubeconfig.stdout)
        self.register_outputs({"kubeconfig": self.kubeconfig})
