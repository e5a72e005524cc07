"""The login against a real authorization server over HTTP: what happens when, and how often."""

import json
import stat
from typing import Any

import anyio
import pytest

from workshop.agent.events import ApprovalNeeded
from workshop.core.errors import CredentialsError, DeadlineError, WorkshopError


def _edit_login(session: Any, **changes: object) -> None:
    (path,) = session.store._directory.glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


async def test_a_first_request_discovers_registers_asks_and_then_gets_through(session: Any) -> None:
    response = await session.get()
    assert response.json() == {"hello": "world"}
    assert session.kinds() == [
        "LoginRequired",
        "ResourceDiscovered",
        "ServerDiscovered",
        "ClientRegistered",
        "ApprovalNeeded",
        "Approved",
        "TokenReceived",
    ]


async def test_every_token_is_asked_for_the_resource_that_the_metadata_names(session: Any) -> None:
    await session.get()
    _edit_login(session, expires_at=1)
    await session.get()
    assert set(session.authority.resources) == {f"{session.authority.url}/"}
    assert session.authority.count("refresh_token") == 1


async def test_no_event_holds_a_token_a_code_or_a_verifier(session: Any) -> None:
    await session.get()
    told = repr([event for event in session.events if not isinstance(event, ApprovalNeeded)])
    stored = session.store.find(session.authority.resource)
    assert stored.tokens.access_token not in told
    assert stored.tokens.refresh_token not in told
    assert "code=" not in repr(session.events)


async def test_parallel_requests_are_in_flight_together(session: Any) -> None:
    """Each answer waits until all five requests have arrived: serialised requests would never be answered."""
    authority, arrived, all_here = session.authority, 0, anyio.Event()

    async def hold() -> None:
        nonlocal arrived
        arrived += 1
        if arrived == 5:
            all_here.set()
        with anyio.fail_after(60):
            await all_here.wait()

    async with session.client() as http, anyio.create_task_group() as group:
        await http.get(authority.resource)
        authority.hold = hold
        for _ in range(5):
            group.start_soon(http.get, authority.resource)
    assert arrived == 5


async def test_parallel_first_requests_lead_to_one_approval(session: Any) -> None:
    async with session.client() as http, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(http.get, session.authority.resource)
    assert session.kinds().count("ApprovalNeeded") == 1


async def test_after_a_restart_a_valid_token_is_used_without_any_login_request(session: Any) -> None:
    await session.get()
    before = len(session.authority.seen)
    assert (await session.get()).status_code == 200
    assert session.authority.seen[before:] == ["resource"]


async def test_after_a_restart_an_expired_token_is_refreshed_without_a_browser(session: Any) -> None:
    await session.get()
    _edit_login(session, expires_at=1)
    before = len(session.authority.seen)
    assert (await session.get()).status_code == 200
    assert session.authority.seen[before:] == ["refresh_token", "resource"]
    assert session.kinds()[-2:] == ["LoginReused", "TokenRefreshed"]


async def test_a_token_revoked_by_the_server_is_refreshed_without_a_browser(session: Any) -> None:
    async with session.client() as http:
        await http.get(session.authority.resource)
        session.authority.access.clear()
        assert (await http.get(session.authority.resource)).status_code == 200
    assert session.kinds().count("ApprovalNeeded") == 1
    assert session.authority.count("refresh_token") == 1


async def test_a_refreshed_token_that_is_refused_too_leads_to_one_login(session: Any) -> None:
    """ToolHive refreshes its own token for ever when GitHub's token is revoked; only a login heals it.

    It also passes GitHub's challenge on as it is, which describes another resource at another server.
    """
    authority = session.authority
    async with session.client() as http:
        await http.get(authority.resource)
        authority.access.clear()
        authority.upstream_revoked = True
        upstream = "https://upstream.example/.well-known/oauth-protected-resource"
        authority.challenge = f'Bearer error="invalid_token", resource_metadata="{upstream}"'
        assert (await http.get(authority.resource)).status_code == 200
    assert authority.count("refresh_token") == 1
    assert session.kinds().count("ApprovalNeeded") == 2


async def test_parallel_refusals_lead_to_one_refresh(session: Any) -> None:
    async with session.client() as http:
        await http.get(session.authority.resource)
        session.authority.access.clear()
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(http.get, session.authority.resource)
    assert session.authority.count("refresh_token") == 1


