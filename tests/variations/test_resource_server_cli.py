"""The resource server as a program: stdio, HTTP, and what it says when something is wrong."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import StdioServerParameters

from tests.environment import forked, run_forked
from tests.fork_server import ForkedProcess
from tests.variations.resource_servers import SERVER, ask, load
from workshop.agent.connect import connect
from workshop.core.ports import bind_loopback, free_port

AUTH = {
    "jwks_uri": "https://idp.example.com/keys",
    "issuer": "https://idp.example.com",
    "audience": "https://tools.example.com/mcp",
    "base_url": "https://tools.example.com",
}
LOUD = '''
print("this module says so when it is imported")

def shout(text: str) -> str:
    """Say it loudly."""
    print("and the function too")
    return text.upper()
'''


def config(folder: Path, **settings: Any) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps(settings))
    return str(path)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the program says before it ends with exit code 2, through the parser."""
    before = list(sys.path)
    try:
        with pytest.raises(SystemExit) as caught:
            load("server").main(arguments)
    finally:
        sys.path[:] = before
    written = capsys.readouterr()
    assert caught.value.code == 2
    assert written.out == ""
    assert written.err.startswith("usage: ")
    assert "Traceback" not in written.err
    return written.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "There is no function to serve"),
        (["--ref", "nonsense"], "not a reference to a function. Write `module:function`"),
        (["--ref", "tools:calculat"], "`tools:calculat` is not a function. Is it `calculate`?"),
        (["--ref", "os.path:basename", "--http", "--port", "0"], "`port`"),
        (["--ref", "os.path:basename", "--http", "--port", "70000"], "`port`"),
        (["--ref", "os.path:basename", "--http", "--port", "eight"], "invalid int value"),
        (
            ["--ref", "os.path:basename", "--http", "--host", "0.0.0.0"],
            "Without `auth`, nothing is served at",
        ),
        (["--ref", "os.path:basename", "--name", ""], "`name`"),
        (["--config", "/nonexistent/config.json"], "cannot be read"),
        (["--http", "--config", "/nonexistent/config.json"], "cannot be read"),
        (["--reff", "os.path:basename"], "unrecognized arguments"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_on_the_command_line_is_said_by_the_parser(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"refs": "os.path:basename"}, "`refs`"),
        ({"refs": [1]}, "`refs.1` in"),
        ({"refs": ["os.path:basename"], "reffs": []}, "`reffs`"),
        ({"refs": ["os.path:basename"], "name": 1}, "`name`"),
        (
            {"refs": ["os.path:basename"], "transport": "sse"},
            "must be 'stdio' or 'streamable-http'. It is 'sse'",
        ),
        ({"refs": ["os.path:basename"], "auth": "oauth"}, "auth must be a dict"),
        ({"refs": ["os.path:basename"], "auth": {"type": "magic"}}, "Unsupported auth type 'magic'"),
        ({"refs": ["os.path:basename"], "auth": {**AUTH, "audience": ""}}, "auth needs `audience`"),
        (
            {"refs": ["os.path:basename"], "auth": {}, "transport": "streamable-http", "host": "::"},
            "Without `auth`",
        ),
        ({"refs": ["os.path:basename"], "port": "8000", "transport": "streamable-http"}, "`port`"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_mistake_in_the_file_is_said_by_the_parser(
    settings: dict[str, Any], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in refused(capsys, "--config", config(tmp_path, **settings))


@pytest.mark.parametrize("text", ["[]", "{", "3"])
def test_what_is_no_json_object_is_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    assert "config.json` " in refused(capsys, "--config", str(path))


@contextmanager
def running(*arguments: str) -> Iterator[tuple[ForkedProcess, str]]:
    """The program, once it logs that it serves; and what it wrote until then."""
    with forked(str(SERVER), *arguments, folder=Path.cwd()) as process:
        assert process.stderr is not None
        log = ""
        try:
            for line in process.stderr:
                log += line
                if "Application startup complete" in line:
                    break
            yield process, log
        finally:
            process.terminate()


async def test_options_win_over_the_file_and_refs_add_up(tmp_path: Path) -> None:
    port = free_port()
    path = config(
        tmp_path, name="from the file", refs=["tools:calculate"], port=free_port(), host="localhost"
    )
    options = ("--ref", "os.path:basename", "--name", "from the line", "--http", "--port", str(port))
    url = f"http://localhost:{port}/mcp"
    with running("--config", path, *options) as (process, log):
        assert process.poll() is None, log
        async with connect(url, seconds=60) as client:
            assert client.server_info is not None
            assert client.server_info.name == "from the line"
            assert [tool.name for tool in (await client.list_tools()).tools] == ["calculate", "basename"]
            result = await client.call_tool("calculate", {"operation": "divide", "a": 1, "b": 0})
            assert "Cannot divide by zero" in str(result.content)
        assert (await ask(url, Host="attacker.example")).status_code == 421
        async with httpx2.AsyncClient(trust_env=False) as http:
            assert (await http.get(f"http://127.0.0.1:{port}/health")).json() == {"status": "ok"}
        process.terminate()
        assert process.wait(60) == -signal.SIGTERM


async def test_the_file_alone_serves_with_its_auth_host_and_port(tmp_path: Path) -> None:
    port = free_port()
    here = {"base_url": f"http://localhost:{port}", "audience": f"http://localhost:{port}/mcp"}
    path = config(
        tmp_path,
        name="Conn",
        refs=["os.path:basename"],
        auth=AUTH | here,
        host="127.0.0.1",
        port=port,
        transport="streamable-http",
    )
    with running("--config", path) as (_, log):
        response = await ask(f"http://localhost:{port}/mcp")
    assert response.status_code == 401, log
    assert here["base_url"] in response.headers["www-authenticate"]


@pytest.mark.parametrize(("stateless", "status"), [(True, 200), (False, 400)])
async def test_the_file_says_whether_sessions_are_kept(
    tmp_path: Path, *, stateless: bool, status: int
) -> None:
    port = free_port()
    path = tmp_path / "tools.toml"
    path.write_text(
        f"""port = {port}
transport = "streamable-http"
path = "/tools"
stateless_http = {str(stateless).lower()}
refs = ["os.path:basename"]
"""
    )
    listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}
    with running("--config", str(path)) as (_, log):
        async with httpx2.AsyncClient(trust_env=False) as http:
            answer = await http.post(f"http://localhost:{port}/tools", json=listing, headers=headers)
    assert answer.status_code == status, log


async def test_without_http_it_speaks_over_stdio_whatever_a_module_prints(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(LOUD)
    server = StdioServerParameters(
        command=sys.executable,
        args=[str(SERVER), "--ref", "loud:shout", "--ref", "tools:list_repositories"],
        env={"PYTHONPATH": str(tmp_path)},
    )
    async with connect(server, seconds=60) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["shout", "list_repositories"]
        shouted = await client.call_tool("shout", {"text": "gpx"})
        listed = await client.call_tool("list_repositories", {})
    assert "GPX" in str(shouted.content)
    assert "trail-mapper" in str(listed.structured_content)


def test_a_port_that_is_taken_has_the_exit_code_it_has_everywhere(tmp_path: Path) -> None:
    port = free_port()
    sockets = bind_loopback(port)
    try:
        words = ("--ref", "os.path:basename", "--http", "--port", str(port))
        done = run_forked(str(SERVER), *words, folder=tmp_path)
    finally:
        for sock in sockets:
            sock.close()
    assert done.returncode == 3
    assert f"Port {port} is already in use" in done.stderr
    assert "Traceback" not in done.stderr
