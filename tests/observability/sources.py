"""Where the metrics of dashboards and alerts come from: the pinned sources of the programs that tell them.

A name is proven when its program's Go source, at the version that toolchain/modules pins, holds it as a literal or puts
it together from namespace, subsystem and name. A few are assembled at run time: for these the pieces are listed, and
each must stand in the named file. What has no such source is listed as unproven, with what it was read in.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import toolchain
from toolchain import cache as cache_folder
from toolchain import golang

SUFFIXES = ("_bucket", "_count", "_sum")


@dataclass(frozen=True)
class Source:
    """Folders of a module, as globs of Go files."""

    module: str
    files: Sequence[str]
    pinned_by: str = ""
    """The folder of toolchain/modules whose go.mod pins it by `replace`, as Kubernetes does with its own parts."""

    @property
    def root(self) -> Path:
        if not self.pinned_by:
            return toolchain.module_dir(self.module)
        pins = (cache_folder.MODULES / self.pinned_by / "go.mod").read_text()
        version = re.search(rf"=> {re.escape(self.module)} (v\S+)", pins)
        assert version, f"{self.pinned_by} does not pin {self.module}"
        return golang.download(golang.find(), self.module, version[1], self.pinned_by)


@dataclass(frozen=True)
class Assembled:
    """A name that a program puts together at run time, from pieces that stand in one of its files."""

    module: str
    file: str
    pieces: Sequence[str]


KUBERNETES = "k8s.io/kubernetes"
NODE = "github.com/prometheus/node_exporter"
PROMETHEUS = "github.com/prometheus/prometheus"

# By the beginning of the name; the longest that fits wins.
SOURCES: Mapping[str, Source] = {
    "ALERTS": Source(PROMETHEUS, ["rules/*.go"]),
    "apiserver_": Source("k8s.io/apiserver", ["pkg/endpoints/metrics/*.go"], pinned_by="control-plane"),
    "argocd_app_": Source("github.com/argoproj/argo-cd/v3", ["controller/metrics/*.go"]),
    "certmanager_": Source("github.com/cert-manager/cert-manager", ["pkg/metrics/*.go", "internal/collectors/*.go"]),
    "etcd_": Source("go.etcd.io/etcd/server/v3", ["etcdserver/*.go", "storage/*.go", "storage/*/*.go"]),
    "headscale_": Source("github.com/juanfont/headscale", ["hscontrol/*.go", "hscontrol/*/*.go"]),
    "karpenter_": Source("sigs.k8s.io/karpenter", ["pkg/metrics/*.go"]),
    "kube_": Source("k8s.io/kube-state-metrics/v2", ["internal/store/*.go"]),
    "kubelet_": Source(KUBERNETES, ["pkg/kubelet/metrics/*.go", "pkg/kubelet/metrics/collectors/*.go"]),
    "loki_": Source("github.com/grafana/loki/v3", ["pkg/loghttp/push/*.go", "pkg/util/constants/*.go"]),
    "node_": Source(NODE, ["collector/*.go"]),
    "probe_": Source("github.com/prometheus/blackbox_exporter", ["prober/*.go"]),
    "tailscaled_": Source(
        "tailscale.com",
        ["health/*.go", "ipn/ipnlocal/*.go", "util/usermetric/*.go", "wgengine/magicsock/*.go"],
    ),
    "up": Source(PROMETHEUS, ["scrape/*.go"]),
}

ASSEMBLED: Mapping[str, Assembled] = {
    "node_network_receive_bytes_total": Assembled(NODE, "collector/netdev_linux.go", ["receive_bytes"]),
    "node_network_transmit_bytes_total": Assembled(NODE, "collector/netdev_linux.go", ["transmit_bytes"]),
    "node_memory_MemAvailable_bytes": Assembled(NODE, "collector/meminfo_linux.go", ["MemAvailable_bytes"]),
    "node_memory_MemTotal_bytes": Assembled(NODE, "collector/meminfo_linux.go", ["MemTotal_bytes"]),
    # The name of each line of the kernel's arcstats, below the subsystem of its file.
    "node_zfs_arc_size": Assembled(NODE, "collector/zfs_linux.go", ["zfs_arc", "arcstats"]),
}

# Named by us: keystone/charts/observability.py tells kube-state-metrics to make it.
OURS = ("gotk_resource_info",)

# Not told by a program whose source the module proxies serve. What speaks for them instead:
UNPROVEN: Mapping[str, str] = {
    "ceph_health_status": "Rook's own rules use it",
    "ceph_mon_quorum_status": "Rook's own rules use it",
    "ceph_osd_up": "Rook's own rules use it",
    "ceph_pg_active": "Rook's own rules use it",
    "ceph_pg_clean": "Rook's own rules use it",
    "ceph_pg_total": "Rook's own rules use it",
    "ceph_pool_metadata": "Rook's own rules use it",
    "ceph_pool_percent_used": "Rook's own rules use it",
    "cloudflared_tunnel_ha_connections": "read in cloudflared's supervisor/metrics.go, August 2026",
    "cloudflared_tunnel_request_errors": "read in cloudflared's proxy/metrics.go, August 2026",
    "cloudflared_tunnel_total_requests": "read in cloudflared's proxy/metrics.go, August 2026",
}
ROOK_RULES = ("github.com/rook/rook", "deploy/charts/rook-ceph-cluster/prometheus/localrules.yaml")


def proven(metric: str) -> bool:
    """Whether the pinned source of the metric's program holds its name."""
    if found := ASSEMBLED.get(metric):
        text = (toolchain.module_dir(found.module) / found.file).read_text()
        return all(piece in _words(text) for piece in found.pieces)
    prefix = max((start for start in SOURCES if metric.startswith(start)), key=len, default=None)
    if prefix is None:
        return False
    names = told(prefix)
    bases = [metric, *(metric.removesuffix(suffix) for suffix in SUFFIXES if metric.endswith(suffix))]
    return any(base in names for base in bases)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


