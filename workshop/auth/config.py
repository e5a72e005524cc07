"""The authorization server's settings: read from its configuration, each one checked."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from workshop.auth.client_auth import SECRET_METHODS
from workshop.auth.config_reader import (
    LOOPBACK_HOSTS,
    Section,
    check_header,
    origin_of,
    read_secret,
    wrong_setting,
)
from workshop.auth.keys import SigningKey, load_signing_key

_KNOWN = frozenset({"enabled", "cache_seconds", "cache_size", "allow_loopback"})
_MOST_KEPT = 10_000
SHORTEST_CACHE_SECONDS, LONGEST_CACHE_SECONDS = 10, 24 * 3600


@dataclass(frozen=True)
class DocumentRules:
    """Whether documents are fetched (off by default, as in ToolHive), and the bounds of their cache.

    `cache_seconds` is for a document whose server names no time. `allow_loopback` is for tests and practice:
    documents of this computer, also by plain http (draft CIMD-02 section 8.6 permits it to a server that is
    on loopback itself).
    """

    enabled: bool = False
    cache_seconds: int = 300
    cache_size: int = 256
    allow_loopback: bool = False


def load_document_rules(auth: Section, issuer: str) -> DocumentRules:
    """Read the block; without one no document is fetched, and clients register.

    A server that announces documents gets an address from clients that prefer one (Claude Code), and these
    do not register when the document cannot be fetched. So it is the operator who must want them.

    Raises UsageError.
    """
    if not auth.has("cimd"):
        return DocumentRules()
    block = Section.of(auth.values["cimd"], auth.path("cimd"), known=_KNOWN)
    allow_loopback = block.flag("allow_loopback", default=False)
    if allow_loopback and urlsplit(issuer).hostname not in LOOPBACK_HOSTS:
        raise wrong_setting(
            block.path("allow_loopback"), "Only a gateway that is on loopback itself may fetch from it"
        )
    return DocumentRules(
        enabled=block.flag("enabled", default=False),
        cache_seconds=block.number("cache_seconds", 300, SHORTEST_CACHE_SECONDS, LONGEST_CACHE_SECONDS),
        cache_size=block.number("cache_size", 256, 1, _MOST_KEPT),
        allow_loopback=allow_loopback,
    )


CALLBACK_PATH = "/oauth/callback"
_AUTH = frozenset(
    {"issuer", "audience", "resource_url", "scopes", "required_scopes", "baseline_scopes"}
    | {"signing_key_files", "hmac_files"}
    | {"access_token_seconds", "refresh_token_seconds", "code_seconds", "upstream", "cimd", "registrations"}
    | {"confidential_clients"}
)
_UPSTREAM = frozenset(
    {"name", "authorization_endpoint", "token_endpoint", "client_id", "client_secret_file", "redirect_uri"}
    | {"scopes", "userinfo"}
)
_REGISTRATIONS = frozenset({"max_tokens", "refill_seconds", "max_clients"})
_USERINFO = frozenset({"url", "method", "headers", "subject_fields", "name_fields", "email_fields"})
DEFAULT_SCOPES = ("openid", "profile", "email", "offline_access")
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 3.3
_SHORTEST_HMAC = 32
_DAY = 24 * 3600
_INT32 = 2**31 - 1


@dataclass(frozen=True)
class UserInfo:
    """The upstream's endpoint about its user, and the fields to try, in order."""

    url: str
    method: str
    headers: Mapping[str, str]
    subject_fields: tuple[str, ...]
    name_fields: tuple[str, ...]
    email_fields: tuple[str, ...]


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


@dataclass(frozen=True)
class Registrations:
    """How many clients may register: `max_tokens` at once, so many again every `refill_seconds`.

    `max_clients` is how many may be registered at a time; 0 sets no bound.
    """

    max_tokens: int = 5
    refill_seconds: int = 5
    max_clients: int = 10_000


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
    registrations: Registrations = Registrations()
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


def load_auth(root: Section) -> Auth:
    """Read the `auth` block.

    Raises UsageError for whatever ToolHive would refuse at admission or at start.
    """
    block = Section.of(root.values["auth"], root.path("auth"), known=_AUTH)
    issuer = _issuer(block)
    scopes = read_scopes(block, "scopes") or DEFAULT_SCOPES
    required, baseline = read_scopes(block, "required_scopes"), read_scopes(block, "baseline_scopes")
    for name, some in (("required_scopes", required), ("baseline_scopes", baseline)):
        if not set(some) <= set(scopes):
            raise wrong_setting(block.path(name), "Each of these must be one of `scopes`")
    return Auth(
        issuer=issuer,
        resource=_resource(block, issuer),
        endpoint_resource=f"{issuer}/mcp",
        scopes=scopes,
        required_scopes=required,
        baseline_scopes=baseline,
        signing_keys=_signing_keys(block),
        secrets=_hmac_secrets(block),
        access_seconds=block.number("access_token_seconds", 3600, 60, _DAY),
        refresh_seconds=block.number("refresh_token_seconds", 7 * _DAY, 3600, 30 * _DAY),
        code_seconds=block.number("code_seconds", 600, 30, 600),
        upstream=_upstream(block, issuer),
        documents=load_document_rules(block, issuer),
        confidential_clients=block.flag("confidential_clients", default=False),
        registrations=_registrations(block) if block.has("registrations") else Registrations(),
    )


