"""Set up and taken back: ended at any moment, run twice, run in a changed world, and always cleaned."""

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
from tests.variations.elicitation import PROFILE, Gateway, load, told
from workshop.core.ports import free_port
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
    "identity_arn",
    "identity_name",
    "provider_arn",
    "provider_name",
    "target_id",
    "target_name",
    "oauth_callback_url",
    "region",
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

    def write(self, **changes: str) -> None:
        self.path.write_text(json.dumps({**self.config, **changes}))

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
        url = f"{self.config['control']}/control/{path}"
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
        self.end.wait(30)


def killed(setup: Setup, number: int, *words: str, passes_it_on: bool) -> None:
    """Run the script, and kill it at its request `number`."""
    relay = Relay(setup.config["control"], number, passes_it_on)
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


async def test_without_it_there_are_no_tools_and_with_it_there_are(setup: Setup) -> None:
    assert await setup.tools() == []
    lines = setup.done()
    assert [line.split()[:2] for line in lines[:-1]] == [["✓", kind] for kind in ORDER]
    assert PROFILE in await setup.tools()
    assert json.loads(setup.output.read_text()).keys() == TOLD
    for file in (setup.state, setup.output):
        assert file.stat().st_mode & 0o777 == 0o600
    secret = setup.gateway.running.secret("client-secret").decode()
    assert secret not in setup.state.read_text() + setup.output.read_text() + "".join(lines)


async def test_what_exists_already_is_no_error_and_stays(setup: Setup) -> None:
    setup.done()
    before = setup.output.read_text()
    lines = setup.done()
    assert lines[:-1] == [f"· {kind} {name} already exists" for kind, name in NAMES]
    assert setup.output.read_text() == before


async def test_the_last_goes_first_and_nothing_is_left(setup: Setup) -> None:
    setup.done()
    lines = setup.done("--cleanup")
    assert [line.split()[:2] for line in lines] == [["✓", kind] for kind in reversed(ORDER)]
    assert await setup.tools() == []
    assert not setup.state.exists()
    assert not setup.output.exists()
    assert setup.done("--cleanup") == ["· nothing was set up"]


@pytest.mark.parametrize("passes_it_on", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
async def test_ended_at_any_step_it_can_be_cleaned(setup: Setup, number: int, *, passes_it_on: bool) -> None:
    killed(setup, number, passes_it_on=passes_it_on)
    assert begun(setup) == ORDER[:number]
    assert not setup.output.exists()
    lines = setup.done("--cleanup")
    assert lines[0].startswith("✓" if passes_it_on else "·")
    assert len(lines) == number
    for kind, name in NAMES:
        assert setup.control("DELETE", f"{kind}/{name}").json() == {"outcome": "absent"}


@pytest.mark.parametrize("number", [1, 2, 3, 4])
async def test_ended_while_it_cleans_it_goes_on_where_it_was(setup: Setup, number: int) -> None:
    setup.done()
    killed(setup, number, "--cleanup", passes_it_on=True)
    assert begun(setup) == ORDER[: 5 - number]
    setup.done("--cleanup")
    assert not setup.state.exists()
    assert await setup.tools() == []


async def test_ended_half_way_it_can_be_finished(setup: Setup) -> None:
    killed(setup, 3, passes_it_on=True)
    lines = setup.done()
    assert [line[0] for line in lines] == ["·", "·", "·", "✓", "✓"]
    assert PROFILE in await setup.tools()


async def test_a_lost_state_is_found_again(setup: Setup) -> None:
    setup.done()
    setup.state.unlink()
    assert all("already exists" in line for line in setup.done()[:-1])
    setup.done("--cleanup")
    assert await setup.tools() == []


async def test_what_changed_is_brought_up_to_date(setup: Setup) -> None:
    setup.done()
    setup.write(client_id="another-oauth-app")
    lines = setup.done()
    assert [line[0] for line in lines] == ["·", "✓", "·", "·", "✓"]


async def test_the_grants_go_with_the_target(setup: Setup) -> None:
    setup.done()
    async with setup.gateway.browser() as browser, setup.gateway.asking() as asking:
        asking.then = browser.open
        assert told(await asking.client.call_tool(PROFILE))["status"] == "success"
        setup.done("--cleanup")
        setup.done()
        await asking.ask()


async def test_a_grant_is_not_sent_to_another_api(setup: Setup) -> None:
    setup.done()
    async with setup.gateway.browser() as browser, setup.gateway.asking() as asking:
        asking.then = browser.open
        assert told(await asking.client.call_tool(PROFILE))["status"] == "success"
        setup.write(github=f"http://localhost:{free_port()}")
        setup.done()
        await asking.ask()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("workload-identity/other", {}, 400),
        ("workload-identity/other", {"allowed_return_urls": "all"}, 400),
        ("workload-identity/other", {"allowed_return_urls": [], "more": 1}, 400),
        ("oauth2-provider/other", {"callback_url": "http://evil.example/"}, 400),
        ("gateway/other", {"issuer": "http://evil.example", "audience": "x"}, 400),
        (
            "target/other",
            {"gateway": "x", "provider": "x", "identity": "x", "scopes": [], "description": {}},
            409,
        ),
        ("target/other", [], 400),
        ("target/other", None, 400),
        ("role/other", {}, 404),
    ],
)
async def test_the_control_plane_takes_nothing_that_cannot_work(
    setup: Setup, path: str, body: object, status: int
) -> None:
    assert setup.control("PUT", path, body).status_code == status


async def test_what_is_needed_stays_and_what_is_not_allowed_is_refused(setup: Setup) -> None:
    setup.done()
    assert setup.control("DELETE", "oauth2-provider/github-provider").status_code == 409
    nowhere = {"allowed_return_urls": ["http://localhost:1/elsewhere"]}
    assert setup.control("PUT", "workload-identity/mcp-workload", nowhere).json()["outcome"] == "updated"
    assert await setup.tools() == []  # the target's callback may not be returned to any more


@pytest.mark.parametrize(
    ("changes", "code", "what"),
    [
        ({"control": f"http://localhost:{free_port()}"}, 5, "does not answer"),
        ({"issuer": "http://localhost:1"}, 1, "refused the gateway"),
        ({"client_secret_file": "/nowhere"}, 1, "refused the oauth2-provider"),
        ({"url": ""}, 1, "refused the"),
        ({"control_file": "/nowhere/at/all"}, 2, "No such file or directory: /nowhere/at/all"),
    ],
)
async def test_what_goes_wrong_is_reported_and_can_be_cleaned(
    setup: Setup, changes: dict[str, str], code: int, what: str
) -> None:
    setup.write(**changes)
    returned, _, complained = setup.run()
    assert returned == code
    assert complained.startswith("Error: ")
    assert what in complained
    setup.write()
    setup.done("--cleanup")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"state": 1}'])
async def test_a_configuration_that_is_none_is_reported(setup: Setup, text: str) -> None:
    setup.path.write_text(text)
    code, _, complained = setup.run()
    assert (code, complained[:7]) == (2, "Error: ")


@pytest.mark.parametrize("text", ["", "[]", '{"begun": [1]}'])
async def test_a_state_that_is_none_is_reported(setup: Setup, text: str) -> None:
    setup.state.write_text(text)
    code, _, complained = setup.run("--cleanup")
    assert (code, complained[:7]) == (2, "Error: ")
