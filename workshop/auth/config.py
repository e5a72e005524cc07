"""The authorization server's settings: models of its configuration's blocks, and what they are read into."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, StrictBool

from workshop.auth.clients import SECRET_METHODS
from workshop.auth.config_reader import (
    LOOPBACK_HOSTS,
    Block,
    Or,
    Pairs,
    Scopes,
    Text,
    Texts,
    Url,
    check_header,
    origin_of,
    read_secret,
    wrong_setting,
)
from workshop.auth.keys import SigningKey, load_signing_key
from workshop.core.mistakes import Whole

_MOST_CACHED = 10_000
SHORTEST_CACHE_SECONDS, LONGEST_CACHE_SECONDS = 10, 24 * 3600


class DocumentRules(Block):
    """Whether documents are fetched (off by default, as in ToolHive), and the bounds of their cache.

    `cache_seconds` is for a document whose server names no time. `allow_loopback` is for tests and practice:
    documents of this computer, also by plain http (draft CIMD-02 section 8.6 permits it to a server that is
    on loopback itself).

    A server that announces documents gets an address from clients that prefer one (Claude Code), and these
    do not register when the document cannot be fetched. So it is the operator who must want them.
    """

    enabled: StrictBool = False
    cache_seconds: Annotated[int, Whole(SHORTEST_CACHE_SECONDS, LONGEST_CACHE_SECONDS)] = 300
    cache_size: Annotated[int, Whole(1, _MOST_CACHED)] = 256
    allow_loopback: StrictBool = False

    def check(self, issuer: str, where: str) -> None:
        """Raises UsageError for a server that is not on loopback itself."""
        if self.allow_loopback and urlsplit(issuer).hostname not in LOOPBACK_HOSTS:
            raise wrong_setting(
                f"{where}.allow_loopback", "Only a gateway that is on loopback itself may fetch from it"
            )


CALLBACK_PATH = "/oauth/callback"
DEFAULT_SCOPES = ("openid", "profile", "email", "offline_access")
_SHORTEST_HMAC = 32  # ToolHive's lower bound
_DAY = 24 * 3600
_INT32 = 2**31 - 1


class UserInfo(Block):
    """The upstream's endpoint about its user, and the fields to try, in order."""

    url: Url
    method: Literal["GET", "POST"] = "GET"
    headers: Pairs = Field(default_factory=dict)
    subject_fields: Annotated[Texts, Or("sub")] = ("sub",)
    name_fields: Annotated[Texts, Or("name")] = ("name",)
    email_fields: Annotated[Texts, Or("email")] = ("email",)


@dataclass(frozen=True)
class Upstream:
    """The OAuth application at the upstream: GitHub, or the practice GitHub."""

    name: str
    authorization_endpoint: str
    token_endpoint: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str
    scopes: tuple[str, ...]
    userinfo: UserInfo | None


class Registrations(Block):
    """How many clients may register: `max_tokens` at once, so many again every `refill_seconds`.

    `max_clients` is how many may be registered at a time; 0 sets no bound.
    """

    # ToolHive's defaults for `registrationRateLimit` and `maxDCRClients`.
    max_tokens: Annotated[int, Whole(1, _INT32)] = 5
    refill_seconds: Annotated[int, Whole(1, _INT32)] = 5
    max_clients: Annotated[int, Whole(0, _INT32)] = 10_000


@dataclass(frozen=True)
class Auth:
    """The authorization server: identity, keys, lifetimes in seconds, and its upstream."""

    issuer: str
    resource: str
    scopes: tuple[str, ...]
    required_scopes: tuple[str, ...]
    signing_keys: tuple[SigningKey, ...] = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)
    access_seconds: int
    refresh_seconds: int
    code_seconds: int
    upstream: Upstream
    documents: DocumentRules
    registrations: Registrations = field(default_factory=Registrations)
    baseline_scopes: tuple[str, ...] = ()
    """Scopes that every client may ask for, whatever it registered (CRD field `baselineClientScopes`)."""

    confidential_clients: bool = False
    """Whether a client may register for a secret (CRD field `allowConfidentialClientRegistration`)."""
    endpoint_resource: str | None = None
    """The same resource under the URL of its MCP endpoint, for clients that derive it from there."""

    @property
    def client_auth_methods(self) -> tuple[str, ...]:
        """How clients authenticate at the token endpoint."""
        return ("none", *SECRET_METHODS) if self.confidential_clients else ("none",)

    @property
    def resources(self) -> tuple[str, ...]:
        """The identifiers of the one resource that `resource` and `aud` may have (RFC 8707, RFC 9728).

        ToolHive's ends with a slash. A client that reads the metadata at the endpoint's path has to find the
        endpoint's URL in them (RFC 9728 section 3.3), and then asks for that.
        """
        return tuple(dict.fromkeys((self.resource, self.endpoint_resource or self.resource)))

    def client_scopes(self, asked: Iterable[str], grant_types: Iterable[str]) -> tuple[str, ...]:
        """The scopes a client may ask for at the authorization endpoint (RFC 7591 section 3.2.1 allows more).

        A client that registers the refresh grant needs `offline_access` for it, and asks for it even when it
        registered the resource's scopes only (Claude Code). The person still sees it on the consent page.
        """
        refresh = ("offline_access",) if "refresh_token" in grant_types else ()
        more = (scope for scope in refresh if scope in self.scopes)
        return tuple(dict.fromkeys((*asked, *self.baseline_scopes, *more)))

    @property
    def challenge_scopes(self) -> tuple[str, ...]:
        """What a client should ask for first; `offline_access` is not a resource's scope (MCP 2026-07-28)."""
        return self.required_scopes or tuple(scope for scope in self.scopes if scope != "offline_access")


