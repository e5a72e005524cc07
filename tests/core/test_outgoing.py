"""Variables of proxies and TLS, and the name `localhost`: judged, named, and no matter to loopback."""

import socket
from pathlib import Path
from typing import Any

import httpx2
import pytest

from workshop.auth.outbound import proxy_for
from workshop.core.errors import PreflightError
from workshop.core.http_client import open_client, open_local_client
from workshop.core.outgoing import PROXIES, TLS, check_variables, judged_variables, localhost_problem
from workshop.core.ports import bind_loopback, free_port

BAD = {
    "socks5h": ("ALL_PROXY", "socks5h://user:hidden@127.0.0.1:9", "socksio"),
    "socks": ("ALL_PROXY", "socks://proxy:1", "socks://"),
    "scheme": ("HTTP_PROXY", "htp://proxy:1", "htp://"),
    "port": ("HTTPS_PROXY", "http://proxy:port", "port is not a number"),
    "far": ("https_proxy", "http://proxy:99999", "port is not a number"),
    "host": ("https_proxy", "http://:3128", "names no host"),
    "absent": ("SSL_CERT_FILE", "{folder}/absent.pem", "no such file"),
    "empty": ("SSL_CERT_FILE", "{folder}/empty.pem", "no certificates"),
    "garbage": ("SSL_CERT_FILE", "{folder}/garbage.pem", "no certificates"),
    "device": ("SSL_CERT_FILE", "/dev/null", "not a file"),
    "folder": ("SSL_CERT_DIR", "{folder}/absent", "no folder"),
    "log": ("SSLKEYLOGFILE", "{folder}/absent/keys.log", "folder does not exist"),
}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, *(name.lower() for name in PROXIES), *TLS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=BAD)
def bad(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    (tmp_path / "empty.pem").write_bytes(b"")
    (tmp_path / "garbage.pem").write_bytes(b"\x00garbage")
    name, value, problem = BAD[request.param]
    monkeypatch.setenv(name, value.format(folder=tmp_path))
    return name, problem


def test_each_value_is_judged_by_name_and_never_shown(bad: tuple[str, str]) -> None:
    name, problem = bad
    (judged,) = judged_variables()
    assert judged.name == name
    assert problem in judged.problem
    assert name in judged.remedy
    assert "hidden" not in f"{judged}"


@pytest.mark.anyio
async def test_what_stays_on_this_machine_does_not_mind(bad: tuple[str, str]) -> None:
    assert bad
    port = free_port()
    listening = bind_loopback(port)
    for sock in listening:
        sock.close()
    for client in (open_client(), open_local_client()):
        async with client:
            with pytest.raises(httpx2.ConnectError):  # nobody listens: it came as far as connecting
                await client.get(f"http://localhost:{port}/")


@pytest.mark.anyio
async def test_what_goes_out_names_the_variable_first(bad: tuple[str, str]) -> None:
    name, problem = bad
    async with open_client() as client:
        with pytest.raises(PreflightError) as caught:
            await client.get("https://example.invalid/")
    assert name in caught.value.what
    assert problem in caught.value.why
    assert name in caught.value.hint


def test_the_gateway_names_an_unusable_variable_of_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent.pem"))
    assert proxy_for("http://localhost:8090/mcp") is None
    with pytest.raises(PreflightError, match="SSL_CERT_FILE"):
        proxy_for("https://api.githubcopilot.com/mcp/")


def test_usable_values_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("http_proxy", "proxy:3128")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
    check_variables()
    assert [variable.problem for variable in judged_variables()] == [""] * 4


ANSWERS: dict[str, tuple[list[str] | OSError, str]] = {
    "nothing": (socket.gaierror(-2, "Name or service not known"), "no address"),
    "another": (["127.0.1.1"], "127.0.1.1"),
    "loopback": (["::1", "127.0.0.1"], ""),
}


@pytest.mark.parametrize("case", ANSWERS)
@pytest.mark.anyio
async def test_localhost_is_named_when_it_leads_elsewhere(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found, problem = ANSWERS[case]

    def answer(host: str, port: Any, *_: Any, **__: Any) -> list[Any]:
        if isinstance(found, OSError):
            raise found
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port or 0)) for each in found]

    port = free_port()
    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert (problem in localhost_problem()) if problem else localhost_problem() == ""
    async with open_client() as client:
        if problem:
            with pytest.raises(PreflightError) as caught:
                await client.get(f"http://localhost:{port}/")
            assert problem in caught.value.what
            assert "hosts file" in caught.value.hint
        else:
            with pytest.raises(httpx2.ConnectError):
                await client.get(f"http://localhost:{port}/")
