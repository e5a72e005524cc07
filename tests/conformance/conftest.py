"""npm's judges for the whole session, and the practice GitHub before which our gateway stands."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.npm import PACKAGES, Npm
from tests.conformance.servers import everything, gateway
from tests.servers.gateway.fixtures import practice, practice_server
from tests.servers.gateway.harness import settings
from workshop.core.ports import free_port

__all__ = ["practice", "practice_server"]

FETCH_SECONDS = 240


@pytest.fixture(scope="session")
def npm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Npm:
    """The judges, fetched; a machine that cannot run them skips, unless `REQUIRE_NPM` says that it can.

    Half a gigabyte, so it stays in pytest's cache for the next session.
    """
    if shutil.which("npx") is None:
        _cannot("npx is not installed, and the outside judges are npm packages")
    kept = request.config.cache
    cache = kept.mkdir("judges") if kept else tmp_path_factory.mktemp("judges")
    judges = Npm(cache, tmp_path_factory.mktemp("home"))
    packages = [word for package in PACKAGES for word in ("-p", package)]
    fetched = subprocess.run(
        ["npx", "--yes", *packages, "conformance", "--version"],
        env=judges.environment(),
        cwd=judges.home,
        capture_output=True,
        text=True,
        timeout=FETCH_SECONDS,
        check=False,
    )
    if fetched.returncode:
        _cannot(f"npx could not fetch the outside judges: {fetched.stderr[-300:]}")
    return judges


def _cannot(reason: str) -> None:
    if os.environ.get("REQUIRE_NPM"):
        pytest.fail(reason)
    pytest.skip(reason)


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
