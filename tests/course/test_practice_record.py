"""The token-swap check: what proves a wrong swap, and what is only a person's mistake."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.auth import OAuthClientInformationFull, OAuthMetadata, OAuthToken

from workshop.agent.token_store import Login, TokenStore
from workshop.core.errors import CheckError
from workshop.course import practice_record
from workshop.course.practice_record import token_swap
from workshop.servers.practice.client import RecordedRequest, fingerprint

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
