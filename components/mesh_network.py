"""The mesh: its policy, then every host's joining. Mesh keys are no resources and in no state."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pulumi

from components.machine_command import Line, Machine, machine_command
from keystone import mesh_policy
from keystone.settings import Settings

JOIN_LIMIT = "20m"
# More than the sum of the removal's own limits: data leaves its OSDs, then its pods go.
LEAVE_LIMIT = "40m"


@dataclass(frozen=True, kw_only=True)
class MeshNetworkArgs:
    """`systems` are the hosts' running systems by name; `machine` is the Primer, whose controller holds the policy."""

    settings: Settings
    machine: Machine
    systems: Mapping[str, pulumi.Resource]


class MeshNetwork(pulumi.ComponentResource):
    nodes: Mapping[str, pulumi.Output[str]]
    """Kubernetes node of each host that is one; known once it is registered."""
    addresses: Mapping[str, pulumi.Output[str]]
    """Mesh address of each host."""
    joins: Mapping[str, pulumi.Resource]

    def __init__(self, name: str, args: MeshNetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        # The component's inputs are what policies judge the mesh by.
        super().__init__("keystone:components:MeshNetwork", name, {"serverUrl": args.settings.mesh.server_url}, opts)
        primer, controller = args.settings.primer
        policy = machine_command(
            f"policy-{name}",
            args.machine,
            Line(
                create=f"policy {primer}",
                # Runs after every host has left: the end of the Primer's own services.
                delete=f"stop {_address(args.settings, primer)}",
                environment={
                    "KEYSTONE_POLICY_HASH": _hash(args.settings),
                    "KEYSTONE_MESH_USERS": " ".join(args.settings.mesh.users),
                },
            ),
            pulumi.ResourceOptions(
                parent=self,
                depends_on=[args.systems[primer]],  # the controller comes with the Primer's system
                additional_secret_outputs=["stdout", "stderr"],
                delete_before_replace=True,  # the other way round the delete would stop what the create has started
            ),
        )
        self.joins, self.nodes, self.addresses = {}, {}, {}
        for host in sorted(args.settings.hosts):
            join = machine_command(
                f"join-{host}",
                replace(args.machine, name=host),
                Line(
                    create=f"join {host}",
                    delete=f"remove {_address(args.settings, host)}",
                    environment={
                        "KEYSTONE_MESH_SSH": _ssh(args.settings, host),
                        # A Primer that is installed anew may have lost the mesh's database: every host looks again.
                        "KEYSTONE_PRIMER_GENERATION": str(controller.install_generation),
                    },
                ),
                pulumi.ResourceOptions(
                    parent=self,
                    depends_on=[args.systems[host], policy],  # the first join finds the routes' approval in force
                    custom_timeouts=pulumi.CustomTimeouts(create=JOIN_LIMIT, update=JOIN_LIMIT, delete=LEAVE_LIMIT),
                    additional_secret_outputs=["stdout", "stderr"],
                    delete_before_replace=True,  # the host leaves the mesh and joins again, it does not stay out
                ),
            )
            # Only secret because the command's standard input is: names and addresses are none.
            said = pulumi.Output.unsecret(join.stdout).apply(json.loads)
            self.joins[host] = join
            self.addresses[host] = said["mesh"]
            if host in args.settings.nodes:
                self.nodes[host] = said["node"]
        self.register_outputs({"addresses": self.addresses})


def _hash(settings: Settings) -> str:
    """Changes when the policy does, so that the command runs again."""
    return hashlib.sha256(mesh_policy.deployed(settings)).hexdigest()


def _ssh(settings: Settings, host: str) -> str:
    """Changes when a host's SSH server in the mesh is to be switched on or off."""
    return "on" if mesh_policy.admits_ssh(settings, settings.tag_of(host)) else "off"


def _address(settings: Settings, name: str) -> str:
    """What a deletion must know of a host that the stack file may not hold any more."""
    host = settings.hosts[name]
    return (
        f"{name} --role {host.role} --address {host.address} --port {host.ssh.port} --user {host.ssh.user}"
        f" --generation {host.install_generation}"
    )