async def test_two_processes_do_not_spend_the_same_refresh_token_twice(session: Any) -> None:
    async with session.client() as first, session.client() as second:
        await first.get(session.authority.resource)
        await second.get(session.authority.resource)
        session.authority.access.clear()
        assert (await first.get(session.authority.resource)).status_code == 200
        assert (await second.get(session.authority.resource)).status_code == 200
    assert session.authority.count("refresh_token") == 1
    assert session.kinds().count("ApprovalNeeded") == 1


async def test_a_refused_refresh_leads_to_one_new_approval_with_the_same_client(session: Any) -> None:
    await session.get()
    session.authority.access.clear()
    session.authority.refresh.clear()
    assert (await session.get()).status_code == 200
    assert session.kinds().count("ApprovalNeeded") == 2
    assert session.authority.count("register") == 1


async def test_a_token_endpoint_that_is_down_keeps_the_login_for_later(session: Any) -> None:
    await session.get()
    _edit_login(session, expires_at=1)
    session.authority.refreshes, session.authority.refresh_status = False, 503
    with pytest.raises(WorkshopError, match="cannot be refreshed now"):
        await session.get()
    session.authority.refreshes = True
    assert (await session.get()).status_code == 200
    assert session.kinds().count("ApprovalNeeded") == 1


async def test_a_server_that_forgot_everything_gets_a_new_registration_and_one_approval(session: Any) -> None:
    await session.get()
    session.authority.clients.clear()
    session.authority.access.clear()
    session.authority.refresh.clear()
    assert (await session.get()).status_code == 200
    assert session.authority.count("register") == 2
    assert session.kinds().count("ApprovalNeeded") == 2


async def test_a_forgotten_client_is_found_by_asking_before_the_browser_opens(session: Any) -> None:
    await session.get()
    session.authority.access.clear()
    session.authority.refresh.clear()
    session.authority.clients.clear()
    session.authority.clients.add("someone-else")
    _edit_login(session, tokens=None)
    assert (await session.get()).status_code == 200
    assert "ClientForgotten" in session.kinds()
    opened = [event.url for event in session.events if isinstance(event, ApprovalNeeded)]
    assert "client_id=client-1" in opened[0]
    assert "client_id=client-2" in opened[1]


async def test_t41_a_denied_login_is_reported_and_stores_no_token(session: Any) -> None:
    session.authority.approves = False
    with pytest.raises(CredentialsError, match="not approved") as caught:
        await session.get()
    assert caught.value.exit_code == 4
    assert session.store.find(session.authority.resource).tokens is None


async def test_t111_a_login_that_nobody_approves_ends_with_a_deadline(
    session: Any, nobody_comes: Any
) -> None:
    session.approval, session.approval_seconds = nobody_comes, 0.05
    with pytest.raises(DeadlineError, match="Nobody approved") as caught:
        await session.get()
    assert caught.value.exit_code == 5
    assert "Run this again" in caught.value.hint


async def test_t111_after_an_unanswered_login_the_next_run_registers_again(
    session: Any, nobody_comes: Any
) -> None:
    """The page may have said that the client is unknown, which nobody but the person can see."""
    await session.get()
    session.authority.access.clear()
    session.authority.refresh.clear()
    visit = session.approval
    session.approval, session.approval_seconds = nobody_comes, 0.05
    with pytest.raises(DeadlineError):
        await session.get()
    session.approval, session.approval_seconds = visit, 10
    assert (await session.get()).status_code == 200
    assert session.authority.count("register") == 2


async def test_t112_endless_step_up_stops_after_a_few_approvals(session: Any) -> None:
    session.authority.always_insufficient = True
    with pytest.raises(CredentialsError, match="refuses the token"):
        await session.get()
    asked = [event.url for event in session.events if isinstance(event, ApprovalNeeded)]
    assert len(asked) == 2
    assert "scope=repo+offline_access+admin" in asked[1]


async def test_a_server_that_refuses_every_token_gets_one_approval_and_then_an_error(session: Any) -> None:
    class Never(set[str]):
        def __contains__(self, _: object) -> bool:
            return False

    session.authority.access = Never()
    with pytest.raises(CredentialsError, match="refuses the token"):
        await session.get()
    assert session.kinds().count("ApprovalNeeded") == 1


async def test_t113_the_login_is_stored_for_its_owner_only(session: Any) -> None:
    await session.get()
    (path,) = session.store._directory.glob("*.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path == session.store.path(session.authority.url, session.authority.resource)


async def test_the_token_goes_to_the_server_it_was_issued_for_and_nowhere_else(session: Any) -> None:
    async with session.client() as http:
        await http.get(session.authority.resource)
        other = session.authority.url.replace("localhost", "127.0.0.1")
        assert (await http.get(f"{other}/mcp")).status_code == 401
