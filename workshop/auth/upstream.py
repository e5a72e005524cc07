"""The upstream's side of a sign-in: GitHub's OAuth app endpoints, oddities included.

GitHub answers the token request with HTTP 200 even when it fails, form-encoded unless JSON is asked for, and
separates scopes with commas (docs.github.com, authorizing OAuth apps); what it granted is its own affair.
Whatever an upstream sends is bounded in time and size, and none of its text reaches a browser or the log.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from workshop.auth.config import Upstream, UserInfo
from workshop.auth.http import Parameters, visible
from workshop.auth.limits import UPSTREAM_BYTES, Clock
from workshop.auth.outbound import Outbound, Remote, SingleFlight, broken, read_at_most
from workshop.auth.store import EARLY_SECONDS, Grant, Identity, UpstreamTokens
from workshop.auth.store_sqlite import SqliteStore
from workshop.core.encoding import s256
from workshop.core.refusals import Refusal, known_refusal

if TYPE_CHECKING:
    from aiohttp import StreamReader

_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
AGENT = "mcp-workshop-gateway"
_FORM = "application/x-www-form-urlencoded"
_HTTP_OK = 200
_LONGEST_LIFE = 100 * 365 * 24 * 3600  # a number of any length is JSON, and not every one is a time
_FORBIDDEN, _TOO_MANY, _SERVER_ERROR = 403, 429, 500


class Trouble(Enum):
    """What kind of failure an upstream had."""

    REFUSED = "the upstream refused"
    UNREADABLE = "the upstream's answer cannot be used"
    UNREACHABLE = "the upstream cannot be reached"
    SLOW = "the upstream did not answer in time"


class UpstreamError(Exception):
    """A request to the upstream failed; carries the kind, a reason that is on our list, and no other text."""

    def __init__(self, trouble: Trouble, refusal: Refusal | None = None) -> None:
        super().__init__(f"{trouble.value}: {refusal.code}" if refusal else trouble.value)
        self.trouble = trouble
        self.refusal = refusal

    @property
    def sentence(self) -> str:
        """What happened and what helps, for a page or an `error_description`."""
        if self.refusal is None:
            return f"{self.trouble.value[:1].upper()}{self.trouble.value[1:]}."
        return f"{self.refusal.sentence}. {self.refusal.remedy}."

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed in a few minutes."""
        return self.trouble is Trouble.SLOW or (self.refusal or _NONE).code == "userinfo_429"


_NONE = Refusal("", "", "")


@contextlib.contextmanager
def reported_failures() -> Iterator[None]:
    """Raise UpstreamError for a request that gets no answer, or none in time."""
    try:
        yield
    except TimeoutError as error:
        raise UpstreamError(Trouble.SLOW) from error
    except broken() as error:
        raise UpstreamError(Trouble.UNREACHABLE) from error


def code_in(answer: Parameters) -> str:
    """The code that the upstream's page sent the browser back with.

    Raises UpstreamError for any error, also beside a code; `access_denied` is for the caller to tell apart.
    """
    code = answer.get("code")
    if code is None or "error" in answer:
        raise UpstreamError(Trouble.REFUSED, known_refusal(answer.get("error")))
    return code


