"""What becomes of a deployment: its ports, secrets and choices in every backend, and the embedded processes.

Embedded, an MCPServer becomes the server and the proxy in front of it, an MCPRemoteProxy one gateway, as
ToolHive makes a StatefulSet `<name>` (pod `<name>-0`) and a Deployment `<name>`.
"""

import secrets
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from workshop.core.errors import CredentialsError
from workshop.core.hops import SIGN_IN
from workshop.core.settings import Settings
from workshop.lab.base import PRACTICE_CLIENT_ID, PRACTICE_GITHUB, Choices, Deployment, Program
from workshop.lab.process import on_this_machine
from workshop.toolhive import overrides
from workshop.toolhive.lint import CALLBACK_PATH, DEFAULT_SCOPES
from workshop.toolhive.manifests import (
    CLIENT_ID_PLACEHOLDER,
    UPSTREAM,
    UPSTREAM_OAUTH,
    Resource,
    Resources,
    auth_config,
    oidc_config,
    seconds,
)
from workshop.toolhive.secrets import SecretFiles, auth_configs, client_secret_reference, references


def default_ports(deployment: Deployment) -> dict[str, int]:
    """The ports on this machine, by workload name, unless a person chose others.

    A server's port is the one in `part.toml`, because agents know it; a remote proxy's is its issuer's.
    """
    ports = {deployment.practice: deployment.practice_port}
    for workload in deployment.resources.workloads:
        program = deployment.programs.get(workload.name)
        is_gateway = workload.kind == "VirtualMCPServer"
        ports[workload.name] = workload.port("spec.proxyPort", overrides.GATEWAY_PORT if is_gateway else 8080)
        if program and workload.kind == "MCPServer":
            ports[workload.name] = program.port
    return ports


def with_choices(
    resources: Resources,
    choices: Choices,
    ports: Mapping[str, int],
    with_practice: Callable[[Resources], Resources],
) -> Resources:
    """The resources with these ports and this upstream; `with_practice` makes the practice GitHub theirs."""
    for proxy in resources.of("MCPRemoteProxy"):
        resources = overrides.with_gateway_port(resources, proxy.name, ports[proxy.name])
    for gateway in resources.of("VirtualMCPServer"):
        resources = overrides.with_virtual_server_port(resources, ports[gateway.name])
    if choices.upstream == "practice":
        return with_practice(resources)
    client_id = choices.settings.github_client_id.value
    return overrides.with_client_id(resources, client_id) if client_id else resources


def require_oauth_app(settings: Settings, deployments: Sequence[Deployment]) -> None:
    """Raise CredentialsError if `.env` and the manifests do not name the OAuth app at the real GitHub."""
    hint = "`.env.example` names both keys; `--upstream practice` needs neither"
    if not settings.github_client_secret:
        raise CredentialsError("GITHUB_OAUTH_CLIENT_SECRET is not set in `.env`", hint=hint)
    for deployment in deployments:
        for auth in auth_configs(deployment.resources):
            client_id = auth.find(f"{UPSTREAM_OAUTH}.clientId")
            if client_id == CLIENT_ID_PLACEHOLDER and not settings.github_client_id:
                raise CredentialsError(
                    "GITHUB_OAUTH_CLIENT_ID is not set in `.env`",
                    why=f"The `clientId` in {auth.source} is still the placeholder",
                    hint=hint,
                )


def write_secrets(files: SecretFiles, resources: Resources, choices: Choices) -> list[Resource]:
    """Write every secret that these resources refer to, unless it exists; return their auth configs."""
    for secret in resources.of("Secret"):
        files.write_resource(secret)
    configs = auth_configs(resources)
    for auth in configs:
        files.generate(auth)
        files.write_client_secret(auth, _client_secret(files, choices))
    return configs


def practice_config(auth: Resource, port: int, secret_file: str) -> dict[str, Any]:
    """The practice GitHub's configuration, with its OAuth app registered for this auth config's callback."""
    return {
        "port": port,
        "client_id": PRACTICE_CLIENT_ID,
        "client_secret_file": secret_file,
        "callback_url": f"{auth.text('spec.embeddedAuthServer.issuer')}{CALLBACK_PATH}",
        "app_name": "MCP workshop",
        "hop": SIGN_IN,
    }


def practice_secret(files: SecretFiles) -> Path:
    """The file with the client secret of the practice GitHub's OAuth app, which is made once."""
    path = files.path(PRACTICE_GITHUB, "client-secret")
    if path.exists():
        return path
    return files.write(PRACTICE_GITHUB, "client-secret", secrets.token_urlsafe(32).encode())


