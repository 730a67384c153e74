"""Fixtures of every test: the recording engine, and one event loop per test."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from keystone.settings import Settings, parse
from tests.recording import Engine, document, run

# The first text that a run draws waits for Hypothesis' table of characters, which a fresh clone has yet to make.
hypothesis.settings.register_profile("keystone", suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("keystone")

# The whole life of a cluster through the commands of users: minutes each, so `make accept` runs them by themselves.
ACCEPTANCE = ("twin/acceptance", "twin/test_pipeline.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what only `make accept` runs."""
    here = Path(__file__).parent
    for item in items:
        path = item.path.relative_to(here).as_posix()
        if path.startswith(ACCEPTANCE):
            item.add_marker(pytest.mark.acceptance)


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
