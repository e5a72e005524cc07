"""What every route and every exercise of this server works with."""

import html
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import HTMLResponse, Response

from workshop.auth import (
    LOOPBACK_HOSTS,
    Outbound,
    Patience,
    Section,
    Upstream,
    UpstreamProvider,
    api_of,
    github_app,
    redirect,
)
from workshop.core.errors import UsageError
from workshop.servers.variation.editions import Editions

SCOPES = ("read:user", "user:email")
WEAK = "Weak edition, for learning: it has the holes of a public server on purpose. This computer only."
SAME_FOR_ALL = "0" * 43
_KEYS = frozenset(
    {"port", "url", "github", "client_id", "client_secret_file", "allowed_usernames"}
    | {"store", "edition", "exercises"}
)
_LOG = logging.getLogger("worker")


@dataclass(frozen=True)
class Worker:
    """One running worker: its address, its store, its way to GitHub, and who may use it."""

    url: str
    api: str
    allowed: frozenset[str]
    groups: Editions
    store: str
    outbound: Outbound
    app: Upstream
    upstream: UpstreamProvider
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
        """Write one line; which of the details it tells, group `storage` decides."""
        _LOG.info("%s", self.groups("storage").log_line(event, details))

    def text(self, text: str, status: int = 400) -> Response:
        """A bare page, as the public one answers with."""
        return HTMLResponse(f"<p>{html.escape(text)}</p>\n<p><em>{WEAK}</em></p>\n", status)

    def to_github(self, state: str, verifier: str = SAME_FOR_ALL) -> Response:
        """To GitHub's own page; a verifier of this login's own keeps its code from any other."""
        return redirect(self.app.authorization_endpoint, self.upstream.request(state, verifier))

    async def sign_in(self, code: str, verifier: str = SAME_FOR_ALL) -> dict[str, Any] | None:
        """Who came back from GitHub, with their token there; None for somebody who is not allowed.

        Raises UpstreamError.
        """
        tokens = await self.upstream.exchange(code, verifier)
        who = await self.upstream.identity(tokens)
        if who.subject.lower() not in self.allowed:
            return None
        person = {"login": who.subject, "name": who.name, "email": who.email}
        return {**person, "github_token": tokens.access_token}


def make_worker(config: Mapping[str, Any]) -> Worker:
    """Raises UsageError for a wrong configuration, and for a weak edition on more than this computer."""
    section = Section.of(dict(config), "", known=_KEYS)
    url, github = section.url("url"), section.url("github")
    weak = section.text("edition") != "mended"
    if weak and not {urlsplit(url).hostname, urlsplit(github).hostname} <= LOOPBACK_HOSTS:
        raise UsageError("The weak edition works on loopback only", why="Its holes are real")
    allowed = frozenset(name.lower() for name in section.texts("allowed_usernames"))
    if not allowed:
        raise UsageError("`allowed_usernames` is empty", why="Nobody could log in")
    app = github_app(
        github,
        client_id=section.text("client_id"),
        client_secret=section.secret_file("client_secret_file").decode().strip(),
        redirect_uri=f"{url}/callback",
        scopes=SCOPES,
    )
    exercises = Path(__file__).with_name("exercises")
    groups = Editions(exercises, weak=weak, own=str(config.get("exercises") or ""))
    outbound = Outbound(Patience())
    provider = UpstreamProvider(app, outbound, time.time)
    return Worker(url, api_of(github), allowed, groups, section.text("store"), outbound, app, provider)
