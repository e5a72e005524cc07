"""The secrets of an instance as files: generated keys, and GitHub's client secret or the practice one's."""

import secrets
from pathlib import Path

from workshop.core.errors import CredentialsError
from workshop.lab.base import PRACTICE_GITHUB, Choices
from workshop.toolhive.manifests import Resource, Resources
from workshop.toolhive.secrets import SecretFiles, auth_configs


def write_secrets(files: SecretFiles, resources: Resources, choices: Choices) -> list[Resource]:
    """Write every secret these resources refer to, where it is not there yet; their auth configs."""
    for secret in resources.of("Secret"):
        files.write_resource(secret)
    configs = auth_configs(resources)
    for auth in configs:
        files.generate(auth)
        files.write_client_secret(auth, _client_secret(files, choices))
    return configs


def practice_secret(files: SecretFiles) -> Path:
    """The file with the client secret of the practice GitHub's OAuth app, made once."""
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
