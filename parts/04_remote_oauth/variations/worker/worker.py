"""What every route and every exercise of this server works with."""

import html
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from workshop.auth import (
    LOOPBACK_HOSTS,
    Outbound,
    Patience,
    SecretFile,
    SecretText,
    Trouble,
    Upstream,
    UpstreamError,
    UpstreamProvider,
    Url,
    Vault,
    api_of,
    github_app,
    redirect,
)
from workshop.core.errors import UsageError
from workshop.core.refusals import known_refusal
from workshop.servers.variation.editions import Editions
from workshop.servers.variation.service import FilePath, Service, count_login, timed_upstream

SCOPES = ("read:user", "user:email")
WEAK = "Weak edition, for learning: it has the holes of a public server on purpose. This computer only."
SAME_FOR_ALL = "0" * 43
_COOKIE = "workshop-worker"
_LOG = logging.getLogger("worker")


class WorkerConfig(Service):
    """The worker's file; in comments, the variable or binding of the public example.

    Without `allowed_usernames`, everybody with an account at GitHub may use the weak edition, and the mended
    one does not start. `exercises` is a folder with a learner's files, which the weak edition uses.
    """

    github: Url = "https://github.com"
    client_id: Annotated[str, Field(min_length=1)]  # GITHUB_CLIENT_ID
    client_secret: Annotated[SecretText, Field(alias="client_secret_file")]  # GITHUB_CLIENT_SECRET
    cookie_key: Annotated[SecretFile, Field(alias="cookie_encryption_key_file")] = (
        b""  # COOKIE_ENCRYPTION_KEY
    )
    allowed_usernames: tuple[str, ...] = ()  # ALLOWED_USERNAMES
    store: FilePath  # OAUTH_KV
    edition: Literal["mended", "weak"] = "mended"
    exercises: str = ""

    @model_validator(mode="after")
    def _nobody_could_log_in(self) -> Self:
        if self.edition == "mended" and not self.allowed_usernames:
            raise ValueError("has no `allowed_usernames`, so nobody could log in")
        return self


@dataclass(frozen=True)
class Worker:
    """One running worker: its address, its store, its way to GitHub, and who may use it: nobody means all."""

    url: str
    api: str
    allowed: frozenset[str]
    groups: Editions
    store: str
    outbound: Outbound
    app: Upstream
    upstream: UpstreamProvider
    cookies: Vault | None = None
    _stores: dict[object, Any] = field(default_factory=dict)

    @property
    def resource(self) -> str:
        return f"{self.url}/mcp"

    @property
    def records(self) -> Any:  # noqa: ANN401 - it is the learner's
        """The key-value store, as group `storage` makes it now."""
        module = self.groups("storage")
        if module not in self._stores:
            self._stores.clear()
            self._stores[module] = module.Records(self.store)
        return self._stores[module]

    def log(self, event: str, **details: object) -> None:
        """Write one line; group `storage` decides which of the details it has."""
        _LOG.info("%s", self.groups("storage").log_line(event, details))

    def set_cookie(self, response: Response, value: str, seconds: int) -> None:
        """Let a browser keep a value, sealed if there is a key for cookies."""
        is_secure = self.url.startswith("https:")
        sealed = self.cookies.seal_text(value, _COOKIE) if self.cookies else value
        name = self._cookie_name
        response.set_cookie(name, sealed, max_age=seconds, secure=is_secure, httponly=True, samesite="lax")

    def cookie(self, request: Request) -> str:
        """The value of the browser's cookie; empty without one, or for one that another key sealed."""
        found = request.cookies.get(self._cookie_name, "")
        if self.cookies is None:
            return found
        return self.cookies.unseal_text(found, _COOKIE) or ""

    @property
    def _cookie_name(self) -> str:
        # With the prefix, no other host of the same domain can set it (RFC 6265bis section 4.1.3.2).
        return f"__Host-{_COOKIE}" if self.url.startswith("https:") else _COOKIE

    def text(self, text: str, status: int = 400) -> Response:
        """A bare page, as the public one answers with."""
        return HTMLResponse(f"<p>{html.escape(text)}</p>\n<p><em>{WEAK}</em></p>\n", status)

    def to_github(self, state: str, verifier: str = SAME_FOR_ALL) -> Response:
        """To GitHub's own page; a verifier of this login's own keeps its code from any other."""
        return redirect(self.app.authorization_endpoint, self.upstream.request(state, verifier))

    def allows(self, login: str) -> bool:
        return not self.allowed or login.lower() in self.allowed

    def reason(self, code: str | None) -> dict[str, str]:
        """Why GitHub refused a login, as an `error_description`; empty for a code that we do not know."""
        refusal = known_refusal(code)
        return {"error_description": UpstreamError(Trouble.REFUSED, refusal).sentence} if refusal else {}

    async def sign_in(self, code: str, verifier: str = SAME_FOR_ALL) -> dict[str, Any] | None:
        """Who came back from GitHub, with their token there; None for somebody who is not allowed.

        Raises UpstreamError.
        """
        try:
            with timed_upstream("github"):
                tokens = await self.upstream.exchange(code, verifier)
                who = await self.upstream.identity(tokens)
        except UpstreamError:
            count_login("failed")
            raise
        is_allowed = self.allows(who.subject)
        count_login("allowed" if is_allowed else "denied")
        if not is_allowed:
            return None
        person = {"login": who.subject, "name": who.name, "email": who.email}
        return {**person, "github_token": tokens.access_token}


def make_worker(config: WorkerConfig) -> Worker:
    """Raises UsageError for a weak edition that others could reach."""
    url, github = config.url, config.github
    weak = config.edition == "weak"
    if weak and not {urlsplit(url).hostname, urlsplit(github).hostname, config.host} <= LOOPBACK_HOSTS:
        raise UsageError("The weak edition works on loopback only", why="Its holes are real")
    app = github_app(
        github,
        client_id=config.client_id,
        client_secret=config.client_secret,
        redirect_uri=f"{url}/callback",
        scopes=SCOPES,
    )
    exercises = Path(__file__).with_name("exercises")
    groups = Editions(exercises, weak=weak, own=config.exercises)
    outbound = Outbound(Patience())
    provider = UpstreamProvider(app, outbound, time.time)
    allowed = frozenset(name.lower() for name in config.allowed_usernames)
    cookies = Vault(config.cookie_key, bound_to=url) if config.cookie_key else None
    return Worker(url, api_of(github), allowed, groups, str(config.store), outbound, app, provider, cookies)
