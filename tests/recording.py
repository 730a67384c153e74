"""The recording engine for the program's tests, and the stack file that they vary."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pulumi
from pulumi.runtime import mocks
from pulumi.runtime.settings import reset_options

from tests.aws import answers as aws

SECRET = "4dabf18193072939515e22adb298388d"
SECRET_VALUE = "1b47061264138c4ac30d75fd1eb44270"
"""The key by which the wire marks a wrapped value, and the mark of a secret."""
ROOT_SECRET = "ab" * 32
TUNNEL_TOKEN = "cloudflare:index/getZeroTrustTunnelCloudflaredToken:getZeroTrustTunnelCloudflaredToken"
PROJECT, STACK = "keystone", "site"


@dataclass(frozen=True)
class Recorded:
    """One registration: inputs by their wire names, and the options that mocks alone do not show."""

    kind: str
    name: str
    inputs: dict[str, Any]
    provider: str
    parent: str
    protect: bool
    retain_on_delete: bool
    delete_before_replace: bool
    dependencies: frozenset[str]
    """Names of the resources that it depends on, by option or by data."""
    secret_outputs: frozenset[str]
    timeouts: dict[str, str]


class _Monitor(mocks.MockMonitor):
    def __init__(self, engine: "Engine") -> None:
        super().__init__(engine)
        self._engine = engine

    def RegisterResource(self, request: Any) -> Any:
        answer = super().RegisterResource(request)
        if request.type != "pulumi:pulumi:Stack":
            inputs = self._engine.inputs.pop((request.type, request.name))
            depends = {*request.dependencies, *(u for d in request.propertyDependencies.values() for u in d.urns)}
            self._engine.resources.append(
                Recorded(
                    kind=request.type,
                    name=request.name,
                    inputs=inputs,
                    provider=_name(request.provider.rpartition("::")[0]),
                    parent=_name(request.parent),
                    protect=request.protect,
                    retain_on_delete=request.retainOnDelete,
                    delete_before_replace=request.deleteBeforeReplace,
                    dependencies=frozenset(map(_name, depends)),
                    secret_outputs=frozenset(request.additionalSecretOutputs),
                    timeouts={
                        key: getattr(request.customTimeouts, key)
                        for key in ("create", "update", "delete")
                        if getattr(request.customTimeouts, key)
                    },
                )
            )
        return answer


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


@dataclass
class Engine(mocks.Mocks):
    """Records what a program registers. `outputs` adds what a provider would answer."""

    preview: bool = False
    resources: list[Recorded] = field(default_factory=list)
    inputs: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    exports: dict[str, Any] = field(default_factory=dict)

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[Any, Any]]:
        self.inputs[args.typ, args.name] = args.inputs
        answer = {} if self.preview else answers(args.typ, args.inputs)
        return f"{args.name}-id", {**args.inputs, **answer}

    def call(self, args: mocks.MockCallArgs) -> Any:
        if args.token == TUNNEL_TOKEN:
            # The one lookup of the program: what Cloudflare alone knows.
            return {**args.args, "token": f"token of {args.args['tunnelId']}"}
        raise AssertionError(f"no lookup expected, got {args.token}")

    def of(self, kind: type[pulumi.Resource]) -> list[Recorded]:
        """Every registration of one resource class."""
        return [resource for resource in self.resources if resource.kind == vars(kind)["pulumi_type"]]

    def named(self, name: str) -> Recorded:
        """The one registration of this name."""
        [found] = [resource for resource in self.resources if resource.name == name]
        return found


def answers(kind: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """What the real provider would add: the standard output of our commands, what Cloudflare gives out."""
    if kind.startswith("aws:"):
        return aws.answers(kind, inputs)
    if kind == "cloudflare:index/zeroTrustAccessApplication:ZeroTrustAccessApplication":
        return {"aud": f"audience of {inputs['domain']}"}
    if kind == "cloudflare:index/zeroTrustAccessServiceToken:ZeroTrustAccessServiceToken":
        ends = datetime.now(UTC) + timedelta(hours=int(inputs["duration"].removesuffix("h")))
        made = {"clientId": f"{inputs['name']}.access", "clientSecret": _wrapped("hush")}
        return {**made, "expiresAt": f"{ends:%Y-%m-%dT%H:%M:%SZ}"}
    if kind != "command:local:Command":
        return {}
    _, _, line = inputs["create"].partition("keystone.hosts ")
    command, name, *_ = line.split()
    if command == "join":
        return {"stdout": _wrapped(json.dumps({"node": name, "mesh": "100.64.0.1"})), "stderr": _wrapped("")}
    return {"stdout": _wrapped(f"{command} {name}"), "stderr": _wrapped("")}


def _wrapped(text: str) -> dict[str, str]:
    """A secret as the engine hands it back: a secret input makes every output of a command one."""
    return {SECRET: SECRET_VALUE, "value": text}


def plain(value: Any) -> Any:
    """A wire value without its secret wrapping."""
    return value["value"] if is_secret(value) else value


def is_secret(value: Any) -> bool:
    """Whether a wire value is wrapped as a secret."""
    return isinstance(value, dict) and value.get(SECRET) == SECRET_VALUE


def run(build: Callable[[], object], *, preview: bool = False, stack: str = STACK) -> Engine:
    """Runs a program under the recording engine; returns when every registration has landed."""
    reset_options()
    engine = Engine(preview=preview)
    mocks.set_mocks(engine, project=PROJECT, stack=stack, preview=preview, monitor=_Monitor(engine))
    pulumi.runtime.test(build)()
    root = pulumi.runtime.get_root_resource()
    assert isinstance(root, pulumi.runtime.stack.Stack)
    engine.exports = dict(root.outputs)
    return engine


def document(*, base: str = "127.78.5", servers: int = 1, agents: int = 2, edges: int = 0) -> dict[str, Any]:
    """A stack file's `keystone:` keys without secrets, on the /24 that begins with `base`."""
    third = int(base.rpartition(".")[2])

    def host(name: str, number: int, role: str) -> dict[str, Any]:
        return {
            "role": role,
            "site": "home",
            "address": f"{base}.{number}",
            "mac": f"02:00:00:78:{third:02x}:{number:02x}",
            "ssh": {"port": 2222},
            "disk": f"/dev/disk/by-id/virtio-{name}-system",
            "diskSerial": f"{name}-disk",
            "machineSerial": f"serial-{name}",
        }

    hosts = {"primer": host("primer", 10, "primer")}
    hosts |= {f"s{n}": host(f"s{n}", 20 + n, "server") for n in range(2, servers + 1)}
    hosts |= {f"w{n}": host(f"w{n}", 30 + n, "agent") for n in range(1, agents + 1)}
    hosts |= {f"e{n}": host(f"e{n}", 60 + n, "edge") for n in range(1, edges + 1)}
    return {
        "protectHosts": True,
        "cluster": {
            "name": "site",
            "domain": "keystone.test",
            "api": {"endpoint": f"https://{base}.10:6443", "sans": [f"{base}.10"]},
        },
        "sites": {"home": {"cidr": f"{base}.0/24", "gateway": f"{base}.1", "nameservers": [f"{base}.1"]}},
        "hosts": hosts,
        "mesh": {"serverUrl": f"https://{base}.10:8443", "domain": "mesh.keystone.test"},
    }
