"""`workshop login`: what is listed, and what has to be named."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.auth import OAuthClientInformationFull, OAuthMetadata, OAuthToken

from tests.cli.conftest import Workshop
from workshop.agent.token_store import Login, TokenStore
from workshop.cli.login import expiry

ISSUER = "http://localhost:8080"


def stored(resource: str) -> Login:
    metadata = {"issuer": ISSUER, "authorization_endpoint": f"{ISSUER}/a", "token_endpoint": f"{ISSUER}/t"}
    return Login(
        resource=resource,
        issuer=ISSUER,
        client=OAuthClientInformationFull(client_id="0123456789-a-client"),
        authorization_server=OAuthMetadata.model_validate(metadata),
        tokens=OAuthToken(access_token="practice_access", refresh_token="practice_refresh", scope="repo"),
        expires_at=2_000_000_000,
    )


@pytest.fixture
def logins(workshop: Workshop, tmp_path: Path) -> TokenStore:
    return TokenStore(tmp_path / "state" / "default" / "logins")


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, "(expires in "),
        ({"tokens": None}, "(not completed)"),
        ({"expires_at": None}, "(no expiry stated)"),
        ({"expires_at": 1_000_000_000}, "(expired "),
    ],
)
def test_status_shows_how_long_a_login_lasts(
    workshop: Workshop, logins: TokenStore, changes: dict[str, Any], shown: str
) -> None:
    logins.save(stored("http://localhost:8080/mcp").model_copy(update=changes))
    assert f"Login: http://localhost:8080/mcp {shown}" in workshop("status").out


def test_without_logins_both_commands_report_that(workshop: Workshop) -> None:
    for command in (("list",), ("revoke",), ("revoke", "--all")):
        outcome = workshop("login", *command)
        assert (outcome.code, outcome.out) == (0, "No login is stored\n")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "just now; the next run renews it"), (7200, "in 2 h"), (-900, "15 min ago"), (None, "not stated")],
)
def test_the_end_of_a_login_is_shown_as_time_from_now(seconds: int | None, shown: str) -> None:
    now = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
    ends = "not stated" if seconds is None else (now + timedelta(seconds=seconds)).isoformat()
    assert expiry({"expires": ends}, now) == shown


def test_a_login_is_listed_without_its_tokens(workshop: Workshop, logins: TokenStore) -> None:
    logins.save(stored("http://localhost:8080/mcp"))
    table = workshop("login", "list")
    document = workshop("login", "list", "--json")
    (login,) = json.loads(document.out)["data"]
    assert login["resource"] == "http://localhost:8080/mcp"
    assert (login["issuer"], login["scope"], login["client"]) == (ISSUER, "repo", "01234567…")
    assert login["refreshable"] is True
    assert login["expires"].startswith("2033-05-1")
    for word in ("8080/mcp", "repo", "01234567…"):
        assert word in table.out
    assert re.search(r"   in \d+ d   ", table.out), "relative: a person need not calculate"
    for outcome in (table, document):
        assert "practice_" not in outcome.out + outcome.err


def test_of_several_logins_one_has_to_be_named(workshop: Workshop, logins: TokenStore) -> None:
    logins.save(stored("http://localhost:8080/mcp"))
    logins.save(stored("http://localhost:9090/mcp"))
    outcome = workshop("login", "revoke")
    assert outcome.code == 2
    assert "http://localhost:9090/mcp" in outcome.err
    assert workshop("login", "revoke", "http://localhost:9090/mcp", "--forget").code == 0
    assert [login.resource for login in logins.all()] == ["http://localhost:8080/mcp"]


@pytest.mark.parametrize("arguments", [("http://localhost:1/mcp",), ("http://localhost:8080/mcp", "--all")])
def test_a_name_that_fits_nothing_is_a_usage_error(
    workshop: Workshop, logins: TokenStore, arguments: tuple[str, ...]
) -> None:
    logins.save(stored("http://localhost:8080/mcp"))
    assert workshop("login", "revoke", *arguments).code == 2
    assert len(logins.all()) == 1


def test_a_login_that_cannot_be_revoked_stays_until_it_is_to_be_forgotten(
    workshop: Workshop, logins: TokenStore
) -> None:
    logins.save(stored("http://localhost:8080/mcp"))
    outcome = workshop("login", "revoke", "--json")
    document = json.loads(outcome.out)
    assert (outcome.code, document["status"]) == (1, "error")
    assert "no revocation endpoint" in document["data"][0]["told"]
    assert len(logins.all()) == 1
    assert workshop("login", "revoke", "--forget").code == 0
    assert logins.all() == []


def test_a_damaged_login_is_reported_and_left_out(workshop: Workshop, logins: TokenStore) -> None:
    path = logins.path(ISSUER, "http://localhost:8080/mcp")
    path.parent.mkdir(parents=True)
    path.write_text("{")
    outcome = workshop("login", "list")
    assert outcome.out == "No login is stored\n"
    assert "it is damaged" in outcome.err
