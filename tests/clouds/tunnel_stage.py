"""The tunnel's component in a project of its own, for the real engine, the stand-in plugin and the Cloudflare double.

Kubernetes only renders YAML.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from tests.clouds.running import Cloud
from tests.engine import REPOSITORY, Engine, Run
from tests.recording import document
from twin.clouds.cloudflare import API, TOKEN

RUN_SECONDS = 180
"""The two big SDKs take their time to import on a busy machine."""
ACCOUNT, ZONE = "a" * 32, "b" * 32
IDENTITY_SECRET = "hush-hush-of-the-identity-provider"
PROGRAM = """
import json
from pathlib import Path

import pulumi
import pulumi_kubernetes as kubernetes

import providers
from components.tunnel import Tunnel, TunnelArgs
from keystone.settings import parse

scene = json.loads(Path("scene.json").read_text())
settings = parse(scene["settings"])
rendered = kubernetes.Provider("kubernetes", render_yaml_to_directory="rendered")
platform = kubernetes.core.v1.ConfigMap("platform", data={}, opts=pulumi.ResourceOptions(provider=rendered))
cloudflare = providers.cloudflare(scene["token"], settings.tunnel)
made = Tunnel(
    "tunnel",
    TunnelArgs(
        settings=settings,
        tunnel=settings.tunnel,
        after=platform,
        identity_provider_secret=pulumi.Output.secret(scene["secret"]),
    ),
    opts=pulumi.ResourceOptions(providers=[rendered, cloudflare]),
)
pulumi.export("serviceTokens", made.service_tokens)
"""
LOGIN = {
    "name": "Login",
    "clientId": "cloudflare",
    "authUrl": "https://id.example.org/auth",
    "tokenUrl": "https://id.example.org/token",
    "certsUrl": "https://id.example.org/jwks",
}
HOSTNAMES = {
    "grafana": {
        "origin": {"namespace": "monitoring", "service": "grafana", "port": 80},
        "access": {"groups": ["admins"], "serviceTokens": ["robot"]},
    },
    "argocd": {
        "origin": {"namespace": "argocd", "service": "argocd-server", "port": 80},
        "access": {"emails": ["ada@example.org"]},
    },
}
PATHS = {
    "cfd_tunnel$": ":ZeroTrustTunnelCloudflared",
    "dns_records$": ":DnsRecord",
    "access/apps$": ":ZeroTrustAccessApplication",
}
"""What a request's path creates."""


class Stage(Engine):
    """An engine whose program makes the tunnel of the last scene."""

    def __init__(self, root: Path, cloud: Cloud) -> None:
        self.cloud = cloud
        super().__init__(
            root,
            PROGRAM,
            names=("cloudflare", "kubernetes"),
            environment={"PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"},
            settings={"pulumi:disable-default-providers": ["aws", "cloudflare", "kubernetes"]},
        )
        self.set()

    def set(self, *, token: str = TOKEN, **tunnel: Any) -> None:
        """The tunnel of the next runs."""
        common = {"accountId": ACCOUNT, "zone": "example.org", "zoneId": ZONE, "team": "home"}
        section = {"apiUrl": f"{self.cloud.url}{API}", "serviceTokens": {"robot": {}}, "identityProvider": LOGIN}
        settings = {**document(), "tunnel": {**common, **section, "hostnames": HOSTNAMES, **tunnel}}
        scene = {"settings": settings, "token": token, "secret": IDENTITY_SECRET}
        (self.workdir / "scene.json").write_text(json.dumps(scene))

    def only(self, *names: str, **tunnel: Any) -> None:
        """The tunnel of the next runs has just these names, and no login but by mail."""
        chosen = {name: HOSTNAMES[name] for name in names}
        self.set(hostnames=chosen, identityProvider=None, **tunnel)

    def pending(self, path: str = "") -> list[str]:
        """The types that the running update is creating, as the backend knows; those of a path of the API alone."""
        kind = PATHS.get(path, "")
        [file] = (self.root / "state/.pulumi/stacks").glob(f"*/{self.stack}.json")
        try:
            latest = json.loads(file.read_text())["checkpoint"]["latest"] or {}
        except ValueError:  # it is being written
            return []
        found = [one["resource"]["type"] for one in latest.get("pending_operations") or []]
        return [one for one in found if one.endswith(kind)]

    def pulumi_command(self, *words: str, timeout: float = RUN_SECONDS) -> Run:
        return super().pulumi_command(*words, timeout=max(timeout, RUN_SECONDS))

    def shell(self, command: str) -> Run:
        """A `pulumi` command line as it is shown to users."""
        return self.pulumi_command(*shlex.split(command)[1:], "--stack", self.stack, "--yes", "--protect=false")

    def refresh_record(self, *words: str) -> Run:
        """`pulumi refresh` of one record: a provider that only renders YAML has nothing to read."""
        return self.refresh("--target", f"urn:pulumi:{self.stack}::{self.project}::**::tunnel-dns-grafana", *words)

    def impatient(self, *words: str) -> Run:
        """`keystone`, which looks for a moment only for what a dead plugin may have made."""
        code = (
            "import sys, keystone.engine.interruption as looks; from keystone.cli import main; "
            "looks.LATE_SECONDS = 1; sys.exit(main(sys.argv[1:]))"
        )
        return self.keystone(*words, python=("-c", code))
