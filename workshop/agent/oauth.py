"""The OAuth client of the agent: the SDK's, with its gaps fixed.

The SDK's `OAuthClientProvider` holds one lock across every request, opens the browser after a restart and on
every 401 though a refresh token is stored, and forgets the authorization server's metadata (python-sdk #3209,
#3250, #1318). Here only the renewal of a login is serialised, a refresh is tried before a browser is opened,
and a login is stored as a whole.
"""

import contextlib
import re
from collections.abc import AsyncGenerator
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.utils import extract_field_from_www_auth
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from mcp.shared.auth_utils import resource_url_from_server_url
from pydantic import AnyUrl

from workshop.agent.approval import Approval
from workshop.agent.events import (
    ApprovalNeeded,
    Approved,
    ClientForgotten,
    ClientRegistered,
    Event,
    LoginRequired,
    LoginReused,
    Observer,
    ResourceDiscovered,
    ServerDiscovered,
    TokenReceived,
    TokenRefreshed,
    ignore,
)
from workshop.agent.http import open_client, same_origin
from workshop.agent.listener import LoopbackListener
from workshop.agent.oauth_checks import (
    OAUTH_SECONDS,
    ForgottenClientError,
    check_address,
    check_metadata,
    is_foreign,
    login_errors,
    not_answered,
    oauth_error,
    refused_again,
    send_bounded,
    unavailable,
    unknown_client,
)
from workshop.agent.token_store import Documents, Login, TokenStore
from workshop.core.errors import WorkshopError
from workshop.recorder import current

_MAX_APPROVALS = 3  # a server that refuses every token must not open a browser forever
_MAX_STEP_UPS = 2
_BUSY = 429
_TOKEN = re.compile(r"[\x21-\x7e]+")


