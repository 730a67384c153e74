"""The table of tools: what is built, from which pinned module, and how a found binary tells its version.

Everything here is data. Seconds and sizes were measured on 2 cores, Linux x86-64, from an empty build cache.
"""

from dataclasses import dataclass

import versions

_KUBERNETES_STAMPS = tuple(
    f"{package}.{name}={value}"
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    for name, value in (
        ("gitVersion", f"v{versions.KUBERNETES}"),
        ("gitMajor", versions.KUBERNETES.split(".")[0]),
        ("gitMinor", versions.KUBERNETES.split(".")[1]),
    )
)


@dataclass(frozen=True, kw_only=True)
class Extra:
    """A script that is copied from a module's source to lie beside the binary, with mode 755."""

    module: str
    version: str
    pinned_by: str  # the folder below toolchain/modules whose go.mod and go.sum pin it
    path: str

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One binary, and everything that its build depends on."""

    name: str
    version: str  # what the tool itself answers, without a leading v
    module: str  # folder below toolchain/modules
    package: str  # Go import path of the main package
    seconds: int  # to build it from nothing on 2 cores
    megabytes: int
    tags: tuple[str, ...] = ()
    stamps: tuple[str, ...] = ()  # `-X` values for the linker
    ask: tuple[str, ...] = ()  # arguments that make it print its version; none: a binary on PATH is never taken
    aliases: tuple[str, ...] = ()  # further names of the same binary
    extras: tuple[Extra, ...] = ()
    with_tool: str = ""  # taken from PATH only together with this tool, from the same folder
    on_path: bool = True  # False: never put on PATH (the engine warns about plugins that lie there)


TOOLS: tuple[Tool, ...] = (
    Tool(
        name="pulumi",
        version=versions.PULUMI,
        module="engine",
        package="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
        tags=("osusergo",),
        stamps=(f"github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{versions.PULUMI}",),
        ask=("version",),
        seconds=160,
        megabytes=115,
    ),
    Tool(
        name="pulumi-language-python",
        # The newest language host whose sources the module proxies serve; it works with a newer engine and SDK.
        version=versions.PULUMI_LANGUAGE_PYTHON,
        module="language-host",
        package="github.com/pulumi/pulumi/sdk/python/cmd/pulumi-language-python/v3",
        stamps=(f"github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{versions.PULUMI}",),
        # It runs a script that must lie beside it: without it, "missing executor".
        extras=(
            Extra(
                module="github.com/pulumi/pulumi/sdk/v3",
                version=versions.PULUMI,
                pinned_by="engine",
                path="python/cmd/pulumi-language-python-exec",
            ),
            Extra(
                module="github.com/pulumi/pulumi/sdk/v3",
                version=versions.PULUMI,
                pinned_by="engine",
                path="python/dist/pulumi-resource-pulumi-python",
            ),
        ),
        with_tool="pulumi",
        seconds=45,
        megabytes=29,
    ),
    Tool(
        name="etcd",
        version=versions.ETCD,
        module="etcd",
        package="go.etcd.io/etcd/server/v3",
        ask=("--version",),
        seconds=18,
        megabytes=25,
    ),
    Tool(
        name="kubectl",
        version=versions.KUBERNETES,
        module="control-plane",
        package="k8s.io/kubernetes/cmd/kubectl",
        stamps=_KUBERNETES_STAMPS,
        ask=("version", "--client"),
        seconds=76,
        megabytes=60,
    ),
    Tool(
        name="kube-apiserver",
        version=versions.KUBERNETES,
        module="control-plane",
        package="k8s.io/kubernetes/cmd/kube-apiserver",
        stamps=_KUBERNETES_STAMPS,
        ask=("--version",),
        seconds=142,
        megabytes=105,
    ),
    Tool(
        name="kube-controller-manager",
        version=versions.KUBERNETES,
        module="control-plane",
        package="k8s.io/kubernetes/cmd/kube-controller-manager",
        stamps=_KUBERNETES_STAMPS,
        ask=("--version",),
        seconds=90,
        megabytes=95,
    ),
    Tool(
        name="kube-scheduler",
        version=versions.KUBERNETES,
        module="control-plane",
        package="k8s.io/kubernetes/cmd/kube-scheduler",
        stamps=_KUBERNETES_STAMPS,
        ask=("--version",),
        seconds=10,
        megabytes=73,
    ),
    Tool(
        name="headscale",
        version=versions.HEADSCALE,
        module="headscale",
        package="github.com/juanfont/headscale/cmd/headscale",
        ask=("version",),
        seconds=170,
        megabytes=52,
    ),
    Tool(
        name="tailscaled",
        version=versions.TAILSCALE,
        module="tailscale",
        package="tailscale.com/cmd/tailscaled",
        # One binary is daemon and command line; its name decides. Without a tunnel device the peer API would listen on
        # all interfaces of the computer (ipn/ipnlocal/peerapi.go), so it is left out.
        tags=("ts_include_cli", "ts_omit_peerapiserver"),
        stamps=(
            f"tailscale.com/version.shortStamp={versions.TAILSCALE}",
            f"tailscale.com/version.longStamp={versions.TAILSCALE}",
        ),
        aliases=("tailscale",),
        seconds=90,
        megabytes=44,
    ),
    Tool(
        name="kwok",
        version=versions.KWOK,
        module="kwok",
        package="sigs.k8s.io/kwok/cmd/kwok",
        ask=("--version",),
        seconds=105,
        megabytes=64,
    ),
    Tool(
        name="pulumi-resource-kubernetes",
        version=versions.PULUMI_KUBERNETES,
        module="kubernetes-provider",
        package=".",
        stamps=(f"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version.Version={versions.PULUMI_KUBERNETES}",),
        on_path=False,
        seconds=510,
        megabytes=161,
    ),
)

# Built only when asked for by name: what checks need and no cluster does. They do not count for the folder for PATH.
ON_DEMAND: tuple[Tool, ...] = (
    Tool(
        name="actionlint",
        version=versions.ACTIONLINT,
        module="actionlint",
        package="github.com/rhysd/actionlint/cmd/actionlint",
        # Without it, the tool calls itself a build of unknown version.
        stamps=(f"github.com/rhysd/actionlint.version=v{versions.ACTIONLINT}",),
        ask=("-version",),
        seconds=25,
        megabytes=8,
    ),
    Tool(
        name="promtool",
        version=versions.PROMTOOL,
        module="promtool",
        package="github.com/prometheus/prometheus/cmd/promtool",
        # The clouds' service discovery is most of its size and nothing of what rules need.
        tags=("remove_all_sd",),
        stamps=(f"github.com/prometheus/common/version.Version={versions.PROMTOOL}",),
        ask=("--version",),
        seconds=130,
        megabytes=52,
    ),
    Tool(
        name="amtool",
        version=versions.AMTOOL,
        module="amtool",
        package="github.com/prometheus/alertmanager/cmd/amtool",
        stamps=(f"github.com/prometheus/common/version.Version={versions.AMTOOL}",),
        ask=("--version",),
        seconds=60,
        megabytes=20,
    ),
    Tool(
        name="alloy-syntax",
        version=versions.ALLOY_SYNTAX,
        module="alloy-syntax",
        package=".",
        stamps=(f"main.version={versions.ALLOY_SYNTAX}",),
        ask=("--version",),
        seconds=5,
        megabytes=3,
    ),
    Tool(
        name="rclone",
        version=versions.RCLONE,
        module="rclone",
        package=".",
        stamps=(f"github.com/rclone/rclone/fs.Version=v{versions.RCLONE}",),
        ask=("version",),
        seconds=70,
        megabytes=29,
    ),
    Tool(
        name="age",
        version=versions.AGE,
        module="age",
        package="filippo.io/age/cmd/age",
        stamps=(f"main.Version=v{versions.AGE}",),
        ask=("--version",),
        seconds=15,
        megabytes=5,
    ),
)

BY_NAME: dict[str, Tool] = {tool.name: tool for tool in (*TOOLS, *ON_DEMAND)}
