"""The script that sets the elicitation gateway up: run in this process, or killed at one of its requests."""

import copy
import io
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.servers.gateway.harness import NO_TLS
from tests.variations.elicitation import Gateway, load
from workshop.course.lessons import find_variation
from workshop.course.variation_run import variation_running

SCRIPT = find_variation("elicitation").directory / "construct.py"
NAMES = [
    ("workload-identity", "mcp-workload"),
    ("oauth2-provider", "github-provider"),
    ("gateway", "elicitation-gateway"),
    ("target", "GitHubTarget"),
]
ORDER = [kind for kind, _ in NAMES]
CONSTRUCT = load("construct")
TOLD = {
    "gateway_id",
    "gateway_name",
    "gateway_url",
    "gateway_role_arn",
    "gateway_role_name",
    "identity_arn",
    "identity_name",
    "provider_arn",
    "provider_name",
    "target_id",
    "target_name",
    "oauth_callback_url",
    "region",
    "runtime_arn",
    "runtime_id",
    "runtime_role_arn",
    "runtime_role_name",
}


@dataclass
class Setup:
    """A gateway with nothing set up, and the script's configuration for it."""

    gateway: Gateway
    config: dict[str, Any]
    path: Path

    @property
    def state(self) -> Path:
        return Path(self.config["state"])

    @property
    def output(self) -> Path:
        return Path(self.config["output"])

    def write(self, *, github: str = "", provider: dict[str, str] | None = None, **changes: str) -> None:
        """The configuration, with other keys, another address of the API, or another provider."""
        config = copy.deepcopy(self.config) | changes
        config["providers"]["github-provider"] |= provider or {}
        if github:
            config["providers"]["github-provider"]["url"] = github
            config["targets"]["GitHubTarget"]["server"] = github
        self.path.write_text(json.dumps(config))

    def run(self, *words: str) -> tuple[int, str, str]:
        """The script, in this process: exit code, what it said, and what it complained of."""
        said, complained = io.StringIO(), io.StringIO()
        with redirect_stdout(said), redirect_stderr(complained):
            code = CONSTRUCT.main(["--config", str(self.path), *words])
        return code, said.getvalue(), complained.getvalue()

    def done(self, *words: str) -> list[str]:
        code, said, complained = self.run(*words)
        assert (code, complained) == (0, "")
        return said.splitlines()

    def control(self, method: str, path: str, body: object = None) -> httpx2.Response:
        secret = Path(self.config["control_file"]).read_text()
        headers = {"Authorization": f"Bearer {secret}"}
        url = f"{self.config['url']}/control/{path}"
        return httpx2.request(method, url, json=body, headers=headers, trust_env=False, verify=NO_TLS)

    async def tools(self) -> list[str]:
        async with self.gateway.client(await self.gateway.token()) as client:
            return [tool.name for tool in (await client.list_tools()).tools]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with variation_running(find_variation("elicitation"), tmp_path_factory.mktemp("variation")) as running:
        yield Gateway(running)


@pytest.fixture
def setup(gateway: Gateway, tmp_path: Path, anyio_backend: str) -> Setup:
    config = json.loads((gateway.running.directory / "prepare" / "config.json").read_text())
    places = {"state": str(tmp_path / "state.json"), "output": str(tmp_path / "made" / "config.json")}
    made = Setup(gateway, config | places, tmp_path / "construct.json")
    made.write()
    for kind, name in reversed(NAMES):  # whatever the plumbing, or another test, has left
        made.control("DELETE", f"{kind}/{name}")
    return made


@dataclass
class Relay:
    """Stands before the control plane; at request `number` it holds still, before or after passing it on."""

    target: str
    number: int
    passes_it_on: bool
    seen: int = 0
    held: threading.Event = field(default_factory=threading.Event)
    end: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[str]:
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                relay.answer(self)

            do_DELETE = do_PUT  # noqa: N815 - the library's name

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            self.end.set()
            server.shutdown()
            thread.join()
            server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.seen += 1
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        last = self.seen == self.number
        if last and not self.passes_it_on:
            self.hold()
            return
        headers = {"Authorization": handler.headers["Authorization"]}
        url = self.target + handler.path
        passed = httpx2.request(
            handler.command, url, content=body, headers=headers, trust_env=False, verify=NO_TLS
        )
        if last:
            self.hold()
            return
        handler.send_response(passed.status_code)
        handler.send_header("Content-Type", passed.headers["Content-Type"])
        handler.send_header("Content-Length", str(len(passed.content)))
        handler.end_headers()
        handler.wfile.write(passed.content)

    def hold(self) -> None:
        self.held.set()
        self.end.wait(200)


def killed(setup: Setup, number: int, *words: str, passes_it_on: bool) -> None:
    """Run the script, and kill it at its request `number`."""
    relay = Relay(setup.config["url"], number, passes_it_on)
    with relay.running() as url:
        setup.write(control=url)
        argv = [sys.executable, str(SCRIPT), "--config", str(setup.path), *words]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            assert relay.held.wait(60)
            process.send_signal(signal.SIGKILL)
            process.wait(60)
    setup.write()


def begun(setup: Setup) -> list[str]:
    return [kind for kind, _ in json.loads(setup.state.read_text())["begun"]]