class UpstreamBlock(Block):
    """The `upstream` of a gateway's file."""

    name: Text
    authorization_endpoint: Url
    token_endpoint: Url
    client_id: Text
    client_secret_file: Text
    redirect_uri: Url
    scopes: Texts = ()
    userinfo: UserInfo | None = None


class AuthBlock(Block):
    """The `auth` of a gateway's file: what ToolHive would refuse at admission or at start is refused here."""

    issuer: Url
    audience: Text
    resource_url: Url
    scopes: Scopes = ()
    required_scopes: Scopes = ()
    baseline_scopes: Scopes = ()
    signing_key_files: Texts = ()
    hmac_files: Texts = ()
    # The defaults and bounds of `tokenLifespans` in ToolHive's CRD.
    access_token_seconds: Annotated[int, Whole(60, _DAY)] = 3600
    refresh_token_seconds: Annotated[int, Whole(3600, 30 * _DAY)] = 7 * _DAY
    code_seconds: Annotated[int, Whole(30, 600)] = 600
    upstream: UpstreamBlock
    cimd: DocumentRules | None = None
    registrations: Registrations | None = None
    confidential_clients: StrictBool = False

    def read(self) -> Auth:
        """The settings with the secrets' files read; raises UsageError for what does not fit together."""
        self._check_issuer()
        scopes = self.scopes or DEFAULT_SCOPES
        for name, some in (
            ("required_scopes", self.required_scopes),
            ("baseline_scopes", self.baseline_scopes),
        ):
            if not set(some) <= set(scopes):
                raise wrong_setting(f"auth.{name}", "Each of these must be one of `scopes`")
        self._check_resource()
        documents = self.cimd or DocumentRules()
        documents.check(self.issuer, "auth.cimd")
        return Auth(
            issuer=self.issuer,
            resource=self.resource_url,
            endpoint_resource=f"{self.issuer}/mcp",
            scopes=scopes,
            required_scopes=self.required_scopes,
            baseline_scopes=self.baseline_scopes,
            signing_keys=_signing_keys(self.signing_key_files),
            secrets=_hmac_secrets(self.hmac_files),
            access_seconds=self.access_token_seconds,
            refresh_seconds=self.refresh_token_seconds,
            code_seconds=self.code_seconds,
            upstream=_upstream(self.upstream, self.issuer),
            documents=documents,
            confidential_clients=self.confidential_clients,
            registrations=self.registrations or Registrations(),
        )

    def _check_issuer(self) -> None:
        if self.issuer.endswith("/"):
            raise wrong_setting(
                "auth.issuer",
                "An issuer has no trailing slash; clients compare it byte for byte",
                f"Write {self.issuer.rstrip('/')}",
            )
        if urlsplit(self.issuer).path or urlsplit(self.issuer).query:
            raise wrong_setting("auth.issuer", "The issuer must be an origin: scheme, host and port")

    def _check_resource(self) -> None:
        if self.audience != self.resource_url:
            raise wrong_setting(
                "auth.audience",
                f"audience is {self.audience!r} but resource_url is {self.resource_url!r}",
                "With an embedded authorization server the two must be the same text",
            )
        if origin_of(self.resource_url) != self.issuer:
            raise wrong_setting("auth.resource_url", f"It must be on the issuer's origin, {self.issuer}")


def _signing_keys(files: Sequence[str]) -> tuple[SigningKey, ...]:
    where = "auth.signing_key_files"
    if not files:
        raise wrong_setting(
            where, "At least one signing key is needed", "The first one signs, the others only verify"
        )
    return tuple(load_signing_key(read_secret(file, where), where) for file in files)


def _hmac_secrets(files: Sequence[str]) -> tuple[bytes, ...]:
    where = "auth.hmac_files"
    secrets = tuple(read_secret(file, where) for file in files)
    for secret in secrets or (b"",):
        check_hmac(secret, where)
    return secrets


def check_hmac(secret: bytes, where: str) -> None:
    """Raises UsageError for a secret that could be guessed."""
    if len(secret) < _SHORTEST_HMAC:
        raise wrong_setting(
            where,
            f"The HMAC secret must be at least {_SHORTEST_HMAC} bytes",
            "It is used as it is, not decoded",
        )


def _upstream(block: UpstreamBlock, issuer: str) -> Upstream:
    if block.redirect_uri != issuer + CALLBACK_PATH:
        raise wrong_setting(
            "auth.upstream.redirect_uri",
            "The browser would come back to another address than the one that set its cookie",
            f"Use {issuer}{CALLBACK_PATH}, here and in the OAuth app",
        )
    for name, value in block.userinfo.headers.items() if block.userinfo else ():
        check_header(name, value, f"auth.upstream.userinfo.headers.{name}")
    return Upstream(
        name=block.name,
        authorization_endpoint=block.authorization_endpoint,
        token_endpoint=block.token_endpoint,
        client_id=block.client_id,
        client_secret=_client_secret(block.client_secret_file),
        redirect_uri=block.redirect_uri,
        scopes=block.scopes,
        userinfo=block.userinfo,
    )


def _client_secret(file: str) -> str:
    where = "auth.upstream.client_secret_file"
    try:
        secret = read_secret(file, where).decode()
    except UnicodeDecodeError as error:
        raise wrong_setting(where, "The client secret is not text") from error
    if not secret.strip():
        raise wrong_setting(where, "The client secret is empty", "Set GITHUB_OAUTH_CLIENT_SECRET in .env")
    if secret != secret.strip() or not secret.isprintable():
        raise wrong_setting(
            where,
            "The client secret has whitespace around it, or a control character in it",
            "It is sent as it is; remove them in .env",
        )
    return secret
