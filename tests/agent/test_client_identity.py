"""Who the agent is at an authorization server: registered by itself or by hand, or a document."""

from dataclasses import dataclass, field
from typing import Any, Literal

import httpx2
import pytest
from mcp.shared.auth import OAuthClientInformationFull

from workshop.agent.events import ApprovalNeeded
from workshop.core.errors import CredentialsError

METADATA_URL = "https://agent.example/client.json"


def known_client(session: Any, client_id: str) -> OAuthClientInformationFull:
    session.authority.clients.add(client_id)
    return OAuthClientInformationFull(client_id=client_id, token_endpoint_auth_method="none")


def addresses(session: Any) -> list[str]:
    return [event.url for event in session.events if isinstance(event, ApprovalNeeded)]


async def test_a_client_registered_by_hand_is_used_and_no_other_is_registered(session: Any) -> None:
    session.options = {"client": known_client(session, "by-hand")}
    assert (await session.get()).status_code == 200
    assert "client_id=by-hand" in addresses(session)[0]
    assert session.authority.count("register") == 0


async def test_a_client_registered_by_hand_and_refused_is_reported_and_not_replaced(session: Any) -> None:
    session.options = {"client": known_client(session, "by-hand")}
    session.authority.clients.clear()
    with pytest.raises(CredentialsError, match="does not accept the client 'by-hand'"):
        await session.get()
    assert session.authority.count("register") == 0


async def test_the_login_of_another_client_is_not_used(session: Any) -> None:
    await session.get()
    session.options = {"client": known_client(session, "by-hand")}
    assert (await session.get()).status_code == 200
    assert "client_id=by-hand" in addresses(session)[1]


async def test_after_a_restart_the_login_of_a_client_registered_by_hand_is_used(session: Any) -> None:
    session.options = {"client": known_client(session, "by-hand")}
    await session.get()
    await session.get()
    assert len(addresses(session)) == 1


async def test_a_metadata_document_names_the_agent_where_it_is_taken(session: Any) -> None:
    session.authority.authorization_server["client_id_metadata_document_supported"] = True
    session.authority.clients.add(METADATA_URL)
    session.options = {"client_metadata_url": METADATA_URL}
    assert (await session.get()).status_code == 200
    assert session.authority.count("register") == 0


async def test_where_no_metadata_document_is_taken_the_agent_registers(session: Any) -> None:
    session.options = {"client_metadata_url": METADATA_URL}
    assert (await session.get()).status_code == 200
    assert session.authority.count("register") == 1


@dataclass
class UsesTheOnlyConnection:
    """An approval during which the agent's only connection carries another request."""

    resource: str
    http: httpx2.AsyncClient | None = None
    status: list[int] = field(default_factory=list)
    way: Literal["printed"] = "printed"
    user: str = ""

    async def start(self, url: str) -> None:
        assert self.http is not None
        self.status.append((await self.http.get(self.resource, auth=None, timeout=60)).status_code)
        async with httpx2.AsyncClient(follow_redirects=True) as browser:
            await browser.get(url)


async def test_no_connection_is_held_while_a_person_takes_their_time(session: Any) -> None:
    """A held one would be used again after the login, just when the server may have given it up."""
    session.approval = approval = UsesTheOnlyConnection(session.authority.resource)
    session.limits = httpx2.Limits(max_connections=1)
    async with session.client() as http:
        approval.http = http
        assert (await http.get(session.authority.resource)).status_code == 200
    assert approval.status == [401]