def _client_secret(files: SecretFiles, choices: Choices) -> bytes:
    if choices.upstream == "practice":
        return practice_secret(files).read_bytes()
    value = choices.settings.github_client_secret.value
    if value is None:
        raise CredentialsError(
            "GITHUB_OAUTH_CLIENT_SECRET is not set in `.env`",
            why="GitHub exchanges no code without its OAuth app's secret",
            hint="Add it, or use `workshop up --upstream practice`",
        )
    return value.encode()


class Planner:
    """Plans the processes of one instance: its directory, its secrets, its ports."""

    def __init__(self, directory: Path, secrets: SecretFiles, ports: Mapping[str, int]) -> None:
        self._directory = directory
        self._secrets = secrets
        self._ports = ports

    def practice(self, auth: Resource, secret_file: Path) -> Program:
        """The practice GitHub, with its OAuth app registered for this auth config's callback."""
        port = self._ports[PRACTICE_GITHUB]
        return Program(
            PRACTICE_GITHUB,
            (sys.executable, "-m", "workshop.servers.practice"),
            port,
            config=practice_config(auth, port, str(secret_file)),
            files=(secret_file,),
        )

    def deployment(self, deployment: Deployment) -> Iterable[Program]:
        """Every process of one part."""
        for server in deployment.resources.of("MCPServer"):
            yield from self._server(server, deployment)
        for proxy in deployment.resources.of("MCPRemoteProxy"):
            yield self._remote_proxy(proxy, deployment)

    def _server(self, server: Resource, deployment: Deployment) -> Iterable[Program]:
        program = deployment.programs.get(server.name)
        if program is None:
            raise server.error(
                "has no `[[workloads]]` entry in part.toml", "That entry defines what the image runs"
            )
        pod = f"{server.name}-0"
        inner = self._ports[pod]
        # Python accepts any `-X`; this one names the instance, to find a process without a state file.
        in_pod = replace(
            on_this_machine(program, "-X", f"workshop={self._directory / pod}"),
            name=pod,
            port=inner,
            host="127.0.0.1",
            env={**self._environment(server), **_toolhive_environment(inner)},
            ready_seconds=deployment.ready_seconds,
        )
        yield in_pod
        config = {
            "name": server.name,
            "port": self._ports[server.name],
            "remote_url": in_pod.url,
            "store": self._store(server.name),
            "header_forward": {},
            "header_forward_files": {},
            "tools": _tools(server, deployment.resources),
            "auth": None,
        }
        yield _gateway(config, program.path, [], deployment.ready_seconds)

    def _remote_proxy(self, proxy: Resource, deployment: Deployment) -> Program:
        program = deployment.programs.get(proxy.name)
        auth = auth_config(proxy, deployment.resources)
        if auth is None:
            raise proxy.error("has no `authServerRef`")
        described = self._auth(proxy, auth, oidc_config(proxy, deployment.resources))
        forward, forward_files = self._header_forward(proxy)
        config = {
            "name": proxy.name,
            "port": proxy.port("spec.proxyPort", 8080),
            "remote_url": proxy.text("spec.remoteUrl"),
            "store": self._store(proxy.name),
            "header_forward": forward,
            "header_forward_files": forward_files,
            "tools": _tools(proxy, deployment.resources),
            "auth": described,
        }
        files = [*described["signing_key_files"], *described["hmac_files"], *forward_files.values()]
        files.append(described["upstream"]["client_secret_file"])
        path = program.path if program else "/mcp"
        return _gateway(config, path, [Path(file) for file in files], deployment.ready_seconds)

    def _store(self, name: str) -> str:
        return str(self._directory / name / "store.sqlite")

    def _environment(self, server: Resource) -> dict[str, str]:
        env = {str(item["name"]): str(item["value"]) for item in server.items("spec.env")}
        pairs = references(server, "spec.secrets")
        for secret, (name, key) in zip(server.items("spec.secrets"), pairs, strict=True):
            env[str(secret.get("targetEnvName", key))] = self._secrets.path(name, key).read_text("utf-8")
        return env

    def _auth(self, proxy: Resource, auth: Resource, oidc: Resource) -> dict[str, Any]:
        server = auth.mapping("spec.embeddedAuthServer")
        lifespans = auth.mapping("spec.embeddedAuthServer.tokenLifespans")
        return {
            "issuer": oidc.text("spec.inline.issuer"),
            "audience": proxy.text("spec.oidcConfigRef.audience"),
            "resource_url": proxy.text("spec.oidcConfigRef.resourceUrl"),
            "scopes": list(proxy.items("spec.oidcConfigRef.scopes") or DEFAULT_SCOPES),
            "signing_key_files": self._files(auth, "signingKeySecretRefs"),
            "hmac_files": self._files(auth, "hmacSecretRefs"),
            "access_token_seconds": seconds(lifespans.get("accessTokenLifespan", "1h")),
            "refresh_token_seconds": seconds(lifespans.get("refreshTokenLifespan", "168h")),
            "code_seconds": seconds(lifespans.get("authCodeLifespan", "10m")),
            "upstream": self._upstream(auth, str(server["issuer"])),
            "cimd": _client_documents(auth),
            "registrations": _registrations(auth),
            "baseline_scopes": list(server.get("baselineClientScopes", ())),
            "confidential_clients": server.get("allowConfidentialClientRegistration", False),
        }

    def _upstream(self, auth: Resource, issuer: str) -> dict[str, Any]:
        oauth = auth.mapping(f"{UPSTREAM_OAUTH}")
        userinfo = oauth.get("userInfo")
        return {
            "name": auth.text(f"{UPSTREAM}.name"),
            "authorization_endpoint": oauth["authorizationEndpoint"],
            "token_endpoint": oauth["tokenEndpoint"],
            "client_id": oauth["clientId"],
            "client_secret_file": str(self._secrets.path(*client_secret_reference(auth))),
            "redirect_uri": oauth.get("redirectUri", f"{issuer}{CALLBACK_PATH}"),
            "scopes": list(oauth.get("scopes", ())),
            "userinfo": _userinfo(auth) if userinfo else None,
        }

    def _files(self, auth: Resource, field: str) -> list[str]:
        pairs = references(auth, f"spec.embeddedAuthServer.{field}")
        return [str(self._secrets.path(name, key)) for name, key in pairs]

    def _header_forward(self, proxy: Resource) -> tuple[dict[str, str], dict[str, str]]:
        plain = proxy.mapping("spec.headerForward.addPlaintextHeaders")
        listed = "spec.headerForward.addHeadersFromSecret"
        files = {
            proxy.text(f"{listed}.{index}.headerName"): str(self._secrets.path(name, key))
            for index, (name, key) in enumerate(references(proxy, listed, "valueSecretRef"))
        }
        return {str(key): str(value) for key, value in plain.items()}, files


