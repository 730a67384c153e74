"""The real Headscale takes the settings that the module writes, and the policy of the test with machines."""

import json
import re
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from keystone.identities import Identities
from tests import networks
from tests.nix.evaluator import NIX, Flake
from tests.test_mesh_policy_headscale import binary

NETWORK = networks.fresh()
ADDRESS = NETWORK.at(1)
START_SECONDS = 30


def settings_here(settings: dict[str, Any], folder: Path, port: int) -> dict[str, Any]:
    """The module's settings with this test's folders and ports; nothing else is changed."""
    text = json.dumps(settings).replace("/run/agenix/", f"{folder}/").replace("/var/lib/headscale/", f"{folder}/")
    here = json.loads(text.replace("127.79.0.10:8443", f"{ADDRESS}:{port}"))
    here["listen_addr"] = f"{ADDRESS}:{port}"
    here["metrics_listen_addr"] = f"{ADDRESS}:{NETWORK.free_port(1)}"
    here["grpc_listen_addr"] = f"{ADDRESS}:{NETWORK.free_port(1)}"
    here["derp"]["server"]["stun_listen_addr"] = f"{ADDRESS}:{NETWORK.free_port(1, socket.SOCK_DGRAM)}"
    here["unix_socket"] = f"{folder}/s"
    return here


@pytest.fixture(scope="module")
def headscale(flake: Flake) -> Iterator[tuple[list[str], str, ssl.SSLContext]]:
    """A running Headscale: its command line, its URL and the trust in its authority."""
    program = binary()
    if program is None:
        pytest.skip("Headscale is not built (`python -m toolchain`)")
    port = NETWORK.free_port(1)
    identities = Identities("ab" * 32, "dev")
    # a short folder: a socket's path may have 108 characters
    with tempfile.TemporaryDirectory(prefix="hs") as name:
        folder = Path(name)
        certificate, key = identities.mesh_certificate([ADDRESS])
        for file, text in (
            ("mesh-tls.crt", certificate),
            ("mesh-tls-key", key),
            ("headscale-noise-key", identities.headscale_noise_key()),
            ("headscale-derp-key", identities.headscale_derp_key()),
        ):
            (folder / file).write_text(text)
            (folder / file).chmod(0o600)
        settings = flake.host("dev-primer", "c: c.config.services.headscale.settings")
        (folder / "config.yaml").write_text(json.dumps(settings_here(settings, folder, port)))
        command = [str(program), "--config", str(folder / "config.yaml")]
        with (folder / "log").open("w") as log:
            server = subprocess.Popen([*command, "serve"], stdout=log, stderr=log)
        try:
            trust = ssl.create_default_context(cadata=identities.mesh_ca()[0])
            yield wait(server, folder / "log", command, f"https://{ADDRESS}:{port}", trust)
        finally:
            server.terminate()
            server.wait(timeout=20)


def wait(
    server: subprocess.Popen[bytes], log: Path, command: list[str], url: str, trust: ssl.SSLContext
) -> tuple[list[str], str, ssl.SSLContext]:
    deadline, seen = time.monotonic() + START_SECONDS, "nothing"
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urlopen(f"{url}/health", context=trust, timeout=2) as answer:
                if answer.status == 200:
                    return command, url, trust
        except OSError as error:
            seen = str(error)
        time.sleep(0.2)
    pytest.fail(f"no health after {START_SECONDS} s; last: {seen}; log: {log.read_text()[-1500:]}")


def test_headscale_starts_with_the_modules_settings_and_the_derived_keys(headscale: Any):
    command, _, _ = headscale
    done = subprocess.run([*command, "configtest"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_key_is_the_one_that_the_identities_announce(headscale: Any):
    _, url, trust = headscale
    with urlopen(f"{url}/key?v=130", context=trust, timeout=5) as answer:
        assert json.load(answer)["publicKey"] == Identities("ab" * 32, "dev").headscale_noise_public_key()


def test_the_policies_of_the_machines_tests_are_accepted_and_keys_are_minted(headscale: Any, tmp_path: Path):
    command, _, _ = headscale
    script = (NIX / "tests/mesh.py").read_text()
    known: dict[str, Any] = {}
    exec(script[script.index("POLICY = ") : script.index("\n}\n") + 3], known)
    [quoted] = re.findall(r"printf '%s' '(\{.*\})' >/run/policy\.json", (NIX / "microvm/cluster.nix").read_text())
    for policy, tag in ((json.loads(quoted), "tag:node"), (known["POLICY"], "tag:agent")):
        file = tmp_path / "policy.json"
        file.write_text(json.dumps(policy))
        done = subprocess.run(
            [*command, "policy", "set", "--file", str(file)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        # as join in mesh.py, leave-key in cluster.nix and the pools' timer mint
        mint = [*command, "preauthkeys", "create", "--reusable", "--ephemeral", "--expiration", "24h", "--tags", tag]
        made = subprocess.run([*mint, "--output", "json"], capture_output=True, text=True, check=True)
        assert json.loads(made.stdout)["key"]
