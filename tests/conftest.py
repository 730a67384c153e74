"""Fixtures of every test: the recording engine, and one event loop per test."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from keystone.settings import Settings, parse
from tests.recording import Engine, document, run


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
