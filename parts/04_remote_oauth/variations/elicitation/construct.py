"""Set the gateway up, or undo that: `python construct.py --config FILE [--cleanup] [--dry-run]`.

How a step is carried out and undone, wherever it was interrupted, is in
`workshop.servers.variation.construction`.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import httpx2
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from workshop.core.errors import DeadlineError, UsageError
from workshop.core.http_client import open_client
from workshop.core.text import one_line
from workshop.servers.variation.construction import Construction, Json, SetUp, Step
from workshop.servers.variation.service import FilePath

IDENTITY, GATEWAY = "mcp-workload", "elicitation-gateway"
REGION = "local"
ARN = f"arn:workshop:{REGION}"
# There is no cloud, so there are no roles and nothing runs elsewhere; the original's file has these keys.
_NO_CLOUD: dict[str, str | None] = {
    **dict.fromkeys(("gateway_role_arn", "gateway_role_name", "runtime_role_arn", "runtime_role_name")),
    "runtime_id": "local",
    "runtime_arn": "local",
}
_DISCOVERY = "/.well-known/openid-configuration"
_YAML = frozenset({".yaml", ".yml"})
_SEPARATOR = "___"  # between a target's name and an operation's, in the names of tools
_SECONDS, _OK = 10.0, 200


class Provider(BaseModel):
    """An OAuth app of yours: at GitHub, or at any issuer with OpenID Connect Discovery.

    `url` is GitHub's address, or the issuer; `display_name` is what the pages call it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["github", "oidc"]
    url: str = "https://github.com"
    client_id: str
    client_secret_file: FilePath | None = None
    display_name: str = ""


def _found(path: Path) -> Path:
    return path if path.is_file() else Path(__file__).with_name(path.name)


class TargetSettings(BaseModel):
    """An API that the tools call; without a `provider` it needs no account.

    `description` is beside the configuration file, or else beside this script. `aliases` are further names of
    tools, and the operation that each calls.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: Annotated[FilePath, AfterValidator(_found)]
    server: str = ""
    operations: tuple[str, ...] = ()
    provider: str = ""
    scopes: tuple[str, ...] = ()
    aliases: Mapping[str, str] = {}


def _distinct(targets: Mapping[str, TargetSettings]) -> Mapping[str, TargetSettings]:
    """Without this, one name could be a tool of two targets."""
    taken: dict[str, str] = {}
    for name, target in targets.items():
        for alias in target.aliases:
            if _SEPARATOR in alias:
                raise ValueError(f"cannot have the alias {alias!r}: {_SEPARATOR} follows a target's name")
            if alias in taken:
                raise ValueError(f"has the alias {alias!r} twice: in {taken[alias]} and in {name}")
            taken[alias] = name
    return targets


class Settings(SetUp):
    """The keys of the file that this script reads; the others are the server's."""

    issuer: str
    providers: Mapping[str, Provider] = {}
    targets: Annotated[Mapping[str, TargetSettings], Field(min_length=1), AfterValidator(_distinct)]


def steps(settings: Settings) -> tuple[Step, ...]:
    """In the order in which each needs the ones before."""
    callback, resource = f"{settings.url}/oauth/callback", f"{settings.url}/mcp"
    identity = {"identity_arn": f"{ARN}:workload-identity/{{id}}", "identity_name": IDENTITY}
    gateway = {"gateway_id": "{id}", "gateway_name": GATEWAY, "gateway_url": resource, "region": REGION}
    return (
        Step("workload-identity", IDENTITY, lambda: {"allowed_return_urls": [callback]}, identity),
        *(
            Step(
                "oauth2-provider",
                name,
                partial(_app, provider, callback),
                {
                    "provider_arn": f"{ARN}:oauth2-provider/{{id}}",
                    "provider_name": name,
                    "oauth_callback_url": callback,
                },
            )
            for name, provider in settings.providers.items()
        ),
        Step(
            "gateway",
            GATEWAY,
            lambda: {"issuer": settings.issuer, "audience": resource},
            {**gateway, **_NO_CLOUD},
        ),
        *(
            Step(
                "target",
                name,
                partial(_target, target),
                {f"target_id_{name}": "{id}"} if number else {"target_id": "{id}", "target_name": name},
            )
            for number, (name, target) in enumerate(settings.targets.items())
        ),
    )


def _app(provider: Provider, callback: str) -> Json:
    secret = {"client_secret_file": str(provider.client_secret_file)} if provider.client_secret_file else {}
    endpoints = (
        {
            "display_name": provider.display_name or "GitHub",
            "authorization_endpoint": f"{provider.url}/login/oauth/authorize",
            "token_endpoint": f"{provider.url}/login/oauth/access_token",
        }
        if provider.kind == "github"
        else _discovered(provider)
    )
    return {**endpoints, **secret, "client_id": provider.client_id, "callback_url": callback}


def _discovered(provider: Provider) -> Json:
    """The endpoints of an issuer (OpenID Connect Discovery 1.0); raises UsageError if they are another's."""
    document = asyncio.run(_document(provider.url.rstrip("/") + _DISCOVERY))
    if document.get("issuer") != provider.url:
        why = f"Its discovery document names the issuer {document.get('issuer')!r}"
        raise UsageError(f"`{provider.url}` is not an issuer", why=why, hint="Write `url` exactly like that")
    wanted = {name: document.get(name) for name in ("authorization_endpoint", "token_endpoint")}
    return {
        **wanted,
        "display_name": provider.display_name or provider.url.partition("://")[2],
        "issuer": provider.url,
        "requires_iss": document.get("authorization_response_iss_parameter_supported") is True,
    }


async def _document(url: str) -> Json:
    try:
        async with open_client(timeout=_SECONDS) as http:
            answer = await http.get(url)
        found = answer.json() if answer.status_code == _OK else None
    except httpx2.TransportError as error:
        raise DeadlineError(f"`{url}` does not answer", why=str(error)) from error
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UsageError(f"`{url}` is not a discovery document", why=f"It answered {answer.status_code}")
    return found


def _target(target: TargetSettings) -> Json:
    description = _description(target.description)
    by_provider = {"provider": target.provider, "identity": IDENTITY, "scopes": list(target.scopes)}
    optional = {
        "server": target.server,
        "operations": list(target.operations),
        "aliases": dict(target.aliases),
    }
    return {
        "gateway": GATEWAY,
        "description": description,
        **(by_provider if target.provider else {}),
        **{name: value for name, value in optional.items() if value},
    }


def _description(file: Path) -> object:
    """A description in YAML or JSON; raises UsageError for what is neither."""
    text, is_yaml = file.read_text("utf-8"), file.suffix in _YAML
    try:
        # YAML has dates, and keys that are numbers, such as a status; the control interface takes JSON.
        return json.loads(json.dumps(yaml.safe_load(text), default=str) if is_yaml else text)
    except (ValueError, yaml.YAMLError) as error:
        kind = "YAML" if is_yaml else "JSON"
        raise UsageError(f"`{file}` is not {kind}", why=one_line(str(error), 300)) from error


main = Construction(
    model=Settings,
    steps=steps,
    ignored=frozenset(
        {"host", "port", "metrics_port", "log", "store", "jwks_uri", "required_scopes", "wait_seconds"}
        | {"authorization_endpoint", "token_endpoint", "client_id", "vault_key_file"}
    ),
    hint="`workshop part 4 run --variation elicitation` starts it",
).main

if __name__ == "__main__":
    sys.exit(main())