class UpstreamProvider:
    """The upstream identity provider, as its OAuth application sees it."""

    def __init__(self, config: Upstream, outbound: Outbound, clock: Clock) -> None:
        self._config = config
        self._outbound = outbound
        self._clock = clock
        self._remotes: dict[str, Remote] = {}

    @property
    def name(self) -> str:
        return self._config.name

    @property
    def identity_source(self) -> str:
        """Whose subjects these are: user 1 of the practice GitHub is not user 1 of GitHub."""
        return f"{self._config.name} {self._config.token_endpoint}"

    def request(self, state: str, verifier: str) -> dict[str, str | None]:
        """The parameters that open the upstream's authorization endpoint."""
        return {
            "response_type": "code",
            "client_id": self._config.client_id,
            "redirect_uri": self._config.redirect_uri,
            "scope": " ".join(self._config.scopes) or None,
            "state": state,
            # An upstream without PKCE ignores these two (RFC 6749 section 3.1).
            "code_challenge": s256(verifier),
            "code_challenge_method": "S256",
        }

    async def exchange(self, code: str, verifier: str) -> UpstreamTokens:
        """Raises UpstreamError."""
        redirect_uri = self._config.redirect_uri
        return await self._token_request(
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect_uri,
                "code_verifier": verifier,
            }
        )

    async def refresh(self, tokens: UpstreamTokens) -> UpstreamTokens:
        """New tokens for a refresh token; an upstream that does not rotate it keeps the old one.

        Raises UpstreamError.
        """
        old = tokens.refresh_token or ""
        fresh = await self._token_request({"grant_type": "refresh_token", "refresh_token": old})
        return UpstreamTokens(fresh.access_token, fresh.refresh_token or old, fresh.expires_at)

    async def identity(self, tokens: UpstreamTokens) -> Identity:
        """Who signed in; without a userinfo endpoint, a subject made from the token (ToolHive: `tk-…`).

        Raises UpstreamError.
        """
        info = self._config.userinfo
        if info is None:
            synthesised = hashlib.sha256(tokens.access_token.encode()).hexdigest()[:32]
            return Identity(f"tk-{synthesised}", None, None)
        response = await self._fetch(info.method, info.url, _userinfo_headers(info, tokens.access_token))
        if _HTTP_OK < response.status < _SERVER_ERROR:
            raise UpstreamError(Trouble.REFUSED, known_refusal(f"userinfo_{response.reason}"))
        answer = response.json_object()
        subject = first_text(answer, info.subject_fields)
        if subject is None:
            raise UpstreamError(Trouble.UNREADABLE)
        return Identity(subject, first_text(answer, info.name_fields), first_text(answer, info.email_fields))

    async def _token_request(self, grant: Mapping[str, str]) -> UpstreamTokens:
        credentials = {"client_id": self._config.client_id}
        if self._config.client_secret:  # a public client has none, and a strict server refuses an empty one
            credentials["client_secret"] = self._config.client_secret
        headers = {"Accept": "application/json", "User-Agent": AGENT, "Content-Type": _FORM}
        response = await self._fetch("POST", self._config.token_endpoint, headers, {**grant, **credentials})
        answer = response.json()
        if isinstance(answer, dict) and "error" in answer and response.status < _SERVER_ERROR:
            raise UpstreamError(Trouble.REFUSED, known_refusal(answer["error"]))
        return self._tokens(response.json_object())

    def _tokens(self, answer: Mapping[str, Any]) -> UpstreamTokens:
        access, refresh, seconds = (
            answer.get(name) for name in ("access_token", "refresh_token", "expires_in")
        )
        if str(answer.get("token_type", "bearer")).lower() != "bearer" or not _is_token(access):
            raise UpstreamError(Trouble.UNREADABLE)
        expires_at = None
        if isinstance(seconds, int) and seconds > 0:
            expires_at = self._clock() + min(seconds, _LONGEST_LIFE)
        return UpstreamTokens(str(access), str(refresh) if _is_token(refresh) else None, expires_at)

    async def _fetch(
        self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None = None
    ) -> "_Response":
        sent = [
            (name.encode(), value.encode())
            for name, value in {**headers, "Accept-Encoding": "identity"}.items()
        ]
        remote = self._remotes.get(url) or self._remotes.setdefault(url, Remote(url, self._outbound))
        with reported_failures():
            async with asyncio.timeout(self._outbound.patience.sign_in):
                with await remote.ask(method, sent, urlencode(form or {}).encode()) as answer:
                    body = await bounded_answer(answer.content, UPSTREAM_BYTES)
        return _Response(answer.status, body, answer.headers)


