"""keystone/hosts/gitops.py against a scripted Primer."""

from dataclasses import replace

import pytest

from keystone.errors import KeystoneError
from keystone.hosts import gitops
from keystone.settings import Gitops
from tests.hosts.machines import Script, context, installed, play

FLUX = "kubectl get fluxinstance/flux --namespace flux-system"


def test_flux_is_there_when_its_operator_says_so() -> None:
    given = context()
    primer = installed(given, "primer", {FLUX: "True Reconciliation finished in 52s"})
    play(lambda: gitops.gitops(given), primer)
    assert primer.called(FLUX)


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        ((1, 'error: the server doesn\'t have a resource type "fluxinstance"'), "have a resource type"),
        ("False install failed: context deadline exceeded", "False install failed: context deadline exceeded"),
        ("", "says nothing yet"),
    ],
)
def test_an_engine_that_does_not_come_is_given_up_on_with_what_it_said(
    answer: str | tuple[int, str], seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gitops, "READY_SECONDS", 1.0)
    given = context()
    script: Script = {FLUX: answer}
    with pytest.raises(KeystoneError, match=rf"waited 1 s for fluxinstance/flux to be Ready; last seen: .*{seen}"):
        play(lambda: gitops.gitops(given), installed(given, "primer", script))


def test_argo_cd_is_there_when_its_kinds_are() -> None:
    flux = context()
    given = replace(flux, settings=flux.settings.model_copy(update={"gitops": Gitops(engine="argocd")}))
    answer = "kubectl get customresourcedefinition/applications.argoproj.io"
    primer = installed(given, "primer", {answer: "True the initial names have been accepted"})
    play(lambda: gitops.gitops(given), primer)
    assert primer.called(answer)
