"""keystone/hosts/osds.py and its place in a removal, against a scripted Primer."""

import json
from typing import Any

import pytest

from keystone.errors import KeystoneError
from keystone.hosts import osds, remove
from tests.hosts.machines import Fake, Script, context, installed, play
from tests.hosts.test_remove import CONTROLLER, gone

CEPH = "kubectl exec --namespace rook-ceph deploy/rook-ceph-tools -- ceph osd"
GET = "kubectl get deployments --namespace rook-ceph --selector app=rook-ceph-osd,topology-location-host=old"


def deployments(*numbers: int) -> str:
    items: list[Any] = [{"metadata": {"labels": {"ceph-osd-id": str(number)}}} for number in numbers]
    return json.dumps({"items": items})


def taken(script: Script) -> Fake:
    given = context()
    controller = installed(given, "primer", CONTROLLER | {GET: deployments(10, 9)} | script)
    play(lambda: remove.remove(given, gone()), controller)
    return controller


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(osds, "PAUSE_SECONDS", 0.05)


def test_osds_leave_ceph_before_the_host_is_drained() -> None:
    calls = taken({}).calls
    first = next(at for at, call in enumerate(calls) if call.startswith(CEPH))
    last = calls.index(f"{CEPH} crush rm old")
    assert calls[first : last + 1] == [
        f"{CEPH} out 9 10",
        f"{CEPH} safe-to-destroy 9 10",
        *(
            line
            for number in (9, 10)
            for line in (
                f"kubectl scale deployment rook-ceph-osd-{number} --namespace rook-ceph --replicas=0",
                f"{CEPH} down {number}",
                f"{CEPH} purge {number} --yes-i-really-mean-it",
                f"kubectl delete deployment rook-ceph-osd-{number} --namespace rook-ceph --ignore-not-found",
            )
        ),
        f"{CEPH} crush rm old",
    ]
    assert last < next(at for at, call in enumerate(calls) if call.startswith("kubectl drain"))


def test_a_host_whose_data_does_not_move_stays_whole_and_the_message_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(osds, "MOVE_SECONDS", 0.2)
    given = context()
    busy: Script = {f"{CEPH} safe-to-destroy": (16, "Error EBUSY: OSD(s) 9 have 12 pgs currently mapped to them.")}
    controller = installed(given, "primer", CONTROLLER | {GET: deployments(9)} | busy)
    with pytest.raises(
        KeystoneError,
        match=r"hosts\.old: waited 0 s for the data of its OSDs to lie elsewhere; .*12 pgs currently mapped.*"
        r"try again when Ceph is healthy; docs/operations/replace.md",
    ):
        play(lambda: remove.remove(given, gone()), controller)
    for start in (f"{CEPH} purge", "kubectl scale", "kubectl drain", "kubectl delete", "headscale nodes delete"):
        assert not controller.called(start)


def test_data_that_moves_for_a_while_is_waited_for() -> None:
    answers: list[Any] = [(16, "Error EBUSY: 12 pgs"), (16, "Error EBUSY: 1 pgs"), ""]
    controller = taken({f"{CEPH} safe-to-destroy": lambda _given: answers.pop(0)})
    assert answers == []
    assert controller.called(f"{CEPH} purge 9")


def test_an_osd_that_rook_has_started_again_is_stopped_again() -> None:
    answers: list[Any] = [(16, "Error EBUSY: osd.9 is not `down`."), ""]
    controller = taken({f"{CEPH} purge 9": lambda _given: answers.pop(0)})
    assert sum(call.startswith("kubectl scale deployment rook-ceph-osd-9 ") for call in controller.calls) == 2


def test_a_host_without_osds_needs_no_ceph() -> None:
    controller = taken({GET: deployments()})
    assert not controller.called("kubectl exec")
    assert controller.called("kubectl drain old")


def test_a_host_that_is_installed_anew_keeps_its_osds() -> None:
    given = context()
    controller = installed(given, "primer", CONTROLLER | {GET: deployments(9)})
    play(lambda: remove.leave(given, gone(), drain=True, primer_may_be_gone=True), controller)
    assert controller.called("kubectl drain old")
    assert not controller.called("kubectl exec")


def test_a_list_of_osds_that_cannot_be_read_ends_the_removal() -> None:
    with pytest.raises(KeystoneError, match="the list of OSDs cannot be read: nonsense"):
        taken({GET: "nonsense"})
