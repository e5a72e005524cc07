"""The processes of the gateway benchmark: upstream, our gateway and its peers, each with files and a log."""

import http.client
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import psutil

from tests.servers.gateway.harness import PRACTICE_CLIENT, PRACTICE_SECRET, settings
from tests.toolhive_real import places, programs
from workshop.core.ports import free_port
from workshop.toolhive.manifests import Resources
from workshop.toolhive.secrets import auth_configs

DISCOVERY = "/.well-known/oauth-authorization-server"
TOOLHIVE = "proxyrunner"
PROXYRUNNER = programs.VARIABLES["thv-proxyrunner"]
_ROOT = Path(__file__).resolve().parents[2]
_DEADLINE = 30.0
_REGISTRATIONS = 1000  # at once, so that logins can follow each other
_REQUEST = re.compile(r"\b(GET|POST|DELETE) (/[^\s?]*)")


@dataclass(frozen=True)
class Server:
    """One process under test; `name` is its column in the table."""

    name: str
    port: int
    process: psutil.Process
    log: Path
    seconds: float
    """From starting the process to its first 200."""
    cpu: float = 0.0
    """Processor time of the process until then, in seconds."""

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process)

    def megabytes(self) -> float:
        return float(self.process.memory_info().rss / 1e6)

    def requests(self) -> list[str]:
        """Method and path of each request so far, out of its log."""
        status(self.port, "/health")  # when this has its answer, the lines before it are written
        lines = self.log.read_text(encoding="utf-8").splitlines()
        found = [match.group(0) for line in lines if (match := _REQUEST.search(line))]
        return [request for request in found if request != "GET /health"]


def cpu_seconds(process: psutil.Process) -> float:
    """Processor time of a process; on Linux in nanoseconds, where `cpu_times` counts in hundredths."""
    tasks = list(Path(f"/proc/{process.pid}/task").glob("*/schedstat"))
    if tasks:
        return sum(int(task.read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9
    times = process.cpu_times()
    return float(times.user + times.system)


@dataclass(frozen=True)
class Field:
    """Where the benchmark takes place: a scratch folder and a running upstream."""

    folder: Path
    upstream: Server
    names: tuple[str, ...]
    """The proxies that can run here: ours, ToolHive's, and the peer in two settings."""

    @contextmanager
    def proxy(self, name: str) -> Iterator[Server]:
        """A fresh proxy, without memory of any earlier one."""
        port = free_port()
        folder = self.folder / f"{name}-{port}"
        folder.mkdir()
        with _running(name, port, self._command(name, folder, port), folder, DISCOVERY) as server:
            yield server

    def _command(self, name: str, folder: Path, port: int) -> list[str]:
        remote = f"{self.upstream.url}/mcp"
        if name == TOOLHIVE:
            return self._toolhive(folder, port, remote)
        config = settings(folder, upstream=self.upstream.url, port=port)
        config["auth"]["registrations"] = {"max_tokens": _REGISTRATIONS, "refill_seconds": 1}
        modules = {"ours": ["workshop.servers.gateway"], "peer": ["tests.benchmarks.gateway_peer"]}
        modules["tuned peer"] = [*modules["peer"], "--tuned"]
        return _module(modules[name], folder, config | {"remote_url": remote})

    def _toolhive(self, folder: Path, port: int, remote: str) -> list[str]:
        part = places.Part.at(folder, port, self.upstream.url, _for_everybody)
        (auth,) = auth_configs(part.resources)
        part.secrets.write_client_secret(auth, PRACTICE_SECRET.encode())
        moved = places.with_field(part.resources, "MCPRemoteProxy", "remoteUrl", remote)
        moved = places.with_field(moved, "MCPRemoteProxy", "headerForward", {})  # ours forwards none either
        return replace(part, resources=moved).proxyrunner(Path(os.environ[PROXYRUNNER]))


def _for_everybody(resources: Resources) -> Resources:
    limit = {"maxTokens": _REGISTRATIONS, "refillPeriod": "1s"}
    return places.with_server(resources, "registrationRateLimit", limit)


@contextmanager
def field(folder: Path, *, with_peer: bool) -> Iterator[Field]:
    """Start the upstream; ToolHive's proxy takes part if it is here, the peer if installed and wanted."""
    port = free_port()
    (folder / "secret").write_text(PRACTICE_SECRET)
    config = {
        "port": port,
        "client_id": PRACTICE_CLIENT,
        "client_secret_file": "secret",
        "callback_url": "http://localhost:8080/oauth/callback",
        "app_name": "Benchmark",
    }
    toolhive = (TOOLHIVE,) if os.environ.get(PROXYRUNNER) else ()
    peers = ("peer", "tuned peer") if with_peer and peer_is_installed() else ()
    command = _module(["tests.benchmarks.gateway_upstream"], folder, config)
    with _running("direct", port, command, folder, "/health") as upstream:
        yield Field(folder, upstream, ("ours", *toolhive, *peers))


def peer_is_installed() -> bool:
    return importlib.util.find_spec("fastmcp") is not None


def _module(module: list[str], folder: Path, config: dict[str, object]) -> list[str]:
    path = folder / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return [sys.executable, "-m", *module, "--config", str(path)]


@contextmanager
def _running(name: str, port: int, command: list[str], folder: Path, probe: str) -> Iterator[Server]:
    log = folder / "log.txt"
    with ExitStack() as stack:
        output = stack.enter_context(log.open("wb"))
        began = time.perf_counter()
        process = _start(command, folder, output)
        stack.callback(_stop, process)
        while status(port, probe) != http.client.OK:
            if process.poll() is not None or time.perf_counter() - began > _DEADLINE:
                raise SystemExit(f"{name} did not start:\n{log.read_text(encoding='utf-8')}")
        seconds = time.perf_counter() - began
        found = psutil.Process(process.pid)
        yield Server(name, port, found, log, seconds, cpu_seconds(found))


def _start(command: list[str], folder: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
    here = {"PYTHONPATH": str(_ROOT)} if command[0] == sys.executable else places.environment(folder)
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **here},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def status(port: int, path: str) -> int | None:
    """The status of a GET, None while nothing answers."""
    connection = http.client.HTTPConnection("localhost", port, timeout=_DEADLINE)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        time.sleep(0.002)
        return None
    finally:
        connection.close()
