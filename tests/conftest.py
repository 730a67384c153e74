"""Fixtures of every test: the recording engine, and one event loop per test."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from keystone.settings import Settings, parse
from tests.recording import Engine, document, run
from twin.env import HERMETIC

# The first text that a run draws waits for Hypothesis' table of characters, which a fresh clone has yet to make.
hypothesis.settings.register_profile("keystone", suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("keystone")

# A test talks to loopback alone; without this the engine looks for the official plugins of every SDK that is installed.
os.environ.update(HERMETIC)

# The whole life of a cluster through the commands of users: minutes each, so `make accept` runs them by themselves.
ACCEPTANCE = ("twin/acceptance", "twin/test_pipeline.py")


# Files with minutes of work begin first, so that no worker is left with one at the end.
LONG = (
    "twin/test_daemon.py",
    "clouds",
    "twin",
    "plugins",
    "policy/test_engine.py",
    "policy/test_in_up.py",
    "test_engine.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what only `make accept` runs, and put what takes long first."""
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(here).as_posix()
        return next((at for at, start in enumerate(LONG) if path.startswith(start)), len(LONG))

    for item in items:
        if item.path.relative_to(here).as_posix().startswith(ACCEPTANCE):
            item.add_marker(pytest.mark.acceptance)
    items.sort(key=place)  # stable: a file's tests stay together and in their order


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all tests of a file, for services that live in it."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def deploy() -> Callable[..., Engine]:
    """`deploy(build, preview=False)` -> the engine with everything that `build` registered."""
    return run


@pytest.fixture(autouse=True)
def _event_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """A fresh loop for each synchronous test: the SDK schedules on the current one and leaves it closed."""
    if request.node.get_closest_marker("asyncio"):
        yield
        return
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()
    asyncio.set_event_loop(None)


@pytest.fixture
def site() -> Settings:
    """A Primer and two workers."""
    return parse(document())
