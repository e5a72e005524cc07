"""Claude Code: its own commands add a server, log in, list it, and call a tool; the model alone is ours."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import psutil
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from tests.clients.conftest import Server
from tests.clients.packages import Npm, end_group, started
from tests.servers.gateway.harness import in_thread
from workshop.core.ports import free_port

pytestmark = pytest.mark.timeout(400)
USAGE = {"input_tokens": 1, "output_tokens": 1}


class Claude:
    """The program, with a home and a project of the test's own."""

    def __init__(self, npm: Npm, environment: dict[str, str], project: Path) -> None:
        self.program, self.project = npm.program("claude"), project
        quiet = {
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "ENABLE_TOOL_SEARCH": "false",
        }
        self.environment = npm.to_run({**environment, **quiet, "DISPLAY": "", "TERM": "xterm"})

    def __call__(self, *words: str, **variables: str) -> str:
        """What a command writes; what it may have started ends with it."""
        with started([self.program, *words], self.environment | variables, self.project) as process:
            output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return output

    def log_in(self, name: str, **variables: str) -> None:
        """`claude mcp login`, on the terminal that it wants; the browser of the environment approves."""
        child = pexpect.spawn(
            self.program,
            ["mcp", "login", name],
            env=self.environment | variables,
            cwd=str(self.project),
            timeout=200,
            encoding="utf-8",
        )
        try:
            child.expect(f'Authenticated with "{name}"')
        finally:
            assert child.pid
            end_group(child.pid)
            child.close(force=True)

    @property
    def credentials(self) -> Path:
        return Path(self.environment["HOME"], ".claude", ".credentials.json")


@pytest.fixture
def claude(npm: Npm, approver: dict[str, str], tmp_path: Path) -> Iterator[Claude]:
    project = tmp_path / "project"
    project.mkdir()
    yield Claude(npm, approver, project)
    home = approver["HOME"]
    assert [one.pid for one in psutil.process_iter(["environ"]) if home == _home_of(one)] == []


def _home_of(process: psutil.Process) -> str:
    environment: dict[str, str] = process.info["environ"] or {}
    return environment.get("HOME", "")


@contextmanager
def model(tool: str) -> Iterator[str]:
    """A stand-in for the model's API, on loopback: it calls `tool`, then repeats what the tool answered."""

    async def messages(request: Request) -> StreamingResponse:
        asked = await request.json()
        offered = [each["name"] for each in asked.get("tools", [])]
        said = [part for part in _parts(asked["messages"]) if part.get("type") == "tool_result"]
        answer: dict[str, Any]
        if said or tool not in offered:
            answer = {
                "type": "text",
                "text": json.dumps(said) if said else f"{tool} was not offered",
            }
        else:
            answer = {"type": "tool_use", "id": "toolu_1", "name": tool, "input": {}}
        return StreamingResponse(_stream(answer), media_type="text/event-stream")

    async def other(_: Request) -> JSONResponse:
        return JSONResponse({"input_tokens": 1})

    routes = [
        Route("/v1/messages", messages, methods=["POST"]),
        Route("/{rest:path}", other, methods=["GET", "POST", "HEAD"]),
    ]
    with in_thread(Starlette(routes=routes), free_port()) as url:
        yield url


def _parts(messages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for message in messages:
        if isinstance(message["content"], list):
            yield from message["content"]


def _stream(answer: dict[str, Any]) -> Iterator[str]:
    """One content block as the Messages API streams it."""
    text = answer["type"] == "text"
    begun = {**answer, "text": ""} if text else {**answer, "input": {}}
    delta = (
        {"type": "text_delta", "text": answer["text"]}
        if text
        else {"type": "input_json_delta", "partial_json": "{}"}
    )
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
    for event in (
        {"type": "message_start", "message": {**message, "stop_reason": None, "usage": USAGE}},
        {"type": "content_block_start", "index": 0, "content_block": begun},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn" if text else "tool_use", "stop_sequence": None},
            "usage": USAGE,
        },
        {"type": "message_stop"},
    ):
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"


def test_it_logs_in_lists_calls_and_refreshes(claude: Claude, server: Server) -> None:
    headers = [word for name in server.headers for word in ("--header", f"{name}: ${{X_PAT}}")]
    claude("mcp", "add", "--transport", "http", server.name, server.url, *headers)
    secret = {"X_PAT": "".join(server.headers.values())}
    assert "Needs authentication" in claude("mcp", "list", **secret)
    claude.log_in(server.name, **secret)
    assert "Connected" in claude("mcp", "list", **secret)
    called = f"mcp__{server.name}__{server.tool}"
    with model(called) as url:
        variables = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "sk-for-the-test", **secret}
        answer = claude("-p", "Who am I?", "--allowedTools", called, "--output-format", "json", **variables)
    assert server.answer in json.loads(answer)["result"]
    stored = json.loads(claude.credentials.read_text())
    ((key, login),) = stored["mcpOAuth"].items()
    if login.get("refreshToken"):
        stale = {**login, "accessToken": "stale", "expiresAt": 1}
        claude.credentials.write_text(json.dumps({**stored, "mcpOAuth": {key: stale}}))
        assert "Connected" in claude("mcp", "list", **secret)
        renewed = json.loads(claude.credentials.read_text())["mcpOAuth"][key]
        assert renewed["accessToken"] not in {"stale", login["accessToken"]}
    else:
        assert server.name == "worker"
    assert "Removed" in claude("mcp", "remove", server.name)
