"""A client of other people at variations that run for real: public names, TLS in front, github.com."""

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.clients.packages import python_package, run_python
from tests.clients.test_python_clients import FASTMCP
from tests.variations.real_elicitation import URL as GATEWAY
from tests.variations.real_elicitation import real_world
from tests.variations.test_worker_real import URL as WORKER
from tests.variations.test_worker_real import World, world
from workshop.core.paths import checkout_dir

__all__ = ["world"]  # a fixture
pytestmark = pytest.mark.timeout(400)


def fastmcp(cache: Path, home: Path, edge: Mapping[str, str], url: str, tool: str) -> dict[str, object]:
    """What FastMCP's client gets: it logs in, lists, and calls a tool twice, with a refresh between."""
    home.mkdir()
    browser = home / "browser"
    python = shlex.join(["env", f"PYTHONPATH={checkout_dir()}", sys.executable, "-m"])
    browser.write_text(f'#!/bin/sh\nexec {python} tests.variations.visitor browse "$1"\n')
    browser.chmod(0o700)
    environment = {**edge, "HOME": str(home), "BROWSER": f"{browser} %s &"}
    words = ["-c", FASTMCP, url, tool, "{}"]
    done = run_python(python_package(cache, "fastmcp"), words, environment, home)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_fastmcps_client_uses_the_worker(cache: Path, world: World, tmp_path: Path) -> None:
    answer = fastmcp(cache, tmp_path / "home", world.edge.environment, f"{WORKER}/mcp", "get_user_info")
    assert all("learner" in text for text in answer["texts"])  # type: ignore[attr-defined]
    assert answer["renewed"]


def test_fastmcps_client_uses_the_elicitation_gateway(cache: Path, tmp_path: Path) -> None:
    """It does not know URL elicitation, so our agent has connected the account before."""
    (tmp_path / "real").mkdir()
    with real_world(tmp_path / "real") as found:
        assert found.construct().returncode == 0
        tool = "GitHubTarget___getUserProfile"
        found.visit(tool, "{}")
        answer = fastmcp(cache, tmp_path / "home", found.edge.environment, f"{GATEWAY}/mcp", tool)
    assert all("learner" in text for text in answer["texts"])  # type: ignore[attr-defined]
    assert answer["renewed"]