def _userinfo_headers(info: UserInfo, access_token: str) -> dict[str, str]:
    return {
        "Accept": "application/json",
        "User-Agent": AGENT,
        **info.headers,
        # Last, so that a configured header cannot replace it.
        "Authorization": f"Bearer {access_token}",
    }


async def bounded_answer(content: "StreamReader", most: int) -> bytes:
    """The body of an upstream's answer; raises UpstreamError for more than `most` bytes."""
    body = await read_at_most(content, most)
    if body is None:
        raise UpstreamError(Trouble.UNREADABLE)
    return body


@dataclass(frozen=True)
class _Response:
    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def reason(self) -> int:
        """The status; 429 also for a 403 that is GitHub's rate limit (docs.github.com, "Rate limits")."""
        limited = self.headers.get("x-ratelimit-remaining") == "0" or "retry-after" in self.headers
        return _TOO_MANY if self.status == _FORBIDDEN and limited else self.status

    def json(self) -> Any:  # noqa: ANN401 - an upstream answers what it likes
        """The body; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def json_object(self) -> dict[str, Any]:
        """The object in an answer with status 200; raises UpstreamError for any other."""
        if self.status >= _SERVER_ERROR:
            raise UpstreamError(Trouble.UNREACHABLE)
        if self.status != _HTTP_OK:
            raise UpstreamError(Trouble.REFUSED)
        answer = self.json()
        if not isinstance(answer, dict):
            raise UpstreamError(Trouble.UNREADABLE)
        return answer


def _is_token(value: object) -> bool:
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


_LONGEST = 256


def first_text(answer: Mapping[str, Any], fields: tuple[str, ...]) -> str | None:
    """The first field that has a usable value; GitHub's numeric `id` becomes its digits."""
    for field in fields:
        value = answer.get(field)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, str) and (shown := visible(value)):
            return shown[:_LONGEST]
    return None


_LOG = logging.getLogger(__name__)


class UpstreamTokenSource:
    """Gives the token to send upstream; tokens of OAuth apps do not expire and pass straight through."""

    def __init__(self, store: SqliteStore, provider: UpstreamProvider, clock: Clock) -> None:
        self._store = store
        self._provider = provider
        self._clock = clock
        self._flights = SingleFlight[str, UpstreamTokens | None]()

    async def current(self, grant: Grant) -> UpstreamTokens | None:
        """A token that is valid now, or None when the user has to sign in again.

        Raises UpstreamError while the upstream cannot be asked and the old token is past its time.
        """
        tokens = grant.upstream
        if tokens is None or tokens.left(self._clock()) > EARLY_SECONDS:
            return tokens
        if tokens.refresh_token is None:
            return tokens if tokens.left(self._clock()) > 0 else None
        return await self._flights.join(grant.tsid, lambda: self._refresh(grant.tsid))

    async def _refresh(self, tsid: str) -> UpstreamTokens | None:
        grant = self._store.grant(tsid)
        if grant is None or grant.upstream is None or grant.upstream.left(self._clock()) > EARLY_SECONDS:
            return grant.upstream if grant else None
        try:
            fresh = await self._provider.refresh(grant.upstream)
        except UpstreamError as error:
            return self._after_failure(tsid, grant.upstream, error)
        self._store.replace_upstream(tsid, grant.upstream, fresh)
        _LOG.info("upstream token refreshed: client %s", grant.client_id)
        return fresh

    def _after_failure(self, tsid: str, tried: UpstreamTokens, error: UpstreamError) -> UpstreamTokens | None:
        _LOG.warning("upstream token not refreshed: %s", error)
        stored = self._store.grant(tsid)
        if stored is not None and stored.upstream != tried:
            return stored.upstream  # another process was faster, and the upstream takes a refresh token once
        if tried.left(self._clock()) > 0:
            return tried
        if error.trouble is Trouble.REFUSED:
            return None
        raise error
