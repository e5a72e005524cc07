"""GitHub as the OAuth app of a variation's gateway, and calls of its REST API with a person's token."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from workshop.auth.config import Upstream, UserInfo
from workshop.auth.config_reader import origin_of
from workshop.auth.limits import RELAY_BYTES
from workshop.auth.outbound import Outbound, proxy_for
from workshop.auth.upstream import AGENT, bounded_answer, reported_failures

_GITHUB, _GITHUB_API = "https://github.com", "https://api.github.com"


def api_of(github: str) -> str:
    """Where the REST API of a GitHub is: its own host on github.com, else the same."""
    return _GITHUB_API if github == _GITHUB else github


def github_app(
    github: str, *, client_id: str, client_secret: str, redirect_uri: str, scopes: tuple[str, ...]
) -> Upstream:
    """The app; people are known by their login."""
    return Upstream(
        name="GitHub",
        authorization_endpoint=f"{github}/login/oauth/authorize",
        token_endpoint=f"{github}/login/oauth/access_token",
        client_id=client_id,
        client_secret=client_secret,
        redirect_uri=redirect_uri,
        scopes=scopes,
        userinfo=UserInfo(url=f"{api_of(github)}/user", subject_fields=("login",)),
    )


@dataclass(frozen=True)
class ApiAnswer:
    """The API's answer: its JSON, its plain text, or None for what is neither.

    `links` are the addresses of its Link header (RFC 8288) by relation.
    """

    status: int
    body: Any
    links: dict[str, str]


def page_of(url: str) -> int | None:
    """The number in the `page` parameter of a link to another page of a list."""
    number = URL(url).query.get("page", "")
    return int(number) if re.fullmatch(r"[0-9]{1,18}", number) else None


async def call_api(
    outbound: Outbound,
    url: str,
    token: str | None,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: Any = None,  # noqa: ANN401 - JSON
) -> ApiAnswer:
    """Call an API, with a bearer token unless it needs none; raises UpstreamError without an answer."""
    sent = {
        **(headers or {}),
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": AGENT,
    }
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    if body is not None:
        sent["Content-Type"] = "application/json"
    data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
    address = URL(url, encoded=True)  # as it was built: nothing in it is resolved or decoded again
    with reported_failures():
        async with (
            asyncio.timeout(outbound.patience.sign_in),
            outbound.session.request(
                method, address, headers=sent, data=data, allow_redirects=False, proxy=proxy_for(url)
            ) as response,
        ):
            links = {relation: str(link["url"]) for relation, link in response.links.items()}
            return ApiAnswer(response.status, await _api_body(response), links)


async def count_items(outbound: Outbound, server: str, answer: ApiAnswer, token: str | None) -> int:
    """How long a list is of which `answer` is the first page: the pages before the last, and what is on that.

    For an API that gives no total. A link to another server than the API's is not followed: it would get the
    token. Raises UpstreamError.
    """
    here = len(answer.body)
    last, following = answer.links.get("last"), answer.links.get("next")
    if last is None or following is None or origin_of(last) != origin_of(server):
        return here
    page, number = await call_api(outbound, last, token), page_of(last)
    return here * (number - 1) + len(page.body) if isinstance(page.body, list) and number else here


async def _api_body(response: aiohttp.ClientResponse) -> Any:  # noqa: ANN401 - an API answers what it likes
    body = await bounded_answer(response.content, RELAY_BYTES)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        is_text = not body or response.content_type == "text/plain"
        return body.decode("utf-8", "replace") if is_text else None
