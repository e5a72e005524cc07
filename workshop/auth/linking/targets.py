"""What is set up before anyone can connect: where one may return to, an OAuth app, a gateway, a target."""

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field, StrictBool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from workshop.auth.config import Upstream
from workshop.auth.config_reader import (
    Block,
    BlockType,
    Pairs,
    Text,
    Texts,
    Url,
    read_block,
    read_secret,
    wrong_setting,
)
from workshop.auth.http import private_json
from workshop.auth.linking.records import grants_of
from workshop.auth.openapi_tools import Api, read_api
from workshop.auth.vault import SealedRecords, same_secret
from workshop.core.errors import UsageError

Json = dict[str, Any]
_LOG = logging.getLogger(__name__)


class _Identity(Block):
    allowed_return_urls: Texts


class _Provider(Block):
    client_id: Text
    authorization_endpoint: Url
    token_endpoint: Url
    callback_url: Url
    display_name: Text | None = None
    client_secret_file: Text | None = None
    issuer: str | None = None
    requires_iss: StrictBool = False


class _Gateway(Block):
    issuer: Text
    audience: Text


class _Api(Block):
    gateway: Text
    description: Any
    provider: Text | None = None
    identity: Text | None = None
    scopes: Texts = ()
    server: Url | None = None
    operations: Texts = ()
    aliases: Pairs = Field(default_factory=dict)


_MODELS: dict[str, type[Block]] = {
    "workload-identity": _Identity,
    "oauth2-provider": _Provider,
    "gateway": _Gateway,
    "target": _Api,
}
USES = {"gateway": "gateway", "provider": "oauth2-provider", "identity": "workload-identity"}


class ConflictError(Exception):
    """Something else has to be there first, or has to go first."""


@dataclass(frozen=True)
class Target:
    """An API behind the gateway, and the OAuth app that people connect their accounts with, if it needs one.

    `aliases` are further names of tools, without the target's prefix, and the operation that each calls.
    """

    name: str
    api: Api
    provider: Upstream | None = field(repr=False)
    issuer: str = ""
    requires_iss: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def home(self) -> str:
        """Where a grant comes from and goes to."""
        provider = self.provider
        return f"{self.api.server} {provider.token_endpoint} {provider.client_id}" if provider else ""

    def was_answered_by(self, issuer: str | None) -> bool:
        """Whether an answer with this `iss` is the provider's own, and not another provider's (RFC 9207)."""
        return (issuer is None and not self.requires_iss) or issuer == self.issuer or not self.issuer