def _registrations(block: Section) -> Registrations:
    rules = Section.of(block.values["registrations"], block.path("registrations"), known=_REGISTRATIONS)
    return Registrations(
        max_tokens=rules.number("max_tokens", Registrations.max_tokens, 1, _INT32),
        refill_seconds=rules.number("refill_seconds", Registrations.refill_seconds, 1, _INT32),
        max_clients=rules.number("max_clients", Registrations.max_clients, 0, _INT32),
    )


def _issuer(block: Section) -> str:
    issuer = block.url("issuer")
    where = block.path("issuer")
    if issuer.endswith("/"):
        raise wrong_setting(
            where,
            "An issuer has no trailing slash; clients compare it byte for byte",
            f"Write {issuer.rstrip('/')}",
        )
    if urlsplit(issuer).path or urlsplit(issuer).query:
        raise wrong_setting(where, "The issuer must be an origin: scheme, host and port")
    return issuer


def _resource(block: Section, issuer: str) -> str:
    audience, resource = block.text("audience"), block.url("resource_url")
    if audience != resource:
        raise wrong_setting(
            block.path("audience"),
            f"audience is {audience!r} but resource_url is {resource!r}",
            "With an embedded authorization server the two must be the same text",
        )
    if origin_of(resource) != issuer:
        raise wrong_setting(block.path("resource_url"), f"It must be on the issuer's origin, {issuer}")
    return resource


def read_scopes(block: Section, name: str) -> tuple[str, ...]:
    scopes = block.texts(name)
    if not all(SCOPE.fullmatch(scope) for scope in scopes):
        raise wrong_setting(block.path(name), "A scope has no spaces, quotes or backslashes")
    return scopes


def _signing_keys(block: Section) -> tuple[SigningKey, ...]:
    where = block.path("signing_key_files")
    keys = tuple(
        load_signing_key(read_secret(file, where), where) for file in block.texts("signing_key_files")
    )
    if not keys:
        raise wrong_setting(
            where, "At least one signing key is needed", "The first one signs, the others only verify"
        )
    return keys


def _hmac_secrets(block: Section) -> tuple[bytes, ...]:
    where = block.path("hmac_files")
    secrets = tuple(read_secret(file, where) for file in block.texts("hmac_files"))
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


def _upstream(block: Section, issuer: str) -> Upstream:
    entry = Section.of(block.values.get("upstream"), block.path("upstream"), known=_UPSTREAM)
    redirect_uri = entry.url("redirect_uri")
    if redirect_uri != issuer + CALLBACK_PATH:
        raise wrong_setting(
            entry.path("redirect_uri"),
            "The browser would come back to another address than the one that set its cookie",
            f"Use {issuer}{CALLBACK_PATH}, here and in the OAuth app",
        )
    return Upstream(
        name=entry.text("name"),
        authorization_endpoint=entry.url("authorization_endpoint"),
        token_endpoint=entry.url("token_endpoint"),
        client_id=entry.text("client_id"),
        client_secret=_client_secret(entry),
        redirect_uri=redirect_uri,
        scopes=entry.texts("scopes"),
        userinfo=_userinfo(entry) if entry.has("userinfo") else None,
    )


def _client_secret(entry: Section) -> str:
    raw = entry.secret_file("client_secret_file")
    where = entry.path("client_secret_file")
    try:
        secret = raw.decode()
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


def _userinfo(entry: Section) -> UserInfo:
    info = Section.of(entry.values["userinfo"], entry.path("userinfo"), known=_USERINFO)
    method = info.text("method") if info.has("method") else "GET"
    if method not in {"GET", "POST"}:
        raise wrong_setting(info.path("method"), "It must be GET or POST")
    headers = info.mapping("headers")
    for name, value in headers.items():
        check_header(name, value, info.path(f"headers.{name}"))
    return UserInfo(
        url=info.url("url"),
        method=method,
        headers=headers,
        subject_fields=info.texts("subject_fields") or ("sub",),
        name_fields=info.texts("name_fields") or ("name",),
        email_fields=info.texts("email_fields") or ("email",),
    )
