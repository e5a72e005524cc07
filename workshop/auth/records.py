"""What the authorization server remembers."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Client:
    """A public client: registered dynamically (RFC 7591), or described by a document at its id's address."""

    client_id: str
    name: str
    redirect_uris: tuple[str, ...]
    grant_types: tuple[str, ...]
    scopes: tuple[str, ...]
    application_type: str | None
    registered: float

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Client":
        lists = {name: tuple(values[name]) for name in ("redirect_uris", "grant_types", "scopes")}
        return cls(**{**values, **lists})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class AuthorizationRequest:
    """What a client asked for at the authorization endpoint, after every check."""

    client_id: str
    redirect_uri: str
    redirect_uri_given: bool
    state: str | None
    scopes: tuple[str, ...]
    resource: str
    code_challenge: str

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "AuthorizationRequest":
        return cls(**{**values, "scopes": tuple(values["scopes"])})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class PendingSignIn:
    """A consented request while its user is at the upstream; `browser` is the digest of the flow's cookie."""

    request: AuthorizationRequest
    flow: str
    browser: str
    verifier: str = field(repr=False)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "PendingSignIn":
        return cls(**{**values, "request": AuthorizationRequest.from_json(values["request"])})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class UpstreamTokens:
    """The user's tokens at the upstream; `expires_at` is None for one that does not expire (OAuth apps)."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_at: float | None


@dataclass(frozen=True)
class Identity:
    """Who the upstream says signed in."""

    subject: str
    name: str | None
    email: str | None


@dataclass(frozen=True)
class Grant:
    """One sign-in of one user with one client: what every token of a `tsid` stands for.

    `upstream` is None when the stored tokens can no longer be decrypted.
    """

    tsid: str
    client_id: str
    sub: str
    scopes: tuple[str, ...]
    resource: str
    expires: float
    name: str | None
    email: str | None
    upstream: UpstreamTokens | None


@dataclass(frozen=True)
class Code:
    """What an authorization code is bound to, besides its grant."""

    redirect_uri: str | None
    code_challenge: str
    expires: float