class Resources:
    """Kept sealed; a target is only what all that it names still agrees to."""

    def __init__(self, records: SealedRecords, *, url: str, issuer: str, audience: str) -> None:
        self._records = records
        self._callback = f"{url}/oauth/callback"
        self._authorizer = {"issuer": issuer, "audience": audience}
        self._known: dict[str, tuple[Any, Api]] = {}

    def targets(self) -> dict[str, Target]:
        """Those that can be used now, by name."""
        found: dict[str, Target] = {}
        for raw in self._records.all("target"):
            try:
                found[raw["name"]] = self._target(raw)
            # A target that cannot be used must not take the others with it.
            except (ConflictError, UsageError) as error:
                _LOG.warning("target %s left out: %s", raw["name"], error)
        return found

    def put(self, kind: str, name: str, body: object) -> tuple[str, str]:
        """`created`, `exists` or `updated`, and the id; raises UsageError and ConflictError."""
        settings = read_block(_MODELS[kind], body, kind)
        wanted: Json = {**settings.model_dump(mode="json", exclude_unset=True), "name": name}
        self._check(kind, settings, wanted)
        known = self._records.get(kind, name)
        made = str(known["id"]) if known else f"{name}-{secrets.token_hex(5)}".lower()
        wanted["id"] = made
        if known == wanted:
            return "exists", made
        self._records.put(kind, name, wanted)
        return "updated" if known else "created", made

    def delete(self, kind: str, name: str) -> bool:
        """Whether it was there; a target goes with its grants. Raises ConflictError while one needs it."""
        for target in self._records.all("target"):
            if any(USES[use] == kind and target.get(use) == name for use in USES):
                raise ConflictError(f"The target {target['name']} still needs it")
        if kind == "target":
            self._records.clear(grants_of(name))
        return self._records.take(kind, name) is not None

    def _check(self, kind: str, settings: Block, wanted: Json) -> None:
        if isinstance(settings, _Gateway) and settings.model_dump() != self._authorizer:
            raise wrong_setting(kind, f"This gateway takes tokens of {self._authorizer['issuer']} only")
        if isinstance(settings, _Provider):
            _upstream(wanted["name"], settings, ())
            if settings.callback_url != self._callback:
                raise wrong_setting(f"{kind}.callback_url", f"This gateway's is {self._callback}")
        if isinstance(settings, _Api):
            aliases = self._target(wanted).aliases.keys()
            for other in self._records.all("target"):
                if other["name"] != wanted["name"] and (both := aliases & other.get("aliases", {}).keys()):
                    raise ConflictError(f"The target {other['name']} already has the alias `{min(both)}`")

    def _target(self, raw: Mapping[str, Any]) -> Target:
        name, settings = str(raw["name"]), _settings(_Api, "target", raw)
        needed = USES if settings.provider else {"gateway": USES["gateway"]}
        used = {use: self._records.get(kind, str(raw.get(use))) for use, kind in needed.items()}
        if missing := [use for use, found in used.items() if found is None]:
            raise ConflictError(f"Its {missing[0]} is not there")
        api = self._api(name, settings)
        if unknown := set(settings.aliases.values()) - set(api.operations):
            raise wrong_setting("target.aliases", f"There is no operation `{min(unknown)}`")
        if not settings.provider:
            return Target(name, api, None, aliases=settings.aliases)
        stored = used["provider"] or {}
        provider = _settings(_Provider, USES["provider"], stored)
        identity = _settings(_Identity, USES["identity"], used["identity"] or {})
        if provider.callback_url not in identity.allowed_return_urls:
            raise wrong_setting(
                "target.identity", "It does not allow the provider's callback URL to be returned to"
            )
        return Target(
            name,
            api,
            _upstream(str(stored["name"]), provider, settings.scopes),
            issuer=provider.issuer or "",
            requires_iss=provider.requires_iss,
            aliases=settings.aliases,
        )

    def _api(self, name: str, settings: _Api) -> Api:
        """The target's API; a large description is read once, because each call asks for it."""
        asked = (settings.description, settings.operations, settings.server or "")
        if name not in self._known or self._known[name][0] != asked:
            self._known[name] = asked, read_api(*asked)
        return self._known[name][1]


def _settings(model: type[BlockType], kind: str, record: Mapping[str, Any]) -> BlockType:
    """A record as it was put, without the name and the id that it is known by."""
    return read_block(model, {key: record[key] for key in record if key not in ("name", "id")}, kind)


def _upstream(name: str, provider: _Provider, scopes: tuple[str, ...]) -> Upstream:
    file = provider.client_secret_file
    secret = read_secret(file, f"{USES['provider']}.client_secret_file") if file else b""
    return Upstream(
        name=provider.display_name or name,
        authorization_endpoint=provider.authorization_endpoint,
        token_endpoint=provider.token_endpoint,
        client_id=provider.client_id,
        client_secret=secret.decode().strip(),
        redirect_uri=provider.callback_url,
        scopes=scopes,
        userinfo=None,
    )


class Control:
    """`PUT` and `DELETE /control/KIND/NAME`, with the control secret as bearer token."""

    def __init__(self, resources: Resources, secret: str) -> None:
        self._resources = resources
        self._secret = secret

    def routes(self) -> list[Route]:
        return [Route("/control/{kind}/{name}", self._answer, methods=["PUT", "DELETE"])]

    async def _answer(self, request: Request) -> Response:
        kind, name = request.path_params["kind"], request.path_params["name"]
        if not same_secret(request.headers.get("authorization", ""), f"Bearer {self._secret}"):
            return private_json({"error": "The control secret is needed"}, status=401)
        if kind not in _MODELS:
            return private_json({"error": "Unknown kind of resource"}, status=404)
        try:
            if request.method == "DELETE":
                gone = self._resources.delete(kind, name)
                return private_json({"outcome": "deleted" if gone else "absent"})
            outcome, made = self._resources.put(kind, name, await request.json())
            return private_json({"outcome": outcome, "id": made})
        except ConflictError as error:
            return private_json({"error": str(error)}, status=409)
        except (UsageError, ValueError) as error:
            why = f"{error}: {error.why}" if isinstance(error, UsageError) else "The body is no JSON"
            return private_json({"error": why}, status=400)
