"""Behind a company's proxy: https upstreams through it, this computer never."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.servers.gateway.harness import configured, settings, site
from workshop.auth.outbound import proxy_for
from workshop.core.errors import UsageError

VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY")
GITHUB = "https://api.githubcopilot.com/mcp/"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


CASES = [
    ({}, GITHUB, None),
    ({"HTTPS_PROXY": "http://proxy:3128"}, GITHUB, "http://proxy:3128"),
    ({"https_proxy": "proxy:3128"}, GITHUB, "http://proxy:3128"),
    ({"ALL_PROXY": "http://proxy:3128"}, GITHUB, "http://proxy:3128"),
    ({"HTTP_PROXY": "http://proxy:3128"}, GITHUB, None),
    ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, GITHUB, None),
    ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "x, .githubcopilot.com"}, GITHUB, None),
    (
        {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "githubcopilot.com.evil.test"},
        GITHUB,
        "http://proxy:3128",
    ),
    ({"HTTPS_PROXY": "http://proxy:3128"}, "https://localhost:8443/mcp", None),
    ({"HTTPS_PROXY": "http://proxy:3128"}, "https://[::1]:8443/mcp", None),
    ({"HTTP_PROXY": "http://proxy:3128", "ALL_PROXY": "http://proxy:1"}, "http://127.0.0.1:8090/mcp/", None),
]


@pytest.mark.parametrize(("environment", "url", "proxy"), CASES, ids=range(len(CASES)))
def test_the_environment_reports_which_upstreams_go_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, proxy: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = proxy_for(url)
    assert (str(found) if found else None) == proxy


@pytest.mark.parametrize("address", ["socks5://proxy:1080", "http://", "http://proxy:port", "://"])
def test_a_proxy_that_is_none_is_an_error_without_its_address(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(UsageError, match="HTTPS_PROXY is not the address of a proxy"):
        proxy_for(GITHUB)


@asynccontextmanager
async def refusing_proxy() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A real proxy that writes down who wanted to go where, and lets nobody out."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


async def test_the_relay_and_the_sign_in_go_through_the_proxy_and_tell_it_no_token(
    tmp_path: Path, practice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = settings(tmp_path, upstream=practice) | {"remote_url": GITHUB}
    async with refusing_proxy() as (port, asked):
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:word@127.0.0.1:{port}")
        async with site(configured(tmp_path, values)) as gateway:
            signed_in = await gateway.sign_in()  # at the practice GitHub, which is on loopback
            assert asked == []
            assert (await gateway.call(signed_in.bearer)).status_code == 502
        values["auth"]["upstream"]["token_endpoint"] = "https://github.com/login/oauth/access_token"
        async with site(configured(tmp_path, values)) as gateway:
            arrived = await gateway.code(await gateway.register())
            assert arrived["error"] == "server_error"
    assert [request.splitlines()[0] for request in asked] == [
        b"CONNECT api.githubcopilot.com:443 HTTP/1.1",
        b"CONNECT github.com:443 HTTP/1.1",
    ]
    assert all(b"Proxy-Authorization: Basic " in request for request in asked)
    assert not any(b"\r\nAuthorization:" in request or b"Bearer" in request for request in asked)
