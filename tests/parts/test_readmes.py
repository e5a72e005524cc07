"""The commands of the READMEs do what the READMEs say, against the real servers."""

from __future__ import annotations

import asyncio
import hashlib
import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from workshop.agent.practice_browser import approve_login

if TYPE_CHECKING:
    from tests.parts.conftest import RunningServer

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = 120

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "curl", "openssl"))), reason="needs bash, curl and openssl"
)


def commands(folder: str, heading: str, file: str = "README.md") -> str:
    """The shell blocks under one heading of a part's lesson, or of the page beside it."""
    text = (ROOT / "parts" / folder / file).read_text(encoding="utf-8")
    (section,) = [part for part in text.split("\n## ") if part.startswith(f"{heading}\n")]
    return "".join(BLOCK.findall(section))


def moved(script: str, ports: Mapping[int, int]) -> str:
    """The same commands, at the ports of this test."""
    return re.sub(r"localhost:(\d+)", lambda match: f"localhost:{ports[int(match[1])]}", script)


def shell(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", "-c", script],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(script: str) -> str:
    with shell(script) as process:
        output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    return output


def test_part_1_can_be_played_by_hand() -> None:
    output = run(commands("01_agent_loop", "Change this and see"))
    assert "'open_issues': 4" in output
    assert "GPX export drops the last waypoint" in output
    assert "The file has eight: the car park at the end is gone" in output
    assert '"enum"' in output


def test_part_2_answers_lines_typed_by_hand(tmp_path: Path) -> None:
    script = commands("02_local_mcp", "Change this and see")
    for number in (1, 2):  # a person pauses until the answer is there, however long that takes
        answer = shlex.quote(str(tmp_path / f"answer-{number}"))
        wait = f"for _ in $(seq 900); do grep -qs '\"id\":{number}' {answer} && break; sleep 0.1; done"
        script = script.replace("sleep 2)", f"{wait})", 1)
        script = re.sub(r"server\.py(?! \| tee)", f"server.py | tee {answer}", script, count=1)
    output = run(script)
    assert '"name": "slow_count"' in output
    assert '"protocolVersion":"2025-11-25"' in output
    assert '"structuredContent":{"result":42.0}' in output


def test_part_3_is_asked_with_curl(part_3: int) -> None:
    script = moved(commands("03_toolhive", "With curl", "by-hand.md"), {8081: part_3})
    output = run(script)
    assert re.search(r"^session: \S+$", output, re.MULTILINE)
    assert "as the operator describes it" in output
    assert "slow_count" not in output
    assert "GPX export drops the last waypoint" in output
    assert "-32020" in run(script.replace("Mcp-Name: list_issues", "Mcp-Name: all_issues"))


def test_progress_arrives_event_by_event_once_the_tool_is_shown(http_server: RunningServer) -> None:
    script = commands("03_toolhive", "Change this and see")
    output = run(moved(script, {8081: http_server.port}).replace('"seconds":1', '"seconds":0'))
    events = [
        json.loads(line.removeprefix("data: ")) for line in output.splitlines() if line.startswith("data: ")
    ]
    assert [event["params"]["progress"] for event in events[:-1]] == [1, 2, 3, 4, 5]
    assert events[-1]["result"]["structuredContent"] == {"result": 5}


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("Accept: application/json", "Not Acceptable"),
        ("X-Nothing: special", "Missing session ID"),
        ("Mcp-Session-Id: of-yesterday", "Session not found"),
        ("Host: another-name:8000", "Invalid Host header"),
    ],
)
def test_part_3_s_errors_read_as_the_readme_says(http_server: RunningServer, header: str, says: str) -> None:
    name, _, value = header.partition(": ")
    headers = {"Accept": "application/json, text/event-stream", name: value}
    answer = httpx2.post(
        http_server.url, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, headers=headers
    )
    assert answer.is_error
    assert says in answer.text
    assert f"`{says}`" in (ROOT / "parts" / "03_toolhive" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("01_agent_loop", "The model's endpoint refused the API key"),
        ("01_agent_loop", "The model gave no answer in "),
        ("02_local_mcp", "ended before it answered"),
        ("03_toolhive", "is already in use"),
        ("04_remote_oauth", "Nothing answers at "),
        ("04_remote_oauth", "The login was not approved"),
        ("04_remote_oauth", "The server accepted the agent but has no tools"),
    ],
)
def test_our_own_errors_are_quoted_as_they_are_written(folder: str, says: str) -> None:
    assert says in (ROOT / "parts" / folder / "README.md").read_text(encoding="utf-8")
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "workshop").rglob("*.py"))
    assert any(says in source for source in sources)


@dataclass
class Callback:
    """A server that remembers the one request it gets: the address bar of a person's browser."""

    port: int = 0
    path: str = ""
    arrived: threading.Event = field(default_factory=threading.Event)

    def code(self) -> str:
        assert self.arrived.wait(SECONDS)
        return parse_qs(urlsplit(self.path).query)["code"][0]


@pytest.fixture
def callback() -> Iterator[Callback]:
    seen = Callback()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.path = self.path
            self.send_response(200)
            self.end_headers()
            seen.arrived.set()

        def log_message(self, *_: object) -> None:
            """Say nothing: the path holds a code."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        seen.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield seen
        server.shutdown()
        thread.join(SECONDS)


def test_part_4_s_login_is_done_by_hand(part_4: dict[int, int], callback: Callback) -> None:
    script = moved(_login_by_hand(), {**part_4, 8765: callback.port})
    with shell(script) as process:
        before, url = _read_until_url(process)
        asyncio.run(approve_login(url, "learner"))
        after, errors = process.communicate(f"{callback.code()}\n", timeout=SECONDS)
    assert process.returncode == 0, errors
    assert before.startswith("HTTP/1.1 401 ")
    assert (
        f'resource_metadata="http://localhost:{part_4[8080]}/.well-known/oauth-protected-resource"' in before
    )
    assert '"kid"' in before
    claims = json.loads(after.splitlines()[0])
    assert claims["iss"] == f"http://localhost:{part_4[8080]}"
    assert f"{claims['iss']}/" in claims["aud"]
    assert "learner" in after


def test_part_4_s_commands_show_that_github_never_saw_our_token(
    part_4: dict[int, int], callback: Callback
) -> None:
    script = moved(_login_by_hand(), {**part_4, 8765: callback.port})
    with shell(f'{script}\nprintf "\\n%s" "$TOKEN"') as process:
        _, url = _read_until_url(process)
        asyncio.run(approve_login(url, "mentor"))
        after, _ = process.communicate(f"{callback.code()}\n", timeout=SECONDS)
    token = after.splitlines()[-1]
    ours = hashlib.sha256(token.encode()).hexdigest()
    recorded = httpx2.get(f"http://localhost:{part_4[8090]}/practice/requests").text
    assert '"sha256"' in after
    assert after.count(ours) == 1, "the hash that openssl printed, and not one that GitHub saw"
    assert ours not in recorded
    assert "mentor" in recorded


def _login_by_hand() -> str:
    """The blocks of the page, which are one script, without that of the program, which does the same."""
    page = (ROOT / "parts" / "04_remote_oauth" / "by-hand.md").read_text("utf-8")
    by_program, by_hand = (
        [block for block in BLOCK.findall(page) if block.startswith("workshop ") is named]
        for named in (True, False)
    )
    assert len(by_program) == 1
    return "".join(by_hand)


def _read_until_url(process: subprocess.Popen[str]) -> tuple[str, str]:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        if "/oauth/authorize?" in line and line.startswith("http"):
            return seen, line.strip()
        seen += line
    pytest.fail(f"no address to open:\n{seen}")
