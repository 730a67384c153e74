"""Fixtures of the twin's tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.twin.lab import Lab, pretend_services


@pytest_asyncio.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    """A Primer and a worker, both blank and off; switched off again at the end."""
    lab = Lab(tmp_path)
    pretend_services(lab, monkeypatch)
    yield lab
    await lab.off()
