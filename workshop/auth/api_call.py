"""One GET to an upstream's API with the user's own token: bounded, and never redirected."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from workshop.auth.limits import RELAY_BYTES
from workshop.auth.outbound import Outbound
from workshop.auth.proxies import proxy_for
from workshop.auth.upstream import Trouble, UpstreamError


@dataclass(frozen=True)
class ApiAnswer:
    """What the API said; `links` are the addresses of its Link header (RFC 8288) by relation."""

    status: int
    body: Any
    links: dict[str, str]


def page_of(url: str) -> int | None:
    """The number in the `page` parameter of a link to another page of a list."""
    number = URL(url).query.get("page", "")
    return int(number) if number.isascii() and number.isdigit() else None


async def get(outbound: Outbound, url: str, token: str) -> ApiAnswer:
    """The answer, with None for a body that is no JSON; raises UpstreamError when there is no answer."""
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "mcp-workshop-gateway",
        "Authorization": f"Bearer {token}",
    }
    address = URL(url, encoded=True)  # as it was built: nothing in it is resolved or decoded again
    try:
        async with (
            asyncio.timeout(outbound.patience.sign_in),
            outbound.session.get(
                address, headers=headers, allow_redirects=False, proxy=proxy_for(url)
            ) as response,
        ):
            links = {relation: str(link["url"]) for relation, link in response.links.items()}
            return ApiAnswer(response.status, await _json(response), links)
    except TimeoutError as error:
        raise UpstreamError(Trouble.SLOW) from error
    except (aiohttp.ClientError, OSError) as error:
        raise UpstreamError(Trouble.UNREACHABLE) from error


async def count(outbound: Outbound, answer: ApiAnswer, token: str) -> int:
    """How long a list is of which `answer` is the first page: the pages before the last, and what is on that.

    For an API that gives no total. Raises UpstreamError.
    """
    here = len(answer.body)
    last, following = answer.links.get("last"), answer.links.get("next")
    if last is None or following is None:
        return here
    page, number = await get(outbound, last, token), page_of(last)
    return here * (number - 1) + len(page.body) if isinstance(page.body, list) and number else here


async def _json(response: aiohttp.ClientResponse) -> Any:  # noqa: ANN401 - an API answers what it likes
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > RELAY_BYTES:
            raise UpstreamError(Trouble.UNREADABLE)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
