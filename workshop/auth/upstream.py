"""The upstream's side of a sign-in: GitHub's OAuth app endpoints, oddities included.

GitHub answers the token request with HTTP 200 even when it fails, form-encoded unless JSON is asked for, and
separates scopes with commas (docs.github.com, authorizing OAuth apps); what it granted is its own affair.
Whatever an upstream sends is bounded in time and size, and none of its text reaches a browser or the log.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

import aiohttp

from workshop.auth.config_auth import Upstream, UserInfo
from workshop.auth.limits import UPSTREAM_BYTES, Clock
from workshop.auth.outbound import Outbound
from workshop.auth.proxies import proxy_for
from workshop.auth.records import Identity, UpstreamTokens
from workshop.auth.upstream_fields import first_text
from workshop.auth.vault import s256

_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_AGENT = "mcp-workshop-gateway"
_FORM = "application/x-www-form-urlencoded"
_HTTP_OK = 200
_LONGEST_LIFE = 100 * 365 * 24 * 3600  # a number of any length is JSON, and not every one is a time
_SERVER_ERROR = 500


class Trouble(Enum):
    """What kind of failure an upstream had."""

    REFUSED = "the upstream refused"
    UNREADABLE = "the upstream's answer cannot be used"
    UNREACHABLE = "the upstream cannot be reached"
    SLOW = "the upstream did not answer in time"


class UpstreamError(Exception):
    """A request to the upstream failed; carries the kind and none of the upstream's words."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.value)
        self.trouble = trouble


class UpstreamProvider:
    """The upstream identity provider, as its OAuth application sees it."""

    def __init__(self, config: Upstream, outbound: Outbound, clock: Clock) -> None:
        self._config = config
        self._outbound = outbound
        self._clock = clock

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
        answer = await self._fetch(info.method, info.url, _userinfo_headers(info, tokens.access_token))
        subject = first_text(answer, info.subject_fields)
        if subject is None:
            raise UpstreamError(Trouble.UNREADABLE)
        return Identity(subject, first_text(answer, info.name_fields), first_text(answer, info.email_fields))

    async def _token_request(self, grant: Mapping[str, str]) -> UpstreamTokens:
        credentials = {"client_id": self._config.client_id}
        if self._config.client_secret:  # a public client has none, and a strict server refuses an empty one
            credentials["client_secret"] = self._config.client_secret
        headers = {"Accept": "application/json", "User-Agent": _AGENT, "Content-Type": _FORM}
        answer = await self._fetch("POST", self._config.token_endpoint, headers, {**grant, **credentials})
        if "error" in answer:
            raise UpstreamError(Trouble.REFUSED)
        return self._tokens(answer)

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
    ) -> dict[str, Any]:
        sent = {**headers, "Accept-Encoding": "identity"}
        try:
            async with (
                asyncio.timeout(self._outbound.patience.sign_in),
                self._outbound.session.request(
                    method, url, headers=sent, data=form, allow_redirects=False, proxy=proxy_for(url)
                ) as response,
            ):
                return _json_object(response.status, await _bounded(response))
        except TimeoutError as error:
            raise UpstreamError(Trouble.SLOW) from error
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamError(Trouble.UNREACHABLE) from error


def _userinfo_headers(info: UserInfo, access_token: str) -> dict[str, str]:
    return {
        "Accept": "application/json",
        "User-Agent": _AGENT,
        **info.headers,
        "Authorization": f"Bearer {access_token}",
    }


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > UPSTREAM_BYTES:
            raise UpstreamError(Trouble.UNREADABLE)
    return bytes(body)


def _json_object(status: int, body: bytes) -> dict[str, Any]:
    if status >= _SERVER_ERROR:
        raise UpstreamError(Trouble.UNREACHABLE)
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if status != _HTTP_OK:
        raise UpstreamError(Trouble.REFUSED)
    if not isinstance(answer, dict):
        raise UpstreamError(Trouble.UNREADABLE)
    return answer


def _is_token(value: object) -> bool:
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None
