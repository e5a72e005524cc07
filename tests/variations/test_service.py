"""What every variation's server has when it runs for real: its file, health, logs, metrics, and secrets."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import httpx2
import pytest
from pydantic import Field

from tests.servers.gateway.harness import MCP_HEADERS, Clock, ec_pem
from tests.servers.gateway.outside import Issuer
from tests.variations.real import Served, served
from workshop.auth import SecretFile, SecretText
from workshop.core.errors import PreflightError, UsageError
from workshop.core.ports import bind_at, bind_loopback, free_port
from workshop.servers.variation.service import Service, load

URL = "https://gateway.example.com"
TOML = """
url = "{url}"
port = {port}
metrics_port = {metrics}
log = "json"
issuer = "https://id.example.com"
jwks_uri = "http://localhost:{closed}/keys"
signing_key_file = "secrets/key.pem"

[[registrations]]
prefix = "github_"
url = "http://localhost:{closed}/mcp"
user_header = "x-github-pat"
credential_file = ".env#DISCOVERY"
"""


@dataclass(frozen=True)
class Real:
    """A gateway that runs, and the port of its metrics."""

    server: Served
    metrics_port: int

    def ask(self, **headers: str) -> httpx2.Response:
        """One MCP request, as a TLS proxy forwards it."""
        sent = {**MCP_HEADERS, "host": "gateway.example.com", **headers}
        url = f"http://127.0.0.1:{self.server.port}/mcp"
        return httpx2.post(url, headers=sent, json={}, trust_env=False)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    folder = tmp_path_factory.mktemp("real")
    (folder / "secrets").mkdir()
    (folder / "secrets" / "key.pem").write_bytes(ec_pem())
    (folder / ".env").write_text("DISCOVERY=the-discovery-credential\n")
    port, metrics, closed = free_port(), free_port(), free_port()
    config = folder / "gateway.toml"
    config.write_text(TOML.format(url=URL, port=port, metrics=metrics, closed=closed))
    with served("prefix-gateway", config, port) as server:
        yield Real(server, metrics)


def test_health_answers_under_any_host_name_and_nothing_else_does(real: Real) -> None:
    for host in ("10.0.0.7:8080", "localhost", "gateway.example.com", "anything.internal"):
        assert real.server.get("/health", host=host).json() == {"status": "ok"}
    assert real.ask(host="10.0.0.7:8080").status_code == 421
    assert real.ask().status_code == 401


def test_the_challenge_names_the_public_address(real: Real) -> None:
    challenge = real.ask().headers["www-authenticate"]
    assert f'resource_metadata="{URL}/.well-known/oauth-protected-resource/mcp"' in challenge


def test_without_the_providers_keys_nobody_is_let_in_or_blamed(real: Real) -> None:
    token = Issuer(Clock(time.time())).token(iss="https://id.example.com", aud=[f"{URL}/mcp"])
    answer = real.ask(authorization=f"Bearer {token}")
    assert answer.status_code == 503
    assert "www-authenticate" not in answer.headers


def test_metrics_are_on_their_own_port_and_count_refusals_by_reason(real: Real) -> None:
    before = real.server.metrics(real.metrics_port)
    real.ask()
    real.ask(authorization="Bearer nobody-knows-this-token")
    real.ask(host="other.example.com")
    real.server.get("/someone's-secret-path", host="gateway.example.com")
    after = real.server.metrics(real.metrics_port)

    def more(sample: str) -> float:
        return after.get(sample, 0) - before.get(sample, 0)

    assert more('workshop_requests_total{method="POST",path="/mcp",status="401"}') == 2
    assert more('workshop_requests_total{method="POST",path="/mcp",status="421"}') == 1
    assert more('workshop_requests_total{method="GET",path="other",status="401"}') == 1
    assert more('workshop_refusals_total{reason="no_token"}') == 2
    assert more('workshop_refusals_total{reason="invalid_token"}') == 1
    assert more('workshop_refusals_total{reason="misdirected_request"}') == 1
    assert real.server.get("/metrics", host="gateway.example.com").status_code == 401
    assert real.server.get("/mcp", port=real.metrics_port).status_code == 404
    shown = real.server.get("/metrics", port=real.metrics_port).text
    assert not [word for word in ("secret-path", "nobody-knows", "discovery") if word in shown]


def test_each_request_is_one_json_line_without_its_token(real: Real) -> None:
    real.ask(authorization="Bearer a-token-that-is-not-logged")
    lines = [json.loads(line) for line in real.server.log.splitlines()]
    requests = [line for line in lines if line.get("path") == "/mcp"]
    assert {"time", "level", "logger", "message", "method", "path", "status", "ms"} == set(requests[-1])
    assert (requests[-1]["method"], requests[-1]["status"]) == ("POST", 401)
    assert "a-token-that-is-not-logged" not in real.server.log
    assert "the-discovery-credential" not in real.server.log


class Holder(Service):
    """A server with two secrets."""

    key: Annotated[SecretFile, Field(alias="key_file")]
    word: Annotated[SecretText, Field(alias="word_file")]


def configured(folder: Path, **values: object) -> Holder:
    (folder / "key").write_bytes(b"\x00binary\n")
    (folder / "own.env").write_text('OTHER=1\nWORD="the secret word"\nEMPTY=\n')
    path = folder / "server.json"
    path.write_text(json.dumps({"url": URL, "key_file": "key", "word_file": "own.env#WORD", **values}))
    return load(Holder, path)


def test_a_secret_is_read_from_a_file_or_a_key_of_env_beside_the_configuration(tmp_path: Path) -> None:
    found = configured(tmp_path)
    assert (found.key, found.word) == (b"\x00binary\n", "the secret word")
    assert "secret" not in repr(found)
    assert "binary" not in repr(found)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"word_file": "own.env#MISSING"}, "`word_file` in `FILE` names MISSING in"),
        ({"word_file": "own.env#EMPTY"}, "which has no such value"),
        ({"word_file": "nowhere"}, "`word_file` in `FILE` cannot be read: "),
        ({"word_file": ""}, "must be the path of a file, or PATH#KEY"),
        ({"word_file": "a\0b"}, "must be the path of a file, or PATH#KEY"),
        ({"key_file": 5}, "`key_file` in `FILE` must be the path of a file"),
        ({"word": "in the file itself"}, "`word` in `FILE` is unknown"),
        ({"url": "https://example.com/tools"}, "`url` in `FILE` must be a scheme and a host, without a path"),
        ({"url": "http://example.com"}, "`url` in `FILE` must be https"),
        ({"port": 0}, "`port` in `FILE` must be a port from 1 to 65535"),
        ({"metrics_port": "9100"}, "`metrics_port` in `FILE` must be a port from 1 to 65535"),
        ({"log": "xml"}, "`log` in `FILE` must be 'text' or 'json'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, values: dict[str, object], what: str) -> None:
    with pytest.raises(UsageError) as caught:
        configured(tmp_path, **values)
    assert what.replace("FILE", str(tmp_path / "server.json")) in caught.value.what
    assert "secret word" not in str(caught.value)


def test_a_missing_key_names_the_readme(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text("port = 8000\n")
    with pytest.raises(UsageError, match=r"`url` in .* is missing") as caught:
        load(Service, path)
    assert "*Use it for real*" in caught.value.hint


def test_a_server_listens_where_it_is_told(tmp_path: Path) -> None:
    port = free_port()
    bound = bind_at("127.0.0.2", port)
    assert [sock.getsockname()[0] for sock in bound] == ["127.0.0.2"]
    taken = bind_loopback(other := free_port())
    with pytest.raises(PreflightError, match=f"Port {other} is already in use"):
        bind_at("localhost", other)
    with pytest.raises(UsageError, match=r"Cannot listen at 192\.0\.2\.7"):
        bind_at("192.0.2.7", port)
    with pytest.raises(UsageError, match="Cannot listen at not-an-address"):
        bind_at("not-an-address", port)
    for sock in (*bound, *taken):
        sock.close()