def _gateway(config: Mapping[str, Any], path: str, files: list[Path], ready: float) -> Program:
    return Program(
        config["name"],
        (sys.executable, "-m", "workshop.servers.gateway"),
        config["port"],
        path,
        config=config,
        files=tuple(files),
        ready_seconds=ready,
    )


def _toolhive_environment(port: int) -> dict[str, str]:
    # ToolHive sets MCP_HOST="" (all addresses); a process on a laptop stays on loopback.
    return {
        "MCP_TRANSPORT": "streamable-http",
        "MCP_PORT": str(port),
        "FASTMCP_PORT": str(port),
        "MCP_HOST": "127.0.0.1",
    }


def _client_documents(auth: Resource) -> dict[str, Any] | None:
    """The settings for client ID metadata documents; none without `cimd`, as in ToolHive."""
    cimd = auth.mapping("spec.embeddedAuthServer.cimd")
    if not cimd:
        return None
    return {
        "enabled": cimd.get("enabled", False),
        "cache_seconds": seconds(cimd.get("cacheFallbackTtl", "5m")),
        "cache_size": cimd.get("cacheMaxSize", 256),
    }


def _registrations(auth: Resource) -> dict[str, Any] | None:
    """The limits for registrations of clients; none without any in the manifest."""
    rate = auth.mapping("spec.embeddedAuthServer.registrationRateLimit")
    most = auth.find("spec.embeddedAuthServer.storage.maxDCRClients")
    limits = {} if most is None else {"max_clients": most}
    if rate:
        limits |= {"max_tokens": rate["maxTokens"], "refill_seconds": seconds(rate["refillPeriod"])}
    return limits or None


def _userinfo(auth: Resource) -> dict[str, Any]:
    path = f"{UPSTREAM_OAUTH}.userInfo"
    return {
        "url": auth.text(f"{path}.endpointUrl"),
        "method": auth.find(f"{path}.httpMethod") or "GET",
        "headers": dict(auth.mapping(f"{path}.additionalHeaders")),
        "subject_fields": list(auth.items(f"{path}.fieldMapping.subjectFields") or ["sub"]),
        "name_fields": list(auth.items(f"{path}.fieldMapping.nameFields") or ["name"]),
        "email_fields": list(auth.items(f"{path}.fieldMapping.emailFields") or ["email"]),
    }


def _tools(workload: Resource, resources: Resources) -> dict[str, Any] | None:
    if not workload.find("spec.toolConfigRef"):
        return None
    config = resources.named("MCPToolConfig", workload.text("spec.toolConfigRef.name"), wanted_by=workload)
    override = {
        str(tool): {key: value[key] for key in ("name", "description") if key in value}
        for tool, value in config.mapping("spec.toolsOverride").items()
    }
    return {"filter": list(config.items("spec.toolsFilter")), "override": override}
