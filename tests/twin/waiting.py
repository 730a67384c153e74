"""Bounded waiting for the tests of the twin."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(true: Callable[[], bool | Awaitable[bool]], limit: float = 30.0) -> None:
    """Wait until something is so; raises TimeoutError after `limit` seconds."""
    async with asyncio.timeout(limit):
        while True:
            answer = true()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.1)
