"""A probe that cannot be made is told of, and ends nothing but itself."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx2

from workshop.audit.compare.evidence import NotSeenError, Unseen
from workshop.core.console import plain
from workshop.core.errors import WorkshopError

T = TypeVar("T")
_LONGEST = 160


async def attempt(seconds: float, probe: Callable[[], Awaitable[T]]) -> T | Unseen:
    """What the probe brings, or why it brought nothing within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await probe()
    except Exception as error:  # noqa: BLE001 - whatever a system does to its probe is a result, not our end
        return Unseen(_shown(_why(error, seconds)))


def _why(error: BaseException, seconds: float) -> str:
    if isinstance(error, NotSeenError):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"no end within {seconds:g} s"
    if isinstance(error, WorkshopError):
        return f"{error.what}: {error.why}" if error.why else error.what
    if isinstance(error, httpx2.HTTPError):
        return f"no answer: {type(error).__name__} {error}".strip()
    if isinstance(error, BaseExceptionGroup):
        return _why(error.exceptions[0], seconds)
    return f"{type(error).__name__}: {error}"


def _shown(text: str) -> str:
    line = plain(" ".join(text.split()))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