class OAuthClient(OAuthClientProvider):
    """Authenticates requests to one MCP server (an `httpx2.Auth`): discovery, registration, approval, tokens.

    It is also the SDK's `TokenStorage`, because a refresh needs more than the tokens. A request raises
    CredentialsError if the login is denied or the server keeps refusing, DeadlineError if nobody approves,
    WorkshopError if the login cannot be trusted or a server fails.
    """

    def __init__(
        self,
        server_url: str,
        *,
        listener: LoopbackListener,
        approval: Approval,
        tokens: TokenStore,
        observe: Observer = ignore,
        approval_seconds: float = 300,
        client_name: str = "MCP workshop agent",
        client: OAuthClientInformationFull | None = None,
        client_metadata_url: str | None = None,
    ) -> None:
        """`listener` must be listening, because its redirect URI is registered.

        A `client` that was registered by hand is used as it is. Otherwise `client_metadata_url` is the client
        identifier if the server accepts Client ID Metadata Documents; if not, the agent registers itself.
        """
        metadata = OAuthClientMetadata(
            client_name=client_name,
            redirect_uris=[AnyUrl(listener.redirect_uri)],
            grant_types=["authorization_code", "refresh_token"],
            token_endpoint_auth_method="none",  # noqa: S106 - a public client has no secret
            application_type="native",  # as "web", localhost may be refused (SEP-837)
        )
        super().__init__(server_url, metadata, self, self._ask, self._receive, client_metadata_url)
        self._resource = resource_url_from_server_url(server_url)
        self._listener = listener
        self._approval = approval
        self._store = tokens
        self._client = client
        self._observe = observe
        self._approval_seconds = approval_seconds
        self._one_at_a_time = anyio.Lock()
        self._registered_now = False
        self._approvals = 0
        self._last_error = ""
        self._announced: set[Event] = set()
        self._documents = Documents()

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Send `request` with the current token; if that is refused, renew the login and send it again."""
        if not same_origin(request.url, httpx2.URL(self._resource)):
            # After a redirect: another server must not get the token.
            yield request
            return
        if await self._usable_token() is None:
            await self._renew(None)
        sent = self._sign(request)
        response = yield request
        logins, renewed = 0, False
        while _is_challenge(response):
            if logins >= (_MAX_STEP_UPS if response.status_code == httpx2.codes.FORBIDDEN else 1):
                raise refused_again(self._resource, response)
            # A person may need minutes: the connection is returned to the pool so that it can expire there.
            await response.aread()
            logins += await self._answer(request, response, sent, refresh=not renewed)
            renewed = True
            sent = self._sign(request)
            response = yield request

    def _sign(self, request: httpx2.Request) -> str | None:
        token = self._token()
        if token is not None:
            self._add_auth_header(request)
        return token

    def _token(self) -> str | None:
        tokens = self.context.current_tokens
        return tokens.access_token if tokens and self.context.is_token_valid() else None

    async def _usable_token(self) -> str | None:
        if not self._initialized:
            async with self._one_at_a_time:
                if not self._initialized:  # another request may have done it while this one waited
                    await self._initialize()
        return self._token()

    async def _renew(self, used: str | None) -> None:
        async with self._one_at_a_time:
            if self._token() in (None, used):
                await self._refresh(used)

    async def _answer(
        self, request: httpx2.Request, challenge: httpx2.Response, used: str | None, *, refresh: bool
    ) -> bool:
        """Get another token than `used`; return True if a person had to approve it.

        If a refreshed token is refused too (ToolHive still refreshes when the upstream's token is dead), only
        a login helps.
        """
        async with self._one_at_a_time:
            if self._token() not in (None, used):
                return False
            refused = challenge.status_code == httpx2.codes.UNAUTHORIZED
            if refused and refresh and await self._refresh(used):
                return False
            await self._login(request, challenge)
            return True

    async def _refresh(self, used: str | None) -> bool:
        """Refresh under the store's lock, unless another process has already done it."""
        if not self.context.can_refresh_token():
            return False
        async with self._store.lock():
            # Most servers accept a refresh token once: use what another process got for it meanwhile.
            stored = self._stored()
            if stored and stored.tokens:
                self._adopt(stored)
            if self._token() not in (None, used):
                return True
            if not self.context.can_refresh_token():
                return False
            with login_errors(lambda: self._last_error):
                async with open_client(OAUTH_SECONDS) as http:
                    response = await self._exchange(http, await self._refresh_token())
            if response.is_server_error or response.status_code == _BUSY:
                raise unavailable(response)
            return await self._take_refreshed(response)

    async def _take_refreshed(self, response: httpx2.Response) -> bool:
        with login_errors(lambda: self._last_error):
            done = await self._handle_refresh_response(response)
        if done and self.context.current_tokens:
            self._observe(TokenRefreshed(self.context.current_tokens.expires_in))
            return True
        # The server has lost the registration: the login that follows makes another.
        if self._last_error == "invalid_client":
            self.context.client_info = self._client
        self._save()
        return False

    async def _login(self, request: httpx2.Request, challenge: httpx2.Response) -> None:
        if self._approvals == _MAX_APPROVALS:
            raise refused_again(self._resource, challenge)
        self._approvals += 1
        self._observe(LoginRequired(self._resource, challenge.status_code))
        with login_errors(lambda: self._last_error):
            try:
                await self._run_flow(request, challenge)
            except ForgottenClientError as error:
                # It is new, so another registration would be refused alike.
                if self._registered_now:
                    raise
                if self._client:
                    raise unknown_client(self._client.client_id) from error
                self._documents.clear()
                self._observe(ClientForgotten(self.context.auth_server_url or self._resource))
                self.context.client_info = None
                self.context.clear_tokens()
                await self._run_flow(request, challenge)

    async def _run_flow(self, request: httpx2.Request, challenge: httpx2.Response) -> None:
        """Run the SDK's flow from the refusal that arrived to the new token, without sending `request`."""
        context = self.context
        if challenge.status_code == httpx2.codes.UNAUTHORIZED:
            # Without the upstream's challenge, the SDK looks for metadata at the server's own origin.
            if context.protected_resource_metadata and is_foreign(challenge, self._resource):
                challenge = httpx2.Response(challenge.status_code, request=challenge.request)
            context.clear_tokens()
        # Start the discovery again: outdated metadata may be the reason for the refusal.
        context.protected_resource_metadata = context.oauth_metadata = context.auth_server_url = None
        self._registered_now = False
        self._announced.clear()
        async with (
            open_client(OAUTH_SECONDS) as http,
            contextlib.aclosing(super().async_auth_flow(request)) as flow,
        ):
            outgoing = await anext(flow)
            response = challenge
            while (outgoing := await flow.asend(response)) is not request:
                self._announce()
                response = await self._exchange(http, outgoing)
                if self._last_error == "invalid_client" and not self._registered_now:
                    raise ForgottenClientError

    async def _exchange(self, http: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Response:
        check_address(str(request.url), self._resource)
        # A POST registers, or takes a secret along: only at a server whose metadata has passed.
        if request.method == "POST":
            check_metadata(self.context.oauth_metadata, self._resource)
        if known := self._documents.answer(request):
            if recorder := current():
                recorder.remembered(request, known)
            return known
        response = await send_bounded(http, request)
        self._documents.keep(response)
        self._last_error = oauth_error(response) if response.is_error else ""
        return response

    def _announce(self) -> None:
        prm, metadata = self.context.protected_resource_metadata, self.context.oauth_metadata
        if prm:
            self._observe_once(ResourceDiscovered(str(prm.resource), self.context.auth_server_url or ""))
        if metadata:
            self._observe_once(ServerDiscovered(str(metadata.issuer)))

    def _observe_once(self, event: Event) -> None:
        if event not in self._announced:
            self._announced.add(event)
            self._observe(event)

    async def _ask(self, url: str) -> None:
        """Send the person to the consent page; the SDK calls this with the authorization request."""
        self._announce()
        metadata = check_metadata(self.context.oauth_metadata, self._resource)
        if not self._registered_now and self._approval.way != "practice user":
            await _probe(url)  # the practice user follows the redirect, so this is not needed
        self._listener.expect(
            parse_qs(urlsplit(url).query)["state"][0],
            str(metadata.issuer),
            iss_required=bool(metadata.authorization_response_iss_parameter_supported),
        )
        self._observe(ApprovalNeeded(url, self._approval.way, self._approval.user, self._approval_seconds))
        if recorder := current():
            # The browser sends this request, and only the agent's are recorded by themselves.
            recorder.built(url)
        await self._approval.start(url)

    async def _receive(self) -> AuthorizationCodeResult:
        """Wait for the callback; the SDK calls this after `_ask`."""
        try:
            result = await self._listener.wait(self._approval_seconds)
        except TimeoutError:
            # The page may have shown an error for a forgotten client, which no callback reports.
            if not self._registered_now:
                self._store.forget(self._resource)
            raise not_answered(self._approval_seconds, forgotten=not self._registered_now) from None
        self._observe(Approved())
        return result

    async def _handle_token_response(self, response: httpx2.Response) -> None:
        await super()._handle_token_response(response)
        tokens = self.context.current_tokens
        if tokens:
            self._observe(TokenReceived(tokens.scope or "", tokens.expires_in))

    async def _initialize(self) -> None:
        login = self._stored()
        if login:
            self._adopt(login)
            if login.tokens:
                self._observe(LoginReused(login.issuer))
        self.context.client_info = self._client or self.context.client_info
        self._initialized = True

    def _stored(self) -> Login | None:
        login = self._store.find(self._resource)
        # A refresh token works only for the client that it was issued to (RFC 6749 section 6).
        mine = self._client is None or (login and login.client.client_id == self._client.client_id)
        return login if mine else None

    def _adopt(self, login: Login) -> None:
        context = self.context
        context.client_info = login.client
        context.oauth_metadata = login.authorization_server
        context.protected_resource_metadata = login.protected_resource
        context.auth_server_url = login.issuer if login.protected_resource else None
        context.current_tokens = login.tokens
        context.token_expiry_time = login.expires_at
        self._documents.adopt(login.documents)

    def _save(self) -> None:
        context = self.context
        if context.client_info is None or context.oauth_metadata is None:
            self._store.forget(self._resource)
            return
        login = Login(
            resource=self._resource,
            issuer=str(context.oauth_metadata.issuer),
            client=context.client_info,
            authorization_server=context.oauth_metadata,
            protected_resource=context.protected_resource_metadata,
            documents=self._documents.cached,
            tokens=context.current_tokens,
            expires_at=context.token_expiry_time,
        )
        self._store.save(login)

    async def get_tokens(self) -> OAuthToken | None:
        """The tokens of the current login."""
        return self.context.current_tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Store the login; the SDK has put the tokens into its context before.

        Raises WorkshopError for a token that no header can carry: HTTP's own error would quote it.
        """
        if not _TOKEN.fullmatch(tokens.access_token):
            self.context.clear_tokens()
            raise WorkshopError(
                "The authorization server issued a token that cannot be sent",
                why="It has characters that are not allowed in a header (RFC 6750 section 2.1)",
            )
        self._save()

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """The agent's registration at the authorization server."""
        return self.context.client_info

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Store a new registration."""
        self._registered_now = True
        self._observe(ClientRegistered(client_info.client_id))
        self._save()


async def _probe(url: str) -> None:
    """Ask the authorization endpoint first: a forgotten client gets an error page and not a callback."""
    async with open_client(OAUTH_SECONDS) as http:
        response = await send_bounded(http, http.build_request("GET", url))
    if response.is_client_error:
        raise ForgottenClientError


def _is_challenge(response: httpx2.Response) -> bool:
    if response.status_code == httpx2.codes.FORBIDDEN:
        return extract_field_from_www_auth(response, "error") == "insufficient_scope"
    return response.status_code == httpx2.codes.UNAUTHORIZED
