"""What the official suite tests: a server with every fixture, and our gateway before the practice GitHub."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.clients.conftest import cache, npm
from tests.conformance.servers import everything, gateway
from tests.servers.gateway.fixtures import practice, practice_server
from tests.servers.gateway.harness import settings
from workshop.core.ports import free_port

__all__ = ["cache", "npm", "practice", "practice_server"]


@pytest.fixture
async def everything_url() -> AsyncIterator[str]:
    async with everything() as url:
        yield url


@pytest.fixture
async def issuer(tmp_path: Path, practice: str) -> AsyncIterator[str]:
    """A gateway in front of the practice GitHub."""
    values = settings(tmp_path, upstream=practice, port=free_port())
    values["auth"]["cimd"] = {"enabled": True}  # the suite judges only what the metadata announce
    async with gateway(tmp_path, values) as url:
        yield url
