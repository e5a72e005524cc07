"""Part 4 without a cluster: a proxy as a process before the practice GitHub, all of it from the manifests.

The proxy is the embedded gateway or ToolHive's own, and whoever asks cannot tell from here which it is.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import httpx2

from tests.servers.gateway.harness import NO_TLS, Clock, Site, in_thread
from tests.servers.gateway.reading import query_of
from tests.toolhive_real import run_configs
from workshop.core.browser import press
from workshop.core.paths import parts_dir
from workshop.core.ports import free_port
from workshop.lab.base import PRACTICE_CLIENT_ID, Choices, Deployment
from workshop.lab.deployments import Planner, practice_secret, write_secrets
from workshop.servers.gateway.config import GatewayConfig, load
from workshop.servers.practice.app import create_app
from workshop.servers.practice.client import RecordedRequest, read_requests
from workshop.servers.practice.config import PracticeConfig
from workshop.toolhive import manifests, overrides
from workshop.toolhive.manifests import Resources
from workshop.toolhive.secrets import SecretFiles

NAME = "github-remote"
CONTROL = {"X-Practice-Control": "1"}
DEADLINE = 100.0
_ROOT = Path(__file__).resolve().parents[2]
_GATEWAY_SERVES = b"startup complete"
TOOLHIVE_SERVES = b"workload started successfully"
_NOWHERE = """
apiVersion: v1
kind: Config
current-context: nowhere
contexts: [{name: nowhere, context: {cluster: nowhere, user: nobody}}]
clusters: [{name: nowhere, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: nobody, user: {}}]
"""


class Program:
    """One server process; `ready` is in the line of its log that says it serves."""

    def __init__(
        self, command: list[str], folder: Path, ready: bytes, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = command
        self._folder = folder
        self._ready = ready
        self._environment = {**os.environ, **(environment or {})}
        self.log = folder / "log.txt"
        self._running: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        """Start it, and wait for that line."""
        self._running = subprocess.Popen(
            self._command,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self._running, ready))
        self._reader.start()
        if not ready.wait(DEADLINE) or self._running.poll() is not None:
            self.stop()
            raise AssertionError(self.log.read_text(errors="replace")[-4000:])

    def stop(self) -> None:
        """End it, whatever it is doing."""
        if self._running is None or self._reader is None:
            return
        self._running.kill()
        self._running.wait()
        self._reader.join(DEADLINE)

    def _read(self, running: subprocess.Popen[bytes], ready: threading.Event) -> None:
        assert running.stdout
        with running.stdout as lines, self.log.open("ab", buffering=0) as log:
            for line in lines:
                log.write(line)
                if self._ready in line:
                    ready.set()
        ready.set()  # it has ended, which `start` sees


class Visitor(Site):
    """A client and a browser of one place; the browser sends forms as browsers do."""

    async def decide(
        self, page: httpx2.Response, decision: str = "approve", **changes: str
    ) -> httpx2.Response:
        assert not changes
        request = press(self.browser, page, ("decision", decision))
        assert request is not None, page.text
        return await self.browser.send(request)

    async def approve(self, url: str, user: str = "learner") -> dict[str, str]:
        """From an authorization request to what the client's redirect address receives."""
        page = await self.browser.get(url)
        back = await self.at_upstream(await self.decide(page), user)
        return query_of(await self.browser.get(back.headers["location"]))


@dataclass
class Place:
    """One proxy before a practice GitHub of its own."""

    kind: str
    """`gateway` or `toolhive`."""
    program: Program
    practice: str
    config: GatewayConfig
    """As our own gateway reads the manifests; ToolHive's proxy has the same ones."""
    client_id: str = ""
    """A client that is registered here; empty when the proxy knows none of ours."""

    @property
    def url(self) -> str:
        return f"http://localhost:{self.config.port}"

    def restart(self) -> None:
        """End the process and start it again: what it kept in its memory alone is gone."""
        self.program.stop()
        self.program.start()

    @asynccontextmanager
    async def visitor(self) -> AsyncIterator[Visitor]:
        """One person's client and browser."""
        async with self._http(base_url=self.url) as http, self._http() as browser:
            yield Visitor(_elsewhere, self.config, Clock(), self.url, http, browser)

    async def at_github(self) -> list[RecordedRequest]:
        """The MCP requests that the practice GitHub got."""
        return [seen for seen in await read_requests(self.practice) if seen.path.startswith("/mcp")]

    async def revoke_at_github(self, user: str) -> None:
        """Make the user's tokens invalid, as when they take back what they approved."""
        async with self._http() as http:
            fault = {"fault": "revoked", "user": user}
            answer = await http.post(f"{self.practice}/practice/faults", json=fault, headers=CONTROL)
            assert answer.is_success, answer.text

    @staticmethod
    def _http(**options: Any) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(verify=NO_TLS, timeout=DEADLINE, trust_env=False, **options)


async def _elsewhere(*_: object) -> None:
    raise AssertionError("the proxy is another process")


