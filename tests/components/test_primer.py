"""components/primer.py"""

from collections.abc import Callable

import pulumi

from components.host import HostArgs
from components.machine_command import Machine
from components.primer import Primer, PrimerArgs
from keystone.settings import Settings
from tests.recording import ROOT_SECRET, Engine

Deploy = Callable[..., Engine]


def _args(site: Settings, generation: int = 1) -> PrimerArgs:
    machine = Machine(stack="site", name="primer", root=ROOT_SECRET)
    host = HostArgs(machine=machine, host=site.hosts["primer"], protect=True, rebuild_hash="abc")
    return PrimerArgs(host=host, kubeconfig_generation=generation)


def test_the_kubeconfig_is_a_secret_that_waits_for_the_system(deploy: Deploy, site: Settings) -> None:
    secret: list[bool] = []

    def build() -> pulumi.Output[bool]:
        primer = Primer("primer", _args(site))
        return pulumi.Output.from_input(primer.kubeconfig.is_secret()).apply(
            lambda known: secret.append(known) or known
        )

    engine = deploy(build)
    assert secret == [True]
    assert "system-primer" in engine.named("kubeconfig-primer").dependencies


def test_a_raised_kubeconfig_generation_fetches_again_without_a_replacement(deploy: Deploy, site: Settings) -> None:
    before = deploy(lambda: Primer("primer", _args(site))).named("kubeconfig-primer").inputs
    after = deploy(lambda: Primer("primer", _args(site, 2))).named("kubeconfig-primer").inputs
    assert before["environment"] != after["environment"]
    assert "triggers" not in after
    assert after["update"] == after["create"]


def test_the_primer_has_at_most_eight_resources(deploy: Deploy, site: Settings) -> None:
    assert len(deploy(lambda: Primer("primer", _args(site))).resources) <= 8
