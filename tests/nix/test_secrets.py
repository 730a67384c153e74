"""No secret is in a derivation: what stands in the age files, and what the stack's identities are, never appears."""

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from keystone import agefiles
from keystone.identities import Identities
from tests.nix import stacks
from tests.nix.evaluator import Flake, lay_out

ROOT = "c0ffee" * 10 + "beef"
STACK = "home-cloud"


@pytest.fixture(scope="module")
def sealed(flake: Flake, tmp_path_factory: pytest.TempPathFactory) -> Flake:
    """The flake with one stack whose age files are real ones, sealed for the hosts."""
    scratch = tmp_path_factory.mktemp("sealed")
    folder = lay_out(scratch / "flake", stacks.rendered(STACK), stacks.HOST_FILES, [])
    agefiles.render(stacks.settings(STACK), Identities(ROOT, STACK), STACK, scratch)
    for file in (scratch / "nix").rglob("*"):
        if file.is_file():
            place = folder / file.relative_to(scratch / "nix")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    return Flake(folder=folder, tree=flake.tree, scratch=flake.scratch)


def canaries() -> dict[str, bytes]:
    """The secret part of every text of the stack: the lines of keys, the tail of tokens."""
    settings, identities = stacks.settings(STACK), Identities(ROOT, STACK)
    found = {"root secret": ROOT.encode()}
    public = set(identities.mesh_ca()[0].encode().splitlines())
    for name, text in agefiles.texts(settings, identities).items():
        if not name.endswith(".crt"):
            lines = [line for line in text.splitlines() if b"-----" not in line and line not in public]
            found[name] = max(lines, key=len)[-40:]
    found["operator key"] = max(identities.operator_key().private.encode().splitlines(), key=len)[-40:]
    for name, host in settings.hosts.items():
        found[f"passphrase of {name}"] = identities.recovery_passphrase(name, host.install_generation).encode()
    return found


def forms(secret: bytes) -> set[bytes]:
    return {secret, base64.b64encode(secret).rstrip(b"="), secret.hex().encode()}


def closure(flake: Flake, derivations: list[str]) -> Iterator[Path]:
    command = ["nix-store", "--query", "--requisites", *derivations]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **flake.env})
    foreign = {entry.removeprefix("path:") for entry in flake.overrides}
    for line in done.stdout.split():
        if line not in foreign:
            path = Path(line)
            yield from [path] if path.is_file() else (file for file in path.rglob("*") if file.is_file())


BUILD = (
    "c: map builtins.unsafeDiscardStringContext [ c.config.system.build.{}.drvPath c.config.system.build.{}.drvPath ]"
)


@pytest.mark.parametrize("host", ["primer", "w1", "c1"])
def test_no_secret_is_in_what_a_machine_is_built_from(sealed: Flake, host: str):
    derivations = sealed.host(f"{STACK}-{host}", BUILD.format("toplevel", "diskoScript"))
    searched, leaks = 0, []
    wanted = {name: forms(secret) for name, secret in canaries().items()}
    for file in closure(sealed, derivations):
        content = file.read_bytes()
        searched += 1
        leaks += [f"{name} in {file}" for name, texts in wanted.items() if any(text in content for text in texts)]
    assert leaks == []
    assert searched > 100, "the search saw the derivations"


def test_the_search_finds_a_secret_that_leaks(sealed: Flake):
    """A check that cannot fail proves nothing: put a token into the store and find it."""
    token = agefiles.texts(stacks.settings(STACK), Identities(ROOT, STACK))["agent-token"].decode()
    module = f"{{ environment.etc.leak.text = {json.dumps(token)}; }}"
    derivations = sealed.changed(f"{STACK}-w1", module, BUILD.format("toplevel", "diskoScript"))
    assert any(token.encode() in file.read_bytes() for file in closure(sealed, derivations))


def test_a_machine_decrypts_what_its_role_needs_and_no_more(flake: Flake):
    names = "c: builtins.attrNames c.config.age.secrets"
    for stack, host in (("home-cloud", "primer"), ("home-cloud", "c1"), ("ten", "s1"), ("vps", "door")):
        role = stacks.settings(stack).hosts[host].role
        sent = set(agefiles.SECRETS_BY_ROLE[role])
        read = set(flake.host(f"{stack}-{host}", names))
        assert read <= sent, f"{role}: not written by `keystone facts`"
        # the same key under its plain name, for programs outside the machine's modules
        assert sent - read <= {"service-account-key"}, f"{role}: written, but nothing reads it"
