"""The lessons and the real processes they talk to: part 2's server, gateways, the practice GitHub."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.environment import forked
from tests.fork_server import ForkedProcess
from tests.servers.gateway.harness import settings
from workshop.core.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 60


@dataclass(frozen=True)
class RunningServer:
    """Part 2's server over HTTP: where it answers, and the process."""

    port: int
    process: ForkedProcess

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/mcp"

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Signal the process and return its exit code and the rest of its log."""
        self.process.send_signal(number)
        _, log = self.process.communicate(timeout=STOP_SECONDS)
        return self.process.wait(), log


StartServer = Callable[[Mapping[str, str]], AbstractContextManager[RunningServer]]


@pytest.fixture(scope="session")
def parts() -> Path:
    """The folder of the lessons."""
    return ROOT / "parts"


@pytest.fixture(scope="session")
def server_script(parts: Path) -> Path:
    return parts / "02_local_mcp" / "server.py"


@pytest.fixture(scope="session")
def start_server(server_script: Path) -> StartServer:
    """Start the server over HTTP on a free port, with further environment."""

    @contextlib.contextmanager
    def start(environment: Mapping[str, str]) -> Iterator[RunningServer]:
        port = free_port()
        variables = {**http_environment(port), **environment}
        with forked(str(server_script), folder=server_script.parent, env=variables) as process:
            _wait_until_it_listens(process)
            yield RunningServer(port, process)

    return start


@pytest.fixture(scope="session")
def http_server(start_server: StartServer) -> Iterator[RunningServer]:
    """One server a worker for tests that only ask it things."""
    with start_server({}) as running:
        yield running


def http_environment(port: int) -> dict[str, str]:
    """What ToolHive tells a container, but on loopback; INFO makes the server say when it listens."""
    return {
        "MCP_TRANSPORT": "streamable-http",
        "MCP_PORT": str(port),
        "MCP_HOST": "127.0.0.1",
        "LOG_LEVEL": "INFO",
    }


def _wait_until_it_listens(process: ForkedProcess) -> None:
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        if "Uvicorn running on" in line:
            return
        seen.append(line)
    pytest.fail(f"the server ended before it listened:\n{''.join(seen)}")


@contextlib.contextmanager
def started(module: str, config: Mapping[str, Any], directory: Path) -> Iterator[int]:
    """One of our servers as a process; its port, once it is healthy."""
    path = directory / f"{module}.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    imports = ("workshop.core.serving", f"{module}.app", "workshop.servers.gateway.http_protocol")
    words, log = ("-m", module, "--config", str(path)), directory / f"{module}.log"
    with forked(*words, folder=directory, imports=imports, log=log) as process:
        _until_healthy(config["port"], process)
        yield config["port"]


def _until_healthy(port: int, process: ForkedProcess) -> None:
    """Wait until the port is listened on; the health endpoint then has to answer."""
    running = psutil.Process(process.pid)
    while process.poll() is None:
        listening = [
            connection.laddr.port for connection in running.net_connections("tcp") if not connection.raddr
        ]
        if port in listening:
            assert httpx2.get(f"http://localhost:{port}/health").status_code == 200
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    pytest.fail(f"ended with {process.returncode} before it listened")


def tool_rules() -> dict[str, Any]:
    text = (ROOT / "parts" / "03_toolhive" / "toolhive" / "tools.yaml").read_text(encoding="utf-8")
    spec = yaml.safe_load(text)["spec"]
    return {"filter": spec["toolsFilter"], "override": spec["toolsOverride"]}


@pytest.fixture(scope="session")
def part_3(http_server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Part 3's server behind a gateway, as `up` starts them; the gateway's port. One a worker."""
    directory = tmp_path_factory.mktemp("part-3")
    config = {
        "name": "workshop",
        "port": free_port(),
        "remote_url": http_server.url,
        "store": str(directory / "store.sqlite"),
        "header_forward": {},
        "header_forward_files": {},
        "tools": tool_rules(),
        "auth": None,
    }
    with started("workshop.servers.gateway", config, directory) as port:
        yield port


@pytest.fixture(scope="session")
def part_4(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, int]]:
    """The practice GitHub and a gateway in front of it; the tutorial's ports to those of this worker."""
    directory = tmp_path_factory.mktemp("part-4")
    gateway, practice = free_port(), free_port()
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    secrets = {"key.pem": pem, "hmac": os.urandom(32).hex().encode(), "client": b"practice_test_app"}
    for name, value in secrets.items():
        (directory / name).write_bytes(value)
        (directory / name).chmod(0o600)
    github = {
        "port": practice,
        "client_id": "practice-workshop-app",
        "client_secret_file": str(directory / "client"),
        "callback_url": f"http://localhost:{gateway}/oauth/callback",
        "app_name": "practice",
    }
    with (
        started("workshop.servers.practice", github, directory),
        started("workshop.servers.gateway", remote_proxy(gateway, practice, directory), directory),
    ):
        yield {8080: gateway, 8090: practice}


def remote_proxy(port: int, practice: int, directory: Path) -> dict[str, Any]:
    """The gateway tests' configuration with what part 4's manifest has instead; the secrets exist already."""
    values = settings(directory, upstream=f"http://localhost:{practice}", port=port)
    upstream = values["auth"]["upstream"]
    values["header_forward"] = {"X-MCP-Readonly": "true"}
    upstream["scopes"] = ["repo", "read:user"]
    upstream["userinfo"]["headers"] = {}
    return values
