"""A login begun and left: everything of it but the person."""

import asyncio
import base64
import hashlib
import secrets
from html.parser import HTMLParser
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2

from workshop.toolhive.contracts import MissedError, ProxyContract
from workshop.toolhive.endpoint_checks import STALE, STRANGER, same

_AGENT_CALLBACK = "http://localhost:8765/callback"
_LONGEST_WAIT = 2.0


async def sign_in(http: httpx2.AsyncClient, contract: ProxyContract) -> str:
    """Register once and start a login: all of it but the person (one registration stays behind)."""
    client_id = await _register(http)
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": _AGENT_CALLBACK,
        "code_challenge": _random_challenge(),
        "code_challenge_method": "S256",
        "state": secrets.token_urlsafe(16),
        "resource": contract.resource,
    }
    response = await http.get("/oauth/authorize", params=query)
    if contract.asks_consent:
        response = await _consent(http, response)
    _check_upstream(response, contract)
    through = "its consent page and then " if contract.asks_consent else ""
    return f"A login goes to {through}{urlsplit(contract.upstream_endpoint).netloc}"


async def _register(http: httpx2.AsyncClient) -> str:
    metadata = {
        "client_name": "workshop check",
        "redirect_uris": [_AGENT_CALLBACK],
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }
    response = await http.post("/oauth/register", json=metadata)
    if response.status_code == httpx2.codes.TOO_MANY_REQUESTS:
        await asyncio.sleep(_wait_seconds(response))
        response = await http.post("/oauth/register", json=metadata)  # once more, never in a loop
    if response.status_code == httpx2.codes.TOO_MANY_REQUESTS:
        raise MissedError("Too many registrations at once", "It takes one a second: try again in a few")
    client_id = response.json().get("client_id") if response.status_code == httpx2.codes.CREATED else None
    if not isinstance(client_id, str):
        raise MissedError(f"/oauth/register answered {response.status_code}, not 201", STRANGER)
    return client_id


def _wait_seconds(response: httpx2.Response) -> float:
    told = response.headers.get("retry-after", "1")
    return min(float(told), _LONGEST_WAIT) if told.isdecimal() else _LONGEST_WAIT


async def _consent(http: httpx2.AsyncClient, page: httpx2.Response) -> httpx2.Response:
    form = _Form()
    form.feed(page.text)
    if page.status_code != httpx2.codes.OK or not form.action:
        raise MissedError(f"/oauth/authorize answered {page.status_code} without a consent page", STRANGER)
    return await http.post(urljoin(str(page.url), form.action), data={**form.fields, "decision": "approve"})


def _check_upstream(response: httpx2.Response, contract: ProxyContract) -> None:
    location = response.headers.get("location", "")
    if not response.has_redirect_location:
        raise MissedError(f"A login was answered {response.status_code}, no redirect", STRANGER)
    if location.partition("?")[0] != contract.upstream_endpoint:
        raise MissedError(
            f"A login goes to {location.partition('?')[0]}, not {contract.upstream_endpoint}", STALE
        )
    query = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
    same("client_id", query.get("client_id"), contract.upstream_client_id)
    same("redirect_uri", query.get("redirect_uri"), contract.redirect_uri)
    same("code_challenge_method", query.get("code_challenge_method"), "S256")
    for name in ("state", "code_challenge"):
        if not query.get(name):
            raise MissedError(f"The login it starts at the upstream has no `{name}`", STRANGER)


class _Form(HTMLParser):
    """The first form of a page: where it is sent, and its hidden fields."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = self.action or named.get("action", "")
        elif tag == "input" and named.get("type") == "hidden":
            self.fields[named.get("name", "")] = named.get("value", "")


def _random_challenge() -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(secrets.token_bytes(32)).digest()).decode().rstrip("=")
