"""One machine: installed once (`install-NAME`), switched as often as its system changes (`system-NAME`)."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.machine_command import Line, Machine, machine_command
from keystone.settings import Host as HostSettings

# More than the sum of the command's own limits, which say what they waited for.
INSTALL_LIMIT = "150m"
SYSTEM_LIMIT = "120m"


@dataclass(frozen=True, kw_only=True)
class HostArgs:
    """`install_after` and `system_after` order hosts among each other."""

    machine: Machine
    host: HostSettings
    protect: bool
    rebuild_hash: str
    install_after: Sequence[pulumi.Resource] = ()
    system_after: Sequence[pulumi.Resource] = ()


class Host(pulumi.ComponentResource):
    system: pulumi.Resource
    """Stands for the running system: what needs it depends on it."""

    def __init__(self, name: str, args: HostArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        # The component's inputs are what policies judge a host by.
        disk = {"layout": args.host.layout, "encryption": "luks2", "unlock": args.host.unlock}
        judged = {"disk": disk, "address": str(args.host.address), "protect": args.protect}
        super().__init__("keystone:components:Host", name, judged, opts)
        generation = args.host.install_generation
        install = machine_command(
            f"install-{name}",
            args.machine,
            Line(
                create=f"install {name}",
                update=f"install {name} --verify-only",
                # The only way to a reinstall. No hash and no address: a typo must not cost a disk.
                triggers=[generation],
            ),
            pulumi.ResourceOptions(
                parent=self,
                protect=args.protect,
                depends_on=args.install_after,  # a server joins etcd at its first boot, one after another
                custom_timeouts=pulumi.CustomTimeouts(create=INSTALL_LIMIT, update=INSTALL_LIMIT),
                additional_secret_outputs=["stdout", "stderr"],
            ),
        )
        self.system = machine_command(
            f"system-{name}",
            args.machine,
            Line(create=f"system {name}", environment={"KEYSTONE_REBUILD_HASH": args.rebuild_hash}),
            pulumi.ResourceOptions(
                parent=self,
                depends_on=[install, *args.system_after],  # a kubelet must not be newer than its API server
                custom_timeouts=pulumi.CustomTimeouts(create=SYSTEM_LIMIT, update=SYSTEM_LIMIT),
                additional_secret_outputs=["stdout", "stderr"],
            ),
        )
        self.register_outputs({})
