"""One practice identity provider a test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.servers.identity.provider import Provider, provider, settings


@pytest.fixture
async def identity(tmp_path: Path) -> AsyncIterator[Provider]:
    async with provider(settings(tmp_path)) as running:
        yield running
