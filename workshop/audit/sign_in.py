"""The agent's own login at a server that a person names; its token is sent to that server alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx2
from mcp.shared.auth import AuthorizationCodeResult
from mcp.shared.auth_utils import resource_url_from_server_url

from workshop.agent.approval import Approval
from workshop.agent.connect import connect
from workshop.agent.events import Observer
from workshop.agent.http import same_origin
from workshop.agent.listener import LoopbackListener
from workshop.agent.oauth import OAuthClient
from workshop.agent.token_store import Login, TokenStore
from workshop.audit.probe.model import is_secure
from workshop.core.errors import WorkshopError
from workshop.core.outgoing import no_token_for


@dataclass(frozen=True)
class SignedIn:
    """The login at one server, the texts of its tools by their names, and the last authorization response."""

    login: Login
    token: str = field(repr=False)
    tools: Mapping[str, str]
    response: AuthorizationCodeResult | None
    """None if a stored login was used."""


@dataclass(frozen=True)
class Signing:
    """How a person logs in, and where logins are stored."""

    tokens: TokenStore
    approval: Approval
    observe: Observer

    @staticmethod
    def check(url: str) -> None:
        """Raise UsageError for the URL of a server to which a token must not be sent."""
        if not is_secure(url):
            raise no_token_for(url)

    async def at(self, named: str, url: str) -> SignedIn:
        """Log in at `url`, or use the stored login for it; `named` is the URL that the person gave.

        Raises WorkshopError if `url` has another origin, if its metadata names another resource, or if it
        needs no login; otherwise what the agent's login raises.
        """
        # Again, because it may be where a redirect from the checked URL led.
        self.check(url)
        if not same_origin(httpx2.URL(named), httpx2.URL(url)):
            raise WorkshopError(
                f"{named} redirects to another address",
                why=f"To {url!r}; a token is sent only to the server that you named",
                hint="Name that address if it is your server",
            )
        async with LoopbackListener() as listener:
            login = OAuthClient(
                url, listener=listener, approval=self.approval, tokens=self.tokens, observe=self.observe
            )
            async with connect(url, auth=login) as client:
                has_tools = client.server_capabilities.tools is not None
                listed = (await client.list_tools()).tools if has_tools else []
        stored = self.tokens.find(resource_url_from_server_url(url))
        # The login begins with a challenge: a server that sends none was used without a token.
        if stored is None or stored.tokens is None:
            raise WorkshopError(f"{url} needs no login", hint="Leave out `--login`")
        tools = {tool.name: tool.model_dump_json(exclude_none=True) for tool in listed}
        return SignedIn(stored, stored.tokens.access_token, tools, listener.response)
