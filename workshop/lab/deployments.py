"""What every backend does with a deployment first: choose its ports, write its secrets, apply the choices."""

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workshop.core.errors import CredentialsError
from workshop.core.hops import SIGN_IN
from workshop.lab.base import PRACTICE_CLIENT_ID, PRACTICE_GITHUB, Choices, Deployment
from workshop.toolhive import overrides
from workshop.toolhive.lint import CALLBACK_PATH
from workshop.toolhive.manifests import Resource, Resources
from workshop.toolhive.secrets import SecretFiles, auth_configs


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
