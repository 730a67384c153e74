"""The choices of the platform, each brought up on a twin of one Primer by the commands of users; and charts that fail.

The kinds of custom resources are the real ones, checked by the real API server; what the charts' pods do is not run.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keystone import charts
from keystone.settings import read
from tests import networks
from tests.twin.acceptance.checkout import PYTHON, Checkout, host
from tests.twin.acceptance.watching import changed

pytestmark = [pytest.mark.twin, pytest.mark.acceptance, pytest.mark.timeout(900)]
UP_SECONDS = 600
"""A limit for a busy machine; `make bench` measures."""
DISKS = [f"/dev/disk/by-id/virtio-primer-osd{number}" for number in range(3)]
RELEASE_SECONDS = 25

Sections = dict[str, Any]


def small(folder: Path, stack: str, temporary: Path) -> Checkout:
    """A Primer alone, with disks for Ceph."""
    network = networks.fresh()
    hosts = {"primer": host(network, "primer", 10, "primer", osdDisks=DISKS, layout="ext4-luks")}
    return Checkout(folder / "keystone", stack, network, hosts, temporary)


def choose(site: Checkout, sections: Sections) -> None:
    """Write the sections of a choice into the stack file, and those of no other."""
    pool = {"ingress": f"{site.network.at(200)}-{site.network.at(209)}"}
    with site.editing() as config:
        for name in ("network", "gitops", "storage", "platform", "observability"):
            config.pop(f"keystone:{name}", None)
        for name, section in json.loads(json.dumps(sections)).items():
            if section.get("loadBalancer", {}).get("pools") == "some":
                section["loadBalancer"]["pools"] = pool
            if name != "cluster":
                config[f"keystone:{name}"] = section
        config["keystone:cluster"] |= {"distribution": "k3s"} | sections.get("cluster", {})


def gone(site: Checkout) -> None:
    """End a site whatever has become of it."""
    site.twin("down", limit=180)
    left = site.processes()
    for process in left:
        process.kill()
    assert not left, f"processes are left: {left}"


def kubectl(site: Checkout, *argv: str) -> Any:
    return json.loads(site.on("primer", "kubectl", *argv, "--output", "json"))


CERTIFICATES: Sections = {"platform": {"certManager": {}}}
METALLB = {"provider": "metallb", "pools": "some"}

BROUGHT_UP: dict[str, Sections] = {
    "argo": {
        **CERTIFICATES,
        "gitops": {"engine": "argocd"},
        "network": {"loadBalancer": {"pools": "some"}},
        "storage": {"ceph": {"filesystem": False}},
        "observability": {"logs": {"store": "bucket"}},
    },
    "calico": {
        **CERTIFICATES,
        "network": {"cni": "calico", "gateway": "traefik", "loadBalancer": METALLB},
        "storage": {"localPath": {}},
    },
    "linkerd": {"network": {"serviceMesh": "linkerd"}, **CERTIFICATES},
    "longhorn": {"storage": {"longhorn": {}}, "network": {}, "observability": {}},
}
"""The main choices, from nothing to nothing."""

CHANGED: dict[str, tuple[Sections, set[str]]] = {
    "argo": (
        {"observability": {"logs": {"store": "bucket"}, "metrics": {"retentionDays": 20}}},
        {"chart-kube-prometheus-stack-release"},
    ),
    "calico": ({"storage": {"localPath": {"path": "/var/lib/elsewhere"}}}, {"chart-local-path-release"}),
    "linkerd": ({"network": {"serviceMesh": "linkerd", "gateway": "traefik"}}, {"chart-traefik-release"}),
    # Its folder, not its copies: the parameters of a class never change, and Longhorn alone makes its class anew.
    "longhorn": ({"storage": {"longhorn": {"path": "/var/lib/elsewhere"}}}, {"chart-longhorn-release"}),
}
"""A change to each of them, and the releases that it touches."""

PREVIEWED: dict[str, Sections] = {
    "no load balancer": {"network": {"loadBalancer": {"pools": {}}}, **CERTIFICATES},
    "traefik without certificates": {"network": {"gateway": "traefik", "loadBalancer": {"pools": "some"}}},
    "nginx": {"network": {"gateway": "nginx", "loadBalancer": {"pools": "some"}}, **CERTIFICATES},
    "flannel": {"network": {"cni": "flannel", "gateway": "traefik", "loadBalancer": METALLB}, **CERTIFICATES},
    "no ceph": {"storage": {"localPath": {}}, "observability": {}},
    "openebs": {"storage": {"openebs": {}}, "platform": {"verticalPodAutoscaler": True}},
    "several classes": {"storage": {"default": "longhorn", "longhorn": {}, "openebs": {}, "localPath": {}}},
    "istio": {"network": {"serviceMesh": "istio"}},
    "istio on flannel": {
        "network": {
            "serviceMesh": "istio",
            "cni": "flannel",
            "gateway": "traefik",
            "loadBalancer": {"provider": "metallb"},
        }
    },
    "cilium as mesh": {"network": {"serviceMesh": "cilium"}},
    "kubeadm": {"cluster": {"distribution": "kubeadm"}, "platform": {"certManager": {}, "metricsServer": True}},
    "argo and a repository": {
        "gitops": {"engine": "argocd", "repository": {"url": "https://git.example.org/team/cluster.git"}},
        "observability": {},
        "storage": {"localPath": {}},
    },
    "argo and calico": {
        "gitops": {"engine": "argocd"},
        "network": {"cni": "calico", "gateway": "traefik", "loadBalancer": METALLB},
        **CERTIFICATES,
    },
    "argo and longhorn": {"gitops": {"engine": "argocd"}, "storage": {"longhorn": {}}, "observability": {}},
    "open namespaces": {"network": {"defaultDeny": False}, **CERTIFICATES},
}
"""The other choices, as a plan against the API of a running cluster."""


@pytest.fixture(scope="module", params=BROUGHT_UP)
def chosen(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, short_folder: Path
) -> Iterator[Checkout]:
    """A site with one of the main choices, blank at first. The tests run in their order on each."""
    temporary = short_folder / request.param
    temporary.mkdir()
    site = small(tmp_path_factory.mktemp(request.param), request.param, temporary)
    choose(site, BROUGHT_UP[request.param])
    yield site
    gone(site)


def test_up_brings_every_chosen_release_to_its_end(chosen: Checkout) -> None:
    done = chosen.up(limit=UP_SECONDS)
    assert not {word for word in done.rows.values() if word not in ("created", "read")}, done.text
    settings = read(chosen.stack, chosen.folder)
    wanted = {release.chart: release.version for release in charts.releases(settings).values()}
    assert wanted
    if settings.gitops.engine == "flux":
        found = kubectl(chosen, "get", "helmreleases", "--all-namespaces")["items"]
        states = {item["metadata"]["name"]: conditions(item)["Ready"] for item in found}
        assert set(states.values()) == {"True"}
    else:
        found = kubectl(chosen, "get", "applications", "--all-namespaces")["items"]
        states = {
            item["metadata"]["name"]: (item["status"]["sync"]["status"], item["status"]["health"]["status"])
            for item in found
        }
        assert set(states.values()) == {("Synced", "Healthy")}
    assert states.keys() == charts.releases(settings).keys()


def conditions(thing: dict[str, Any]) -> dict[str, str]:
    return {one["type"]: one["status"] for one in thing["status"]["conditions"]}


def test_a_second_up_changes_nothing(chosen: Checkout) -> None:
    before = chosen.resources()
    done = chosen.up(limit=UP_SECONDS)
    assert "no changes" in done.stdout
    assert changed(before, chosen.resources()) == {}


def test_a_changed_setting_touches_its_own_release_and_is_waited_for(chosen: Checkout) -> None:
    sections, touched = CHANGED[chosen.stack]
    before = chosen.resources()
    choose(chosen, BROUGHT_UP[chosen.stack] | sections)
    chosen.up(limit=UP_SECONDS)
    after = chosen.resources()
    releases = {name.rpartition(" ")[2] for name in changed(before, after) if name.endswith("-release")}
    assert releases == touched
    if chosen.stack == "argo":
        found = kubectl(chosen, "get", "application", "kube-prometheus-stack", "--namespace", "argocd")
        assert found["status"]["sync"]["comparedTo"]["source"]["name"] == found["spec"]["source"]["name"]
        assert found["spec"]["source"]["helm"]["valuesObject"]["prometheus"]["prometheusSpec"]["retention"] == "20d"


def test_releases_that_argo_does_not_bring_say_why_and_the_next_up_goes_on(chosen: Checkout) -> None:
    if chosen.stack != "argo":
        return  # Flux' are broken below
    wanted = BROUGHT_UP["argo"]
    more: Sections = {
        **wanted,
        "gitops": {"engine": "argocd", "releaseSeconds": RELEASE_SECONDS},
        "storage": {**wanted["storage"], "default": "ceph-block", "localPath": {}, "openebs": {}},
    }
    choose(chosen, more)
    order(chosen, "openebs", "--fail", "no matches for kind Widget")
    order(chosen, "local-path", "--hang")
    done = chosen.try_up(limit=UP_SECONDS)
    assert not done.ok
    for release, words in {
        "openebs": "sync Failed: .*no matches for kind Widget",
        "local-path": "sync Running: waiting for healthy state",
    }.items():
        assert done.rows[f"chart-{release}-release"] == "FAILED"
        [said] = re.findall(rf"^chart-{release}-release .*?(?=^\S|\Z)", done.text, re.MULTILINE | re.DOTALL)
        assert re.search(f"last it said: {words}", said), said
        assert f"more: kubectl -n argocd describe application {release}" in said
        order(chosen, release)
    assert chosen.up(limit=UP_SECONDS).ok
    assert "no changes" in chosen.keystone("preview").stdout


def test_verify_finds_the_network_plugin_of_the_settings_in_the_host_layers_hands(chosen: Checkout) -> None:
    done = chosen.keystone("verify", "--json", limit=120)
    assert done.ok, done.text
    [plugin] = [check for check in json.loads(done.stdout)["checks"] if check["group"] == "network plugin"]
    cni = read(chosen.stack, chosen.folder).network.cni
    assert (plugin["name"], plugin["detail"]) == (cni, f"{cni} on 1 node")


def test_a_destroy_leaves_nothing_and_waits_for_no_finalizer(chosen: Checkout) -> None:
    engine, twin = chosen.destroy()
    assert engine.ok, engine.text
    assert twin.ok, twin.text
    assert "twin: nothing is left over" in twin.stderr
    assert chosen.processes() == []


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, short_folder: Path) -> Iterator[Checkout]:
    """A running cluster without any choice of the platform."""
    temporary = short_folder / "bare"
    temporary.mkdir()
    site = small(tmp_path_factory.mktemp("bare"), "bare", temporary)
    choose(site, {})
    site.up(limit=UP_SECONDS)
    yield site
    choose(site, {})
    assert site.up(limit=UP_SECONDS).ok
    engine, twin = site.destroy()
    gone(site)
    assert engine.ok, engine.text
    assert twin.ok, twin.text


@pytest.mark.parametrize("choice", PREVIEWED)
def test_a_preview_plans_the_releases_of_a_choice(bare: Checkout, choice: str) -> None:
    choose(bare, PREVIEWED[choice])
    facts = bare.keystone("facts")
    assert facts.ok, facts.text
    done = bare.keystone("preview", limit=UP_SECONDS)
    assert done.ok, done.text
    planned = {name[len("chart-") : -len("-release")] for name in done.rows if re.fullmatch("chart-.+-release", name)}
    assert planned == charts.releases(read(bare.stack, bare.folder)).keys(), done.text


def order(site: Checkout, release: str, *how: str) -> None:
    """Tell the twin's chart controller how a release goes."""
    done = site.run(PYTHON, "-m", "twin", "chart", release, *how, "--stack", site.stack, limit=60)
    assert done.ok, done.text


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (("--fail", "no matches for kind Widget"), "no matches for kind Widget"),
        (("--hang",), "context deadline exceeded|Running 'install' action"),
    ],
    ids=["failing", "hanging"],
)
def test_a_release_that_does_not_come_ends_the_up_in_time_with_its_own_words_and_the_next_up_goes_on(
    bare: Checkout, how: tuple[str, ...], words: str
) -> None:
    choose(bare, {**CERTIFICATES, "gitops": {"releaseSeconds": RELEASE_SECONDS}, "storage": {"localPath": {}}})
    order(bare, "cert-manager", *how)
    done = bare.try_up(limit=UP_SECONDS)
    assert not done.ok
    assert done.seconds < 6 * RELEASE_SECONDS
    assert done.rows["chart-cert-manager-release"] == "FAILED"
    [said] = re.findall(r"^chart-cert-manager-release .*?(?=^\S|\Z)", done.text, re.MULTILINE | re.DOTALL)
    assert re.search(f"last it said: .*({words})", said), said
    assert "more: kubectl -n flux-system describe helmrelease cert-manager" in said
    # Others have come, and what needs the failed one has not been tried.
    assert done.rows["chart-local-path-release"] == "created"
    assert "network-issuer-private" not in done.rows
    order(bare, "cert-manager")
    again = bare.up(limit=UP_SECONDS)
    assert again.rows["network-issuer-private"] == "created"
    assert "no changes" in bare.keystone("preview").stdout
    choose(bare, {})
    bare.up(limit=UP_SECONDS)
    assert kubectl(bare, "get", "helmreleases", "--all-namespaces")["items"] == []
