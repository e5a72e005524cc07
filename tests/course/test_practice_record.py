"""The token-swap check: what proves a wrong swap, and what is only a person's mistake."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.shared.auth import OAuthClientInformationFull, OAuthMetadata, OAuthToken

from tests.servers.practice.conftest import config_file, port
from tests.servers.practice.process import Process
from workshop.agent.token_store import Login, TokenStore
from workshop.core.errors import CheckError
from workshop.core.instance import Instance, Record
from workshop.core.seats import record_key
from workshop.course import practice_record
from workshop.course.practice_record import require_token_swap, token_swap, upstream_of
from workshop.lab.base import PRACTICE_GITHUB, SEAT_FILE
from workshop.lab.room import seat_file
from workshop.lab.room.seat_file import Practice, Seat, SeatFile
from workshop.servers.practice.client import RecordedRequest, fingerprint
from workshop.servers.practice.config import RECORD_SECRET
from workshop.servers.practice.tokens import Tokens

__all__ = ["config_file", "port"]
ROOM = "the secret of one room"
ISSUER = "http://localhost:8080"
SERVER, TOKEN = f"{ISSUER}/mcp", "the-agents-token"
OWN = ("practice token", "practice_access_1", 200)
BAD_PAT = ("other", "ghp_mistyped", 401)


def request(kind: str, token: str, status: int) -> RecordedRequest:
    described: dict[str, Any] = {"authorization": {"kind": kind, "sha256": fingerprint(token)}}
    return RecordedRequest(
        number=1,
        time="2026-11-29T12:00:00+00:00",
        method="POST",
        path="/mcp",
        query={},
        headers=described if kind else {},
        form={},
        status=status,
    )


def judged(monkeypatch: pytest.MonkeyPatch, folder: Path, *requests: tuple[str, str, int]) -> str:
    async def read(*_: object) -> Sequence[RecordedRequest]:
        return [request(*each) for each in requests]

    monkeypatch.setattr(practice_record, "read_requests", read)
    metadata = {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/authorize",
        "token_endpoint": f"{ISSUER}/token",
        "response_types_supported": ["code"],
    }
    login = Login(
        resource=SERVER,
        issuer=ISSUER,
        client=OAuthClientInformationFull(client_id="c"),
        authorization_server=OAuthMetadata.model_validate(metadata),
        tokens=OAuthToken(access_token=TOKEN),
    )
    TokenStore(folder).save(login)
    return token_swap("http://localhost:8090", SERVER, folder)


@pytest.fixture
def seat(tmp_path: Path, config_file: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Instance]:
    """An instance in seat 03 of a room, whose practice GitHub has three seats."""
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path / "state"))
    practice = Practice(user="seat-03", namespace="monday", record_key=record_key(ROOM, "seat-03"))
    about = Seat(room="monday", seat="03", namespace="monday-03", practice=practice)
    found = SeatFile(about=about, cluster={"server": "https://localhost:1"}, token="made-up")
    instance = Instance.locate()
    seat_file.write(instance.directory / SEAT_FILE, found)
    endpoints = {PRACTICE_GITHUB: f"http://localhost:{port}", "github-remote": SERVER}
    process = Process(config_file, "--seats", "3", **{RECORD_SECRET: ROOM})
    try:
        process.wait_until_it_serves(port)
        yield instance.save(Record("kubernetes", "practice", endpoints=endpoints))
    finally:
        process.kill()


def test_a_seat_proves_the_token_swap_with_its_own_record(
    seat: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{seat.endpoints[PRACTICE_GITHUB]}/mcp/"

    def post(token: str) -> None:
        httpx2.post(url, headers={"Authorization": f"Bearer {token}"}, json={})

    with pytest.raises(CheckError, match="no stored login"):
        require_token_swap(seat)
    with monkeypatch.context() as patch:
        judged(patch, seat.directory / "logins", OWN)  # saves a login
    post(Tokens(ROOM).issue("seat-01", ("repo",)))
    with pytest.raises(CheckError, match="received no request"):
        require_token_swap(seat)
    post(Tokens(ROOM).issue("seat-03", ("repo",)))
    told = "GitHub received token 2 (its own) 1 time, and token 1 (the agent's) never"
    assert require_token_swap(seat) == told
    assert len(upstream_of(seat).requests_since(datetime.now(UTC) - timedelta(minutes=5))) == 1
    post(TOKEN)
    with pytest.raises(CheckError, match="The agent's own token reached"):
        require_token_swap(seat)


def test_a_bad_token_of_a_persons_own_fails_no_later_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "token 2 (its own) 1 time, and token 1 (the agent's) never" in judged(
        monkeypatch, tmp_path, BAD_PAT, ("", "", 401), OWN
    )


def test_only_refused_tokens_are_a_persons_mistake_and_no_defect_of_toolhive(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(CheckError) as caught:
        judged(monkeypatch, tmp_path, BAD_PAT)
    assert "refused every credential" in caught.value.what
    assert "ToolHive" not in caught.value.hint


@pytest.mark.parametrize(
    "wrong",
    [
        ("other", TOKEN, 401),  # the agent's token, refused or not
        ("jwt", "another-of-the-proxy", 401),
        ("other", "accepted", 200),
        ("", "", 200),
    ],
)
def test_a_token_that_should_never_arrive_fails_the_check_whatever_came_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wrong: tuple[str, str, int]
) -> None:
    with pytest.raises(CheckError) as caught:
        judged(monkeypatch, tmp_path, OWN, wrong)
    assert "#6681" in caught.value.hint