Change = Callable[[Resources], Resources]
"""What a test changes in part 4's resources before anything starts."""


def unchanged(resources: Resources) -> Resources:
    """As they are."""
    return resources


def with_field(resources: Resources, kind: str, name: str, value: object) -> Resources:
    """Give the resources of a kind another value for one field of their `spec`."""
    return Resources(
        tuple(
            replace(found, body={**found.body, "spec": {**found.body["spec"], name: value}})
            if found.kind == kind
            else found
            for found in resources.all
        )
    )


def with_server(resources: Resources, name: str, value: object) -> Resources:
    """Give the embedded authorization server another value for one of its fields."""
    (auth,) = resources.of("MCPExternalAuthConfig")
    server = {**auth.body["spec"]["embeddedAuthServer"], name: value}
    return with_field(resources, "MCPExternalAuthConfig", "embeddedAuthServer", server)


@dataclass(frozen=True)
class Part:
    """Part 4's resources with other addresses, and their secrets on disk."""

    folder: Path
    resources: Resources
    secrets: SecretFiles

    @classmethod
    def at(cls, folder: Path, port: int, practice: str, change: Change = unchanged) -> Self:
        """The proxy at this port, and the practice GitHub at that address instead of GitHub."""
        loaded = change(manifests.load(parts_dir() / "04_remote_oauth" / "toolhive"))
        moved = overrides.with_gateway_port(loaded, NAME, port)
        resources = overrides.with_practice_github(moved, practice, PRACTICE_CLIENT_ID)
        secrets = SecretFiles(folder / "secrets")
        write_secrets(secrets, resources, Choices(upstream="practice"))
        return cls(folder, resources, secrets)

    def gateway(self) -> list[str]:
        """How to start our gateway; its configuration is what the embedded backend writes."""
        deployment = Deployment(4, self.resources, {}, DEADLINE)
        (planned,) = Planner(self.folder, self.secrets, {}).deployment(deployment)
        (self.folder / "config.json").write_text(json.dumps(planned.config), encoding="utf-8")
        (self.folder / NAME).mkdir()  # for its store
        return [
            sys.executable,
            "-m",
            "workshop.servers.gateway",
            "--config",
            str(self.folder / "config.json"),
        ]

    def proxyrunner(self, program: Path) -> list[str]:
        """How to start ToolHive's proxy; its configuration is what the operator writes."""
        (resource,) = self.resources.of("MCPRemoteProxy")
        told = run_configs.proxy(resource, self.resources, self.secrets)
        (self.folder / "runconfig.json").write_text(json.dumps(told, indent=2), encoding="utf-8")
        return [str(program), "run", NAME]


@contextmanager
def gateway(folder: Path, change: Change = unchanged) -> Iterator[Place]:
    """The embedded gateway."""
    with _part(folder, change) as (part, practice):
        program = Program(part.gateway(), folder, _GATEWAY_SERVES, {"PYTHONPATH": str(_ROOT)})
        yield from _running("gateway", part, program, practice)


@contextmanager
def toolhive(folder: Path, proxyrunner: Path, change: Change = unchanged) -> Iterator[Place]:
    """ToolHive's proxy, told that its cluster is where nobody answers: a remote server needs none."""
    with _part(folder, change) as (part, practice):
        part.gateway()  # read by `Place.config` alone
        program = Program(part.proxyrunner(proxyrunner), folder, TOOLHIVE_SERVES, environment(folder))
        yield from _running("toolhive", part, program, practice)


def environment(folder: Path) -> dict[str, str]:
    """For a program of ToolHive's: no cluster, no home but `folder`, and nothing reported to its makers."""
    (folder / "kubeconfig").write_text(_NOWHERE, encoding="utf-8")
    return {
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_STATE_HOME": str(folder),
        "KUBECONFIG": str(folder / "kubeconfig"),
        "TOOLHIVE_RUNTIME": "kubernetes",
        "TOOLHIVE_USAGE_METRICS_ENABLED": "false",
        "TOOLHIVE_SKIP_UPDATE_CHECK": "true",
    }


@contextmanager
def _part(folder: Path, change: Change) -> Iterator[tuple[Part, str]]:
    port = free_port()
    practice_port = free_port(besides=[port])
    part = Part.at(folder, port, f"http://localhost:{practice_port}", change)
    config = PracticeConfig(
        port=practice_port,
        client_id=PRACTICE_CLIENT_ID,
        client_secret=practice_secret(part.secrets).read_text(encoding="utf-8"),
        callback_url=f"http://localhost:{port}/oauth/callback",
        app_name="MCP workshop",
    )
    with in_thread(create_app(config), practice_port) as practice:
        yield part, practice


def _running(kind: str, part: Part, program: Program, practice: str) -> Iterator[Place]:
    config = load(part.folder / "config.json")
    try:
        program.start()
        yield Place(kind, program, practice, config)
    finally:
        program.stop()
