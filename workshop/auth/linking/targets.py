"""What is set up before anyone can connect: where one may return to, an OAuth app, a gateway, a target."""

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from workshop.auth.config import Upstream
from workshop.auth.config_reader import Section, wrong_setting
from workshop.auth.http import private_json
from workshop.auth.linking.grants import grants_of
from workshop.auth.openapi_tools import Api, read_api
from workshop.auth.vault import SealedRecords, same_secret
from workshop.core.errors import UsageError

Json = dict[str, Any]
_LOG = logging.getLogger(__name__)
FIELDS = {
    "workload-identity": frozenset({"allowed_return_urls"}),
    "oauth2-provider": frozenset({"client_id", "authorization_endpoint", "token_endpoint", "callback_url"}),
    "gateway": frozenset({"issuer", "audience"}),
    "target": frozenset({"gateway", "description"}),
}
OPTIONAL = {
    "workload-identity": frozenset[str](),
    "oauth2-provider": frozenset({"display_name", "client_secret_file", "issuer", "requires_iss"}),
    "gateway": frozenset[str](),
    "target": frozenset({"provider", "identity", "scopes", "server", "operations", "aliases"}),
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
            except (ConflictError, UsageError) as error:
                _LOG.warning("target %s left out: %s", raw["name"], error)
        return found

    def put(self, kind: str, name: str, body: object) -> tuple[str, str]:
        """`created`, `exists` or `updated`, and the id; raises UsageError and ConflictError."""
        section = Section.of(body, kind, known=FIELDS[kind] | OPTIONAL[kind])
        if missing := FIELDS[kind] - set(section.values):
            raise wrong_setting(section.path(min(missing)), "It is missing")
        wanted = {**section.values, "name": name}
        self._check(kind, section, wanted)
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

    def _check(self, kind: str, section: Section, wanted: Json) -> None:
        if kind == "gateway" and {name: wanted[name] for name in self._authorizer} != self._authorizer:
            raise wrong_setting(
                section.where, f"This gateway takes tokens of {self._authorizer['issuer']} only"
            )
        if kind == "workload-identity":
            section.texts("allowed_return_urls")
        if kind == "oauth2-provider":
            _provider(Section(wanted, section.where), ())
            if wanted["callback_url"] != self._callback:
                raise wrong_setting(section.path("callback_url"), f"This gateway's is {self._callback}")
        if kind == "target":
            aliases = self._target(wanted).aliases.keys()
            for other in self._records.all("target"):
                if other["name"] != wanted["name"] and (both := aliases & other.get("aliases", {}).keys()):
                    raise ConflictError(f"The target {other['name']} already has the alias `{min(both)}`")

    def _target(self, raw: Mapping[str, Any]) -> Target:
        needed = USES if raw.get("provider") else {"gateway": USES["gateway"]}
        used = {use: self._records.get(kind, str(raw.get(use))) for use, kind in needed.items()}
        if missing := [use for use, found in used.items() if found is None]:
            raise ConflictError(f"Its {missing[0]} is not there")
        section, api = Section(raw, "target"), self._api(raw)
        aliases = section.mapping("aliases")
        if unknown := set(aliases.values()) - set(api.operations):
            raise wrong_setting("target.aliases", f"There is no operation `{min(unknown)}`")
        if "provider" not in used:
            return Target(str(raw["name"]), api, None, aliases=aliases)
        provider, identity = used["provider"] or {}, used["identity"] or {}
        if provider["callback_url"] not in identity["allowed_return_urls"]:
            raise wrong_setting(
                "target.identity", "It does not allow the provider's callback URL to be returned to"
            )
        return Target(
            str(raw["name"]),
            api,
            _provider(Section(provider, "oauth2-provider"), section.texts("scopes")),
            issuer=str(provider.get("issuer", "")),
            requires_iss=provider.get("requires_iss") is True,
            aliases=aliases,
        )

    def _api(self, raw: Mapping[str, Any]) -> Api:
        """The target's API; a large description is read once, because each call asks for it."""
        section = Section(raw, "target")
        server = section.url("server") if section.has("server") else ""
        asked = (raw["description"], section.texts("operations"), server)
        name = str(raw["name"])
        if name not in self._known or self._known[name][0] != asked:
            self._known[name] = asked, read_api(*asked)
        return self._known[name][1]


def _provider(section: Section, scopes: tuple[str, ...]) -> Upstream:
    has_secret = section.has("client_secret_file")
    return Upstream(
        name=section.text("display_name" if section.has("display_name") else "name"),
        authorization_endpoint=section.url("authorization_endpoint"),
        token_endpoint=section.url("token_endpoint"),
        client_id=section.text("client_id"),
        client_secret=section.secret_file("client_secret_file").decode().strip() if has_secret else "",
        redirect_uri=section.url("callback_url"),
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
        if kind not in FIELDS:
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
