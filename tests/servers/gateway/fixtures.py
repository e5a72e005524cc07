"""Fixtures of the gateway's tests and of the attacks on it: one practice GitHub, reset for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.servers.gateway.harness import (
    ISSUER,
    NO_TLS,
    PRACTICE_CLIENT,
    PRACTICE_SECRET,
    Site,
    configured,
    in_thread,
    settings,
    site,
)
from workshop.core.ports import free_port
from workshop.servers.practice.app import create_app
from workshop.servers.practice.config import PracticeConfig


@pytest.fixture(scope="session")
def practice_server() -> Iterator[str]:
    config = PracticeConfig(
        port=free_port(),
        client_id=PRACTICE_CLIENT,
        client_secret=PRACTICE_SECRET,
        callback_url=f"{ISSUER}/oauth/callback",
        app_name="MCP workshop",
    )
    with in_thread(create_app(config), config.port) as url:
        yield url


@pytest.fixture
def practice(practice_server: str) -> str:
    """The address of a practice GitHub that remembers nothing."""
    address = f"{practice_server}/practice/reset"
    answer = httpx2.post(address, headers={"X-Practice-Control": "1"}, json={}, verify=NO_TLS)
    assert answer.is_success
    return practice_server


@pytest.fixture
async def gateway(tmp_path: Path, practice: str) -> AsyncIterator[Site]:
    async with site(configured(tmp_path, settings(tmp_path, upstream=practice))) as running:
        yield running
