"""The project's stack `dev-cloud` in a copy of the project, on a network of its own, and what its clouds hold."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.networks import Network
from tests.twin.acceptance.checkout import Checkout, Done
from twin import clouds
from twin.clouds.cloudflare import CONTROL
from twin.env import variables
from twin.site import DEFAULT_PASSPHRASE, Site
from twin.ssh_keys import installer_public_key

STACK = "dev-cloud"
OWN_NETWORK = "127.80.0."


class CloudCheckout(Checkout):
    """A checkout with the stack file as it is checked in, but for its addresses."""

    def __init__(self, folder: Path, network: Network, temporary: Path) -> None:
        super().__init__(folder, STACK, network, {}, temporary)

    def _copy(self) -> None:
        super()._copy()
        text = self.stack_file.read_text().replace(OWN_NETWORK, f"{self.network.base}.")
        document = yaml.safe_load(text)
        for name, host in document["config"]["keystone:hosts"].items():
            host["installerHostKey"] = installer_public_key(str(self.network), name)
        self.stack_file.write_text(yaml.safe_dump(document, sort_keys=False))

    def _environment(self) -> dict[str, str]:
        usual = super()._environment() | {"PULUMI_CONFIG_PASSPHRASE": DEFAULT_PASSPHRASE}
        # What the stand-ins of the clouds need beside that, `make` takes from there too.
        return usual | {
            key: value for key, value in variables(self.stack, self.folder, usual).items() if key not in usual
        }

    def _initialise(self, hosts: Any) -> None:
        """Nothing: the stack file is there, and the engine makes the stack in its backend."""
        assert not hosts
        for folder in ("pulumi", "state"):
            (self.folder / ".twin" / self.stack / folder).mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def config(self) -> dict[str, Any]:
        """The `config` of the stack file."""
        return yaml.safe_load(self.stack_file.read_text())["config"]

    @property
    def pools(self) -> dict[str, int]:
        """How many machines the settings want in each pool of the cloud."""
        pools = self.config.get("keystone:aws", {}).get("nodePools", {})
        return {name: pool.get("desired", pool["min"]) for name, pool in pools.items()}

    @property
    def size(self) -> int:
        """How many nodes the cluster has to have."""
        return len(self.hosts()) + sum(self.pools.values())

    @cached_property
    def _doubles(self) -> dict[str, str]:
        site = Site.read(self.stack, self.folder)
        assert site is not None
        return {name: f"http://{address}:{port}" for name, address, port in clouds.endpoints(site.settings)}

    def at_cloudflare(self) -> list[str]:
        """What exists in the double of Cloudflare: kind and name."""
        return self._ask("objects")

    def writes_at_cloudflare(self) -> list[str]:
        """The requests so far that were no questions."""
        return [f"{one['method']} {one['path']}" for one in self._ask("requests") if one["method"] != "GET"]

    def _ask(self, what: str) -> Any:
        answer = httpx.get(f"{self._doubles[clouds.CLOUDFLARE]}{CONTROL}/{what}", timeout=20, trust_env=False)
        return answer.raise_for_status().json()

    def kubectl(self, *words: str) -> Any:
        """The JSON that kubectl prints on the Primer."""
        return json.loads(self.on("primer", "kubectl", *words, "--output", "json"))

    def verified(self) -> dict[str, int]:
        """How many checks of each group of `keystone verify` hold; all have to."""
        done: Done = self.keystone("verify", "--json", limit=180)
        assert done.ok, done.text
        counts: dict[str, int] = {}
        for check in json.loads(done.stdout)["checks"]:
            counts[check["group"]] = counts.get(check["group"], 0) + 1
        return counts