@cache
def told(prefix: str) -> frozenset[str]:
    """The names that one source tells."""
    source = SOURCES[prefix]
    files = [
        file for glob in source.files for file in sorted(source.root.glob(glob)) if not file.name.endswith("_test.go")
    ]
    assert files, f"{source.module} has no files {source.files}"
    texts = {file: file.read_text() for file in files}
    shared: dict[str, str] = {}
    for text in texts.values():
        shared = _constants(text) | shared
    return frozenset(name for text in texts.values() for name in _names(text, shared | _constants(text)))


_LITERAL = re.compile(r'"([A-Za-z_:][A-Za-z0-9_:]*)"')
_CONSTANT = re.compile(r'\b(\w+)\s*(?:string\s*)?:?=\s*"([A-Za-z0-9_]*)"')
_FIELD = re.compile(r"\b(Namespace|Subsystem|Name):\s*([\w.\"]+)")
_OPTIONS = re.compile(r"Opts\{(.*?)\n\s*\}", re.DOTALL)
_FULL_NAME = re.compile(r"BuildFQName\(\s*([\w.\"]*)\s*,\s*([\w.\"]*)\s*,\s*([\w.\"]*)\s*,?\s*\)")


def _constants(text: str) -> dict[str, str]:
    return dict(_CONSTANT.findall(text))


def _names(text: str, constants: Mapping[str, str]) -> Iterator[str]:
    yield from _LITERAL.findall(text)
    for block in _OPTIONS.findall(text):
        fields = {key: _value(value, constants) for key, value in _FIELD.findall(block)}
        yield _joined([fields.get(key, "") for key in ("Namespace", "Subsystem", "Name")])
    for parts in _FULL_NAME.findall(text):
        yield _joined([_value(part, constants) for part in parts])


def _value(text: str, constants: Mapping[str, str]) -> str:
    """A literal, or the constant of that name; of another package's constant the last part."""
    if text.startswith('"'):
        return text.strip('"')
    return constants.get(text.rpartition(".")[2], "?")


def _joined(parts: Sequence[str]) -> str:
    return "_".join(part for part in parts if part)


def rook_names() -> set[str]:
    """The metrics of Ceph that Rook's own rules name."""
    module, file = ROOK_RULES
    return set(re.findall(r"\bceph_[a-z_]+", (Path(toolchain.module_dir(module)) / file).read_text()))
