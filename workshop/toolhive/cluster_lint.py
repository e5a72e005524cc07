"""Check what only a cluster refuses, or fails on without a message: the resources as they will be applied.

Sources: ToolHive 0.63.0, `cmd/thv-operator/pkg/validation/url_validation.go` and
`pkg/authserver/server/crypto/keys.go`.
"""

import ipaddress
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from workshop.core.errors import UsageError
from workshop.toolhive import lint
from workshop.toolhive.manifests import UPSTREAM_OAUTH, Resource, Resources
from workshop.toolhive.overrides import CLIENT_ID_PLACEHOLDER
from workshop.toolhive.secrets import SecretFiles, auth_configs, client_secret_reference, references

# The first are never allowed; the private ones are allowed where `allowPrivateEndpoint` is true (since 0.47).
_INTERNAL_HOSTS = (
    "localhost",
    "kubernetes.default.svc.cluster.local",
    "kubernetes.default.svc",
    "kubernetes.default",
    "metadata.google.internal",
)
_PRIVATE_HOSTS = ("cluster.local",)
_INTERNAL_NETWORKS = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "::/128", "::1/128", "fe80::/10")
_PRIVATE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
_HMAC_BYTES, _RSA_BITS = 32, 2048
_KEY_HINT = "Use an EC P-256 key: `openssl ecparam -name prime256v1 -genkey -noout`"

Refuse = Callable[[str, str], UsageError]


def check(resources: Resources, secrets: SecretFiles) -> None:
    """Raise UsageError at the first broken rule, of the resources or of a secret that they refer to."""
    lint.check(resources)
    for proxy in resources.of("MCPRemoteProxy"):
        _check_remote_host(proxy)
    for auth in auth_configs(resources):
        _check_client_id(auth)
        check_secrets(auth, secrets)


def check_secrets(auth: Resource, secrets: SecretFiles) -> None:
    """Raise UsageError for a secret of this auth config that is missing, or that ToolHive cannot use."""
    for field, examine in (("signingKeySecretRefs", _check_signing_key), ("hmacSecretRefs", _check_hmac)):
        for name, key in references(auth, f"spec.embeddedAuthServer.{field}"):
            examine(*_read(auth, secrets, name, key))
    _check_client_secret(*_read(auth, secrets, *client_secret_reference(auth)))


def _read(auth: Resource, secrets: SecretFiles, name: str, key: str) -> tuple[bytes, Refuse]:
    def refuse(problem: str, hint: str) -> UsageError:
        return auth.error(f"the secret `{name}`, key `{key}`, {problem}", hint)

    try:
        return secrets.path(name, key).read_bytes(), refuse
    except OSError as error:
        raise refuse("does not exist", "Without it the pod never starts; `workshop up` makes it") from error


def _check_signing_key(pem: bytes, refuse: Refuse) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    key = _private_key(pem)
    if key is None:
        raise refuse("is not a private key in PEM format without a passphrase", _KEY_HINT)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        raise refuse(
            "is an Ed25519 key: ToolHive loads it, then refuses every token signed with it", _KEY_HINT
        )
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < _RSA_BITS:
        raise refuse(f"is an RSA key of {key.key_size} bits; the minimum is {_RSA_BITS}", _KEY_HINT)
    curves = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
    if not isinstance(key, rsa.RSAPrivateKey) and not isinstance(getattr(key, "curve", None), curves):
        raise refuse("is neither an RSA key nor one on P-256, P-384 or P-521", _KEY_HINT)


def _private_key(pem: bytes) -> Any:  # noqa: ANN401 - one of a dozen unrelated key types
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _check_hmac(value: bytes, refuse: Refuse) -> None:
    if len(value) < _HMAC_BYTES:
        raise refuse(
            f"has {len(value)} bytes; the minimum is {_HMAC_BYTES}",
            "ToolHive uses them as they are: it does not trim them or decode base64",
        )


def _check_client_secret(value: bytes, refuse: Refuse) -> None:
    if not value.strip():
        raise refuse("is empty", "Set GITHUB_OAUTH_CLIENT_SECRET in `.env`")
    if value != value.strip():
        raise refuse(
            "begins or ends with a space or a line end, which would be sent too",
            "Check GITHUB_OAUTH_CLIENT_SECRET in `.env` for quotes and Windows line ends",
        )


def _check_client_id(auth: Resource) -> None:
    at_github = urlsplit(auth.text(f"{UPSTREAM_OAUTH}.authorizationEndpoint")).hostname == "github.com"
    if at_github and auth.find(f"{UPSTREAM_OAUTH}.clientId") == CLIENT_ID_PLACEHOLDER:
        raise auth.error(
            "`clientId` is still the placeholder, which GitHub does not know",
            "Set GITHUB_OAUTH_CLIENT_ID in `.env`, or use `--upstream practice`",
        )


def _check_remote_host(proxy: Resource) -> None:
    host = (urlsplit(proxy.text("spec.remoteUrl")).hostname or "").lower()
    if _is_internal(host, private_too=proxy.find("spec.allowPrivateEndpoint") is not True):
        raise proxy.error(
            f"`spec.remoteUrl` names `{host}`, which the operator refuses as internal",
            "Inside the cluster, use the name of a Service alone: `http://practice-github:8090/mcp/`",
        )


def _is_internal(host: str, *, private_too: bool) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        names = _INTERNAL_HOSTS + (_PRIVATE_HOSTS if private_too else ())
        return any(host == name or host.endswith(f".{name}") for name in names)
    address = getattr(address, "ipv4_mapped", None) or address
    networks = _INTERNAL_NETWORKS + (_PRIVATE_NETWORKS if private_too else ())
    return any(address in ipaddress.ip_network(network) for network in networks)
