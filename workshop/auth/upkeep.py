"""A store in service: what has expired goes every minute, and in the end it is closed."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from workshop.auth.limits import Clock
from workshop.auth.store import Store, StoreUnavailableError

_LOG = logging.getLogger(__name__)
_PURGE_SECONDS = 60.0


@asynccontextmanager
async def kept(store: Store, clock: Clock) -> AsyncIterator[None]:
    """Look after the store for as long as a server runs."""
    upkeep = asyncio.create_task(_purge(store, clock))
    try:
        yield
    finally:
        upkeep.cancel()
        await asyncio.gather(upkeep, return_exceptions=True)
        store.close()


async def _purge(store: Store, clock: Clock) -> None:
    while True:
        try:
            store.purge(clock())
        except StoreUnavailableError as error:
            _LOG.warning("expired rows not deleted: %s", error)
        await asyncio.sleep(_PURGE_SECONDS)
