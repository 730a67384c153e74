"""The Primer's unit `keystone-pool-keys`: mints mesh keys into SSM parameters, as nix/modules/mesh/pool-keys.nix does.

On a machine a timer starts it, every twelve hours and after a failure a minute later; here a failure is tried again
within seconds, because the twin's whole life may be shorter than that minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from typing import Any, Protocol

import httpx

from keystone.errors import KeystoneError
from twin.services import InstalledSystem, UnitState
from twin.services.aws_calls import ssm, web_identity
from twin.services.kube import Kube
from twin.supervisor import Supervisor

log = logging.getLogger("twin.pool_keys")
UNIT = "keystone-pool-keys"
EVERY_SECONDS = 12 * 3600.0
AGAIN_SECONDS = 3.0
RUN_SECONDS = 120.0
AUDIENCE = "sts.amazonaws.com"
ACCOUNT = "/api/v1/namespaces/keystone-system/serviceaccounts/pool-keys/token"
TOKEN_SECONDS = 3600


class Client(Protocol):
    """The unit whose client program mints keys."""

    def client(self, argv: list[str]) -> tuple[list[str], dict[str, str]]: ...


class PoolKeys:
    """The unit and its timer. `kube` gives an administrator's client, which the caller closes."""

    unit = UNIT

    def __init__(
        self,
        system: InstalledSystem,
        endpoints: dict[str, str],
        headscale: Client,
        kube: Callable[[], Kube],
        supervisor: Supervisor,
    ) -> None:
        self.system = system
        self._endpoints = endpoints
        self._headscale = headscale
        self._kube = kube
        self._supervisor = supervisor
        self._timer: asyncio.Task[None] | None = None
        self._running = asyncio.Lock()
        self._problem = ""
        self._minted: set[str] = set()

    async def start(self) -> None:
        """The first time only the timer begins, as at a boot; later the unit runs at once and this waits for it.

        Raises KeystoneError with what failed.
        """
        if self._timer is None:
            self._timer = asyncio.create_task(self._keep_time(), name=f"{self.system.name} {UNIT}")
            return
        await asyncio.wait_for(self._run(), RUN_SECONDS)

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._timer
            self._timer = None
        self._problem = ""

    def active(self) -> bool:
        """Never for long: it is a unit that runs to its end."""
        return False

    def state(self) -> UnitState:
        # Before the program has made role and parameters there is nothing to fail at.
        return "failed" if self._problem and self._minted else "inactive"

    def problem(self) -> str:
        return self._problem

    def client(self, argv: list[str]) -> tuple[list[str], dict[str, str]]:
        raise KeystoneError(UNIT, f"has no client program to run {argv} with")

    async def _keep_time(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._run(), RUN_SECONDS)
            except (KeystoneError, TimeoutError):
                await asyncio.sleep(AGAIN_SECONDS)
            except Exception:
                log.exception("%s failed", UNIT)
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                await asyncio.sleep(EVERY_SECONDS)

    async def _run(self) -> None:
        async with self._running:
            try:
                token = await self._token()
                for name, pool in sorted(self.system.host["pools"].items()):
                    await self._mint(name, pool, token)
            except (KeystoneError, httpx.HTTPError, OSError) as error:
                said = str(error) or type(error).__name__
                if said != self._problem:
                    log.info("%s: %s", UNIT, said)
                self._problem = said
                raise KeystoneError(UNIT, said) from None
            self._problem = ""

    async def _token(self) -> str:
        """`kubectl create token pool-keys --audience sts.amazonaws.com`."""
        spec = {"audiences": [AUDIENCE], "expirationSeconds": TOKEN_SECONDS}
        async with self._kube() as kube:
            made = await kube.create(
                ACCOUNT, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
            )
        return made["status"]["token"]

    async def _mint(self, name: str, pool: dict[str, Any], token: str) -> None:
        region = pool["region"]
        credentials = await web_identity(self._url("sts"), pool["roleArn"], f"keystone-{self.system.name}", token)
        place = self._url("ssm"), region, credentials
        # A put would make a parameter that is not there yet, and Pulumi, whose it is, would find its name taken.
        await ssm(*place, "GetParameter", {"Name": pool["parameter"]})
        key = await self._key(pool)
        given = {"Name": pool["parameter"], "Value": key, "Type": "SecureString", "Overwrite": True}
        given |= {"KeyId": pool["keyId"]} if pool.get("keyId") else {}
        await ssm(*place, "PutParameter", given)
        self._minted.add(name)
        log.info("%s: a new key is in %s", name, pool["parameter"])

    async def _key(self, pool: dict[str, Any]) -> str:
        """A reusable, ephemeral, tagged key."""
        words = ["preauthkeys", "create", "--reusable", "--ephemeral", "--expiration", f"{pool['keyHours']}h"]
        argv, environment = self._headscale.client([*words, "--tags", ",".join(pool["tags"]), "--output", "json"])
        code, output, errors = await self._supervisor.run(argv, environment, limit=30.0)
        if code != 0:
            raise KeystoneError("headscale preauthkeys", errors.decode(errors="replace").strip()[-300:])
        return json.loads(output)["key"]

    def _url(self, service: str) -> str:
        found = self._endpoints.get(service) or self._endpoints.get("default")
        if not found:
            raise KeystoneError(UNIT, f"the stack file has no endpoint for {service}", "The twin reaches no other AWS")
        return found
