"""A running double of Cloudflare, and a project that makes a tunnel there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clouds.running import Cloud, running
from tests.clouds.tunnel_stage import ACCOUNT, ZONE, Stage


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with running(account=ACCOUNT, zone=ZONE, domain="example.org") as one:
        yield one


@pytest.fixture
def stage(tmp_path: Path, cloud: Cloud) -> Stage:
    return Stage(tmp_path, cloud)
