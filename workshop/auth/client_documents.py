"""Clients that need no registration: their id is the address of a document about them (draft CIMD-02).

Fetched at the authorization endpoint only, where a person waits; the token endpoint never makes a request to
an address a stranger named. What was fetched is cached for as long as HTTP and our bounds allow; a failure is
never cached (section 5.2), so what limits it is the rate of all fetches together.
"""

import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from workshop.auth.clients import (
    GRANT_TYPES,
    application_type,
    client_auth_method,
    client_id_problem,
    client_name,
    read_document,
    redirect_uris,
)
from workshop.auth.config import LONGEST_CACHE_SECONDS, SHORTEST_CACHE_SECONDS, Auth
from workshop.auth.http import OAuthError, scopes_in
from workshop.auth.limits import Clock, TokenBucket
from workshop.auth.outbound import SingleFlight
from workshop.auth.store import Client

_LOG = logging.getLogger(__name__)
# Anybody can open the authorization endpoint with an address of their choice.
_FETCHES_A_SECOND, _FETCH_BURST = 1.0, 5


@dataclass(frozen=True)
class Document:
    """What was fetched: at most 5 KiB that call themselves JSON, and the headers, for the cache."""

    body: bytes
    headers: Mapping[str, str]


Fetch = Callable[[str], Awaitable[Document]]


class DocumentError(Exception):
    """The document cannot be fetched or used; the text reveals nothing about our network, so it is shown."""


class TooManyFetchesError(Exception):
    """More documents are asked for than the gateway wants to fetch."""


class ClientDocuments:
    """Clients by their URL; concurrent sign-ins share one fetch."""

    def __init__(self, config: Auth, fetch: Fetch, clock: Clock) -> None:
        self._config = config
        self._rules = config.documents
        self._fetch = fetch
        self._clock = clock
        self._limit = TokenBucket(_FETCHES_A_SECOND, _FETCH_BURST, clock)
        self._cached: OrderedDict[str, tuple[Client, float]] = OrderedDict()
        self._flights = SingleFlight[str, Client]()

    async def client(self, url: str) -> Client:
        """The client that `url` describes.

        Raises DocumentError, or TooManyFetchesError.
        """
        problem = client_id_problem(url, loopback=self._rules.allow_loopback)
        if problem:
            raise DocumentError(problem)
        client, until = self._cached.get(url, (None, 0.0))
        if client is not None and self._clock() < until:
            return client
        # Waiting for a fetch that is under way costs nothing more.
        if url not in self._flights and not self._limit.take():
            raise TooManyFetchesError
        return await self._flights.join(url, lambda: self._fetched(url))

    async def _fetched(self, url: str) -> Client:
        document = await self._fetch(url)
        try:
            client = _described(url, read_document(document.body), self._config, self._clock())
        except OAuthError as error:
            raise DocumentError(error.description) from error
        self._keep(client, fresh_seconds(document.headers, self._rules.cache_seconds))
        _LOG.info("client metadata fetched: %s", url)
        return client

    def _keep(self, client: Client, seconds: float) -> None:
        self._cached[client.client_id] = (client, self._clock() + seconds)
        self._cached.move_to_end(client.client_id)
        while len(self._cached) > self._rules.cache_size:
            self._cached.popitem(last=False)


def _described(url: str, document: dict[str, Any], config: Auth, now: float) -> Client:
    if document.get("client_id") != url:
        raise DocumentError("The document's client_id is not its own address, character for character")
    if document.keys() & {"client_secret", "client_secret_expires_at"}:
        raise DocumentError("The document has a client secret, which everyone could read")
    # For its refusals only: a client with a public document cannot have a secret.
    client_auth_method(document)
    name = client_name(document)
    # MCP 2025-11-25 requires a name, because the consent page shows it.
    if not name:
        raise DocumentError("The document has no client_name")
    grant_types = _grant_types(document)
    return Client(
        client_id=url,
        name=name,
        redirect_uris=redirect_uris(document),
        grant_types=grant_types,
        scopes=config.client_scopes(_scopes(document, config.scopes), grant_types),
        application_type=application_type(document),
        registered=now,
    )


def _grant_types(document: dict[str, Any]) -> tuple[str, ...]:
    # A document is written for all servers, so unsupported values are ignored.
    value = document.get("grant_types", list(GRANT_TYPES))
    known = tuple(kind for kind in GRANT_TYPES if isinstance(value, list) and kind in value)
    if "authorization_code" not in known:
        raise DocumentError("The document's grant_types lack authorization_code")
    return known


def _scopes(document: dict[str, Any], supported: tuple[str, ...]) -> tuple[str, ...]:
    value = document.get("scope", " ".join(supported))
    named = scopes_in(value) if isinstance(value, str) else ()
    known = tuple(scope for scope in supported if scope in named)
    if not known:
        raise DocumentError("The document's scope has none of this server's scopes")
    return known


_DELTA = re.compile(r"[0-9]{1,9}")


def fresh_seconds(headers: Mapping[str, str], default: float) -> float:
    """Seconds to cache an answer: at least 10, so that a reload does not fetch again, and at most a day."""
    named = {name.lower(): value for name, value in headers.items()}
    return min(LONGEST_CACHE_SECONDS, max(SHORTEST_CACHE_SECONDS, _stated(named, default)))


def _stated(headers: Mapping[str, str], default: float) -> float:
    directives = _directives(headers.get("cache-control", ""))
    # `private` too, because our cache serves everybody (RFC 9111 section 5.2.2.7).
    if directives.keys() & {"no-store", "no-cache", "private"}:
        return 0.0
    age = headers.get("age", "0")
    spent = float(age) if _DELTA.fullmatch(age) else 0.0
    if "max-age" in directives:
        # What cannot be read is stale (RFC 9111 section 4.2.1).
        return float(directives["max-age"]) - spent if _DELTA.fullmatch(directives["max-age"]) else 0.0
    if "expires" in headers:
        return _lifetime(headers) - spent
    return default


def _directives(header: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in header.split(","))
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def _lifetime(headers: Mapping[str, str]) -> float:
    try:
        expires, sent = (parsedate_to_datetime(headers[name]) for name in ("expires", "date"))
        return (expires - sent).total_seconds()
    except (KeyError, ValueError, TypeError):
        return 0.0
