"""Hostile or broken authorization servers: the login stops before anything is opened or stored."""

from typing import Any

import pytest

from workshop.agent.events import ApprovalNeeded
from workshop.core.errors import WorkshopError


async def _stops(session: Any, words: str) -> None:
    with pytest.raises(WorkshopError, match=words):
        await session.get()
    assert not [event for event in session.events if isinstance(event, ApprovalNeeded)]
    assert session.authority.count("authorize") == 0


@pytest.mark.parametrize(
    "endpoint",
    [
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://x.example/$(touch p)",
        "calc.exe",
        "data:text/html,x",
    ],
)
async def test_t104_an_authorization_endpoint_that_is_no_web_page_is_not_opened(
    session: Any, endpoint: str
) -> None:
    session.authority.authorization_server = {"authorization_endpoint": endpoint}
    await _stops(session, "no authorization server can be found|would lead to")


async def test_t105_metadata_of_another_resource_stops_the_login(session: Any) -> None:
    session.authority.protected_resource = {"resource": "https://elsewhere.example/"}
    await _stops(session, "descriptions disagree")


async def test_t106_metadata_of_another_issuer_stops_the_login(session: Any) -> None:
    session.authority.authorization_server = {"issuer": "https://elsewhere.example"}
    await _stops(session, "descriptions disagree")


@pytest.mark.parametrize("methods", [None, [], ["plain"], ["s256"]])
async def test_t107_a_server_without_s256_is_not_used(session: Any, methods: list[str] | None) -> None:
    session.authority.authorization_server = {"code_challenge_methods_supported": methods}
    await _stops(session, "PKCE with S256")
    assert session.authority.count("register") == 0


@pytest.mark.parametrize(
    ("callback", "words"),
    [
        ({"iss": "https://elsewhere.example"}, "cannot be trusted"),
        ({"iss": None}, "cannot be trusted"),
        ({"code": ["one", "two"]}, "cannot be trusted"),
        ({"code": None}, "cannot be trusted"),
        ({"error": "access_denied", "code": None, "iss": "https://elsewhere.example"}, "cannot be trusted"),
    ],
)
async def test_t108_a_callback_that_cannot_be_trusted_ends_the_login(
    session: Any, callback: dict[str, Any], words: str
) -> None:
    session.authority.callback = callback
    with pytest.raises(WorkshopError, match=words):
        await session.get()
    assert session.authority.count("authorization_code") == 0


async def test_t108_a_callback_with_another_state_changes_nothing(session: Any) -> None:
    session.authority.callback, session.approval_seconds = {"state": "forged"}, 0.2
    with pytest.raises(WorkshopError, match="Nobody approved"):
        await session.get()
    assert session.authority.count("authorization_code") == 0


async def test_t114_metadata_that_redirects_to_another_host_is_not_followed(session: Any) -> None:
    session.authority.metadata_redirect = "http://169.254.169.254/latest/meta-data"
    await _stops(session, "no authorization server can be found")


@pytest.mark.parametrize(
    "address",
    [
        "http://elsewhere.example/prm",
        "http://169.254.169.254/prm",
        "https://10.0.0.7/prm",
        "ftp://localhost/prm",
    ],
)
async def test_t115_resource_metadata_outside_https_and_this_machine_is_not_fetched(
    session: Any, address: str
) -> None:
    session.authority.challenge = f'Bearer resource_metadata="{address}"'
    await _stops(session, "would lead to")


async def test_an_authorization_server_at_an_unsafe_address_is_not_fetched(session: Any) -> None:
    session.authority.protected_resource = {"authorization_servers": ["http://192.168.1.1:8080"]}
    await _stops(session, "would lead to")


@pytest.mark.parametrize("name", ["token_endpoint", "registration_endpoint"])
async def test_secrets_are_not_posted_to_an_unsafe_address(session: Any, name: str) -> None:
    session.authority.authorization_server = {name: "http://elsewhere.example/take"}
    with pytest.raises(WorkshopError, match="would lead to"):
        await session.get()


async def test_metadata_that_never_ends_is_cut_off(session: Any) -> None:
    session.authority.authorization_server = {"padding": "x" * 300_000}
    await _stops(session, "too large")


async def test_a_lifetime_that_is_not_a_time_is_one_error(session: Any) -> None:
    session.authority.access_seconds = 10**400
    with pytest.raises(WorkshopError, match="answer cannot be used"):
        await session.get()
    session.authority.access_seconds = -5
    await session.get()
    session.authority.access_seconds = 10**400
    with pytest.raises(WorkshopError, match="answer cannot be used"):
        await session.get()


@pytest.mark.parametrize("token", ["x\r\ny", "x y", "\u00e9", ""])
async def test_a_token_that_no_header_can_carry_is_not_stored_and_not_shown(session: Any, token: str) -> None:
    session.authority.issued = {"access_token": token}
    with pytest.raises(WorkshopError, match="cannot be sent") as caught:
        await session.get()
    assert not token or token not in caught.value.what + caught.value.why + caught.value.hint
    assert not session.store.all()[0].tokens


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"error": "\xc3"}', b"", b"[]", b'{"error": {}}'])
@pytest.mark.parametrize("endpoint", ["token", "register"])
async def test_an_error_that_cannot_be_read_is_one_error(session: Any, endpoint: str, body: bytes) -> None:
    session.authority.broken = {endpoint: body}
    with pytest.raises(WorkshopError):
        await session.get()
