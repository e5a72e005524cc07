"""The three secrets of an embedded authorization server, as files that only their owner can read.

Formats: ToolHive 0.63.0 `pkg/authserver/server/crypto/keys.go` (EC P-256 in PEM) and
`pkg/authserver/config.go` (an HMAC secret of at least 32 bytes, used as it is).
"""

import base64
import re
import secrets
from dataclasses import replace
from pathlib import Path

from workshop.core.errors import UsageError
from workshop.core.paths import write_private
from workshop.toolhive.manifests import UPSTREAM_OAUTH, Resource, Resources

_SAFE = re.compile(r"[A-Za-z0-9._-]{1,253}")


class SecretFiles:
    """Secrets in one directory as `<secret>/<key>`, the way ToolHive mounts them into the proxy."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, name: str, key: str) -> Path:
        """The file of a secret's key; raises UsageError for a name that Kubernetes would refuse."""
        for part in (name, key):
            # A path outside of the directory has a slash or starts with two dots.
            if not _SAFE.fullmatch(part) or part.startswith(".."):
                raise UsageError(
                    f"`{part}` cannot name a secret or its key", hint="Use letters, digits, `.`, `-`, `_`"
                )
        return self._directory / name / key

    def write(self, name: str, key: str, value: bytes) -> Path:
        """Write a secret's key unless it already has this value."""
        path = self.path(name, key)
        if not path.exists() or path.read_bytes() != value:
            write_private(path, value)
        return path

    def write_resource(self, secret: Resource) -> None:
        """Write every key of a `Secret` manifest."""
        for key, text in secret.mapping("stringData").items():
            self.write(secret.name, str(key), str(text).encode())
        for key, text in secret.mapping("data").items():
            try:
                self.write(secret.name, str(key), base64.b64decode(str(text), validate=True))
            except ValueError as error:  # binascii.Error, and a plain one for characters outside ASCII
                raise secret.error(f"`data.{key}` is not base64") from error

    def generate(self, auth: Resource) -> None:
        """Make the signing key and the HMAC secret of an auth config, where they do not exist yet."""
        for name, key in references(auth, "spec.embeddedAuthServer.signingKeySecretRefs"):
            if not self.path(name, key).exists():
                self.write(name, key, new_signing_key())
        for name, key in references(auth, "spec.embeddedAuthServer.hmacSecretRefs"):
            if not self.path(name, key).exists():
                self.write(name, key, secrets.token_urlsafe(48).encode())

    def write_client_secret(self, auth: Resource, value: bytes) -> None:
        """Write the client secret of the upstream OAuth app to the file that the auth config names."""
        name, key = client_secret_reference(auth)
        self.write(name, key, value)


def references(resource: Resource, path: str, field: str = "") -> list[tuple[str, str]]:
    """The name and key of each secret in a list; with `field`, they are in that field of its entries."""
    entries = [f"{path}.{index}{field and '.'}{field}" for index in range(len(resource.items(path)))]
    return [(resource.text(f"{entry}.name"), resource.text(f"{entry}.key")) for entry in entries]


def client_secret_reference(auth: Resource) -> tuple[str, str]:
    """The secret and key that hold the upstream client secret."""
    return auth.text(f"{UPSTREAM_OAUTH}.clientSecretRef.name"), auth.text(
        f"{UPSTREAM_OAUTH}.clientSecretRef.key"
    )


def new_signing_key() -> bytes:
    """A fresh EC P-256 private key in PEM (PKCS#8)."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def auth_configs(resources: Resources) -> list[Resource]:
    """Every auth config with an embedded authorization server; a gateway's own in the form of one."""
    configs = [
        config
        for config in resources.of("MCPExternalAuthConfig")
        if config.find("spec.type") == "embeddedAuthServer"
    ]
    gateways = [found for found in resources.of("VirtualMCPServer") if found.find("spec.authServerConfig")]
    return [*configs, *map(_own_config, gateways)]


def _own_config(gateway: Resource) -> Resource:
    server = gateway.mapping("spec.authServerConfig")
    return replace(gateway, body={"spec": {"type": "embeddedAuthServer", "embeddedAuthServer": server}})
