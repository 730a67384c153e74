"""The program: from the stack file to a cluster. It composes; what is worked out is worked out in `keystone/`."""

import pulumi

import providers
import versions
from clouds import Clouds
from components.cluster_base import ClusterBase, ClusterBaseArgs
from components.gitops import GitopsRepository, GitopsRepositoryArgs
from components.host import Host, HostArgs
from components.machine_command import Machine
from components.mesh_network import MeshNetwork, MeshNetworkArgs
from components.platform import Platform, PlatformArgs
from components.primer import Primer, PrimerArgs
from keystone import call_stacks, facts, outputs
from keystone.errors import KeystoneError
from keystone.settings import Secrets, Settings, load


class Program:
    def __init__(self, stack: str, settings: Settings, secrets: Secrets) -> None:
        self.stack, self.settings, self.secrets = stack, settings, secrets

    def machine(self, name: str) -> Machine:
        return Machine(stack=self.stack, name=name, root=self.secrets.root)

    def host(self, name: str, *, install_after: list[pulumi.Resource], system_after: list[pulumi.Resource]) -> HostArgs:
        return HostArgs(
            machine=self.machine(name),
            host=self.settings.hosts[name],
            protect=self.settings.protect_hosts,
            rebuild_hash=facts.rebuild_hash(self.stack, name),
            install_after=install_after,
            system_after=system_after,
        )

    def primer(self) -> Primer:
        name, _ = self.settings.primer
        generation = self.settings.cluster.kubeconfig_generation
        host = self.host(name, install_after=[], system_after=[])
        return Primer(name, PrimerArgs(host=host, kubeconfig_generation=generation))

    def systems(self, primer: Primer) -> dict[str, pulumi.Resource]:
        """The running systems by host: servers one after another, then all others, whose installs wait for nobody."""
        first, _ = self.settings.primer
        found: dict[str, pulumi.Resource] = {first: primer.system}
        before, newest = primer.ready, primer.system
        for name in (name for name in self.settings.servers if name != first):
            before = newest = Host(name, self.host(name, install_after=[before], system_after=[before])).system
            found[name] = newest
        for name in sorted(self.settings.hosts.keys() - found.keys()):
            found[name] = Host(name, self.host(name, install_after=[], system_after=[newest])).system
        return found

    def run(self) -> None:
        settings, cluster = self.settings, self.settings.cluster
        primer = self.primer()
        mesh = MeshNetwork(
            "mesh",
            MeshNetworkArgs(
                settings=settings,
                machine=self.machine(settings.primer[0]),
                systems=self.systems(primer),
            ),
        )
        kubernetes = providers.kubernetes(primer.kubeconfig, cluster.name)
        base = ClusterBase(
            "cluster",
            ClusterBaseArgs(
                settings=settings,
                machine=self.machine(settings.primer[0]),
                nodes=mesh.nodes,
                joins=mesh.joins,
            ),
            opts=pulumi.ResourceOptions(providers=[kubernetes]),
        )
        inside = pulumi.ResourceOptions(providers=[kubernetes])
        platform = Platform(
            "platform", PlatformArgs(settings=settings, secrets=self.secrets, after=base.ready), opts=inside
        )
        clouds = Clouds(settings, self.secrets, base, platform, kubernetes)
        account = clouds.account()
        if settings.gitops.repository:
            # After all that makes things for its objects; and a destroy removes them while that is there.
            after = [base.ready, *platform.releases.values(), *clouds.operators]
            GitopsRepository(
                "gitops",
                GitopsRepositoryArgs(gitops=settings.gitops, after=after, key=self.secrets.repository),
                opts=pulumi.ResourceOptions(providers=[kubernetes], aliases=[pulumi.Alias(parent=platform)]),
            )
        pulumi.export("serviceTokens", pulumi.Output.secret(clouds.service_tokens()))
        pulumi.export("pipelineRoles", account.pipelines if account else {})
        for output, value in outputs.plain(settings, self.stack).items():
            pulumi.export(output, value)
        pulumi.export("kubeconfig", primer.kubeconfig)
        pulumi.export(
            "nodes",
            {
                name: {"lan": str(host.address), "mesh": mesh.addresses[name], "role": host.role}
                for name, host in sorted(settings.hosts.items())
            },
        )
        pulumi.export("versions", {"kubernetes": versions.KUBERNETES, "headscale": versions.HEADSCALE})


try:
    stack = pulumi.get_stack()
    settings, secrets = load()
    facts.check(settings, stack)
    with call_stacks.short():
        Program(stack, settings, secrets).run()
except KeystoneError as fault:
    # A fault that a user can mend is one line, not a traceback.
    raise pulumi.RunError(str(fault)) from None
