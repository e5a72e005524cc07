"""A login begun and left: everything of it but the person.

ToolHive asks for consent with a page of its own since 0.55, as our gateway does; before, it sent the browser
on at once. The operator on somebody's cluster may be of either kind, so both are right.
"""

import asyncio
import base64
import hashlib
import secrets
from urllib.parse import parse_qs, urlsplit

import httpx2

from workshop.core.browser import following, press
from workshop.lab.cluster.endpoint_checks import STALE, STRANGER, same
from workshop.toolhive.contracts import MissedError, ProxyContract

_AGENT_CALLBACK = "http://localhost:8765/callback"
_LONGEST_WAIT = 2.0
_OTHER_ADDRESS = (
    "It takes the form from the page at its issuer's address alone: is it reached by another one?"
)


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
    through = ""
    if following(response) is None:
        response = await _consent(http, response)
        through = "its consent page and then "
    _check_upstream(response, contract)
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
    approved = press(http, page, ("decision", "approve"))
    if page.status_code != httpx2.codes.OK or approved is None:
        found = f"/oauth/authorize answered {page.status_code}: no redirect, and no consent page"
        raise MissedError(found, STRANGER)
    response = await http.send(approved)
    if following(response) is None:
        plain = response.headers.get("content-type", "").startswith("text/plain")
        said = response.text.strip()[:100] if plain else response.reason_phrase
        raise MissedError(f"The consent form was answered {response.status_code}: {said}", _OTHER_ADDRESS)
    return response


def _check_upstream(response: httpx2.Response, contract: ProxyContract) -> None:
    location = response.headers.get("location", "")
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


def _random_challenge() -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(secrets.token_bytes(32)).digest()).decode().rstrip("=")
