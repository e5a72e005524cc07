"""What ToolHive would refuse, or quietly break on, is refused before anything starts."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.toolhive.conftest import Change
from workshop.core.errors import UsageError
from workshop.toolhive.lint import check, check_for_cluster, check_secrets
from workshop.toolhive.manifests import Resource, Resources
from workshop.toolhive.overrides import with_client_id, with_gateway_port, with_practice_in_cluster
from workshop.toolhive.secrets import SecretFiles, auth_configs

AUTH_SERVER = "  authServerRef:\n    kind: MCPExternalAuthConfig\n    name: github-remote-auth\n"


def test_the_parts_own_manifests_pass(change: Change) -> None:
    check(change())
    check(change(part="03_toolhive"))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("issuer: http://localhost:8080", "issuer: http://localhost:8080/", "must not end with a slash"),
        ("audience: http://localhost:8080/", "audience: http://localhost:8080", "must be the same text"),
        (
            "resourceUrl: http://localhost:8080/",
            "resourceUrl: http://127.0.0.1:8080/",
            "must be the same text",
        ),
        ("replicas: 1", "replicas: 2", "`replicas` must be 1, not 2"),
        ("  proxyPort:", "  externalAuthConfigRef: {name: x}\n  proxyPort:", "has both `authServerRef`"),
        ("http://localhost:8080", "http://gateway.example:8080", "must start with https://; only localhost"),
        ("http://localhost:8080", "ftp://localhost:8080", "must start with http:// or https://"),
        ("proxyPort: 8080", "proxyPort: 8081", "is not the port of the issuer"),
        ("proxyPort: 8080", "proxyPort: 80800", "between 1 and 65535"),
        ("/oauth/callback", "/callback", "redirectUri must be"),
        ("accessTokenLifespan: 1h", "accessTokenLifespan: 25h", "Go duration from 60s to 86400s"),
        ("accessTokenLifespan: 1h", "accessTokenLifespan: soon", "Go duration"),
        (
            "storage: {type: memory}",
            "cimd: {enabled: sometimes}",
            "enabled` must be true or false, not text",
        ),
        (
            "storage: {type: memory}",
            "cimd: {enabled: true, cacheMaxSize: 0}",
            "cacheMaxSize` must be at least 1",
        ),
        ("storage: {type: memory}", "cimd: {enabled: true, cacheFallbackTtl: 1s}", "from 10s to 86400s"),
        ("storage: {type: memory}", "allowConfidentialClientRegistration: true", "needs an https issuer"),
        (
            "storage: {type: memory}",
            "allowConfidentialClientRegistration: true\n    insecureAllowHTTP: true",
            "exclude each other",
        ),
        ("storage: {type: memory}", "baselineClientScopes: [openid, admin]", "has `admin`, which"),
        ("{type: memory}", "{type: memory, maxDCRClients: -1}", "storage.maxDCRClients` must be at least 0"),
        (
            "{type: memory}",
            "{type: memory, maxDCRClients: true}",
            "maxDCRClients` must be a whole number",
        ),
        ("maxTokens: 60", "maxTokens: 0", "maxTokens` must be at least 1, not 0"),
        ("refillPeriod: 1m", "refillPeriod: 0s", "refillPeriod` must be a Go duration"),
        ("refillPeriod: 1m", "refillPeriod: 60", "refillPeriod` must be a Go duration"),
        ("remoteUrl: https://", "remoteUrl: ftp://", "http:// or https://"),
        ("type: embeddedAuthServer", "type: tokenExchange", "must be `embeddedAuthServer`"),
        ("          tokenEndpoint:", "          #", "tokenEndpoint` is missing"),
        ("  remoteUrl:", "  #", "remoteUrl` is missing"),
        (", refillPeriod: 1m}", "}", "refillPeriod` must be a Go duration"),
    ],
)
def test_a_broken_rule_is_named(change: Change, old: str, new: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(change(old, new))
    assert told in caught.value.what


def test_issuers_that_disagree_are_named(change: Change) -> None:
    resources = change(
        "inline:\n    issuer: http://localhost:8080", "inline:\n    issuer: http://localhost:8089"
    )
    with pytest.raises(UsageError, match="differs from"):
        check(resources)


def test_a_reference_to_nothing_is_named(change: Change) -> None:
    with pytest.raises(UsageError, match="refers to MCPOIDCConfig `elsewhere`"):
        check(change("oidcConfigRef:\n    name: github-remote-oidc", "oidcConfigRef:\n    name: elsewhere"))


def test_a_proxy_without_auth_is_refused(change: Change) -> None:
    with pytest.raises(UsageError, match="anyone could use it"):
        check(change(AUTH_SERVER, ""))


@pytest.mark.parametrize("image", ["workshop/mcp-server", "workshop/mcp-server:latest"])
def test_an_image_the_kubelet_would_pull_is_refused(change: Change, image: str) -> None:
    with pytest.raises(UsageError, match="needs a tag"):
        check(change("workshop/mcp-server:0.1.0", image, part="03_toolhive"))


def test_two_replicas_are_fine_where_logins_are_shared(change: Change) -> None:
    resources = change("storage: {type: memory}", "storage: {type: redis}")
    (proxy,) = resources.of("MCPRemoteProxy")
    check(replaced(resources, {**proxy.body, "spec": {**proxy.body["spec"], "replicas": 2}}))


def test_an_https_issuer_may_be_anywhere_and_an_http_one_where_the_manifest_insists(change: Change) -> None:
    check(change("http://localhost:8080", "https://gateway.example:8080"))
    resources = change("http://localhost:8080", "http://gateway.example:8080")
    (auth,) = resources.of("MCPExternalAuthConfig")
    server = {**auth.body["spec"]["embeddedAuthServer"], "insecureAllowHTTP": True}
    check(replaced(resources, {**auth.body, "spec": {**auth.body["spec"], "embeddedAuthServer": server}}))


def test_a_server_and_a_proxy_of_one_name_are_refused(change: Change) -> None:
    both = Resources(
        (*change(part="03_toolhive").all, *change("name: github-remote\n", "name: workshop\n").all)
    )
    with pytest.raises(UsageError, match="has the same name as an MCPServer"):
        check(both)


def replaced(resources: Resources, body: Mapping[str, Any]) -> Resources:
    """The same resources, one of them with another body."""
    return Resources(
        tuple(
            Resource(each.kind, each.name, body, each.source) if each.kind == body["kind"] else each
            for each in resources.all
        )
    )


KEY, HMAC, CLIENT = (
    ("github-remote-signing-key", "signing-key.pem"),
    ("github-remote-hmac", "hmac-secret"),
    ("github-oauth-client", "client-secret"),
)


@pytest.fixture
def auth(change: Change) -> Resource:
    (found,) = auth_configs(change())
    return found


@pytest.fixture
def secrets(tmp_path: Path, auth: Resource) -> SecretFiles:
    files = SecretFiles(tmp_path / "secrets")
    files.generate(auth)
    files.write_client_secret(auth, b"an oauth app's secret")
    return files


def test_what_the_toolkit_applies_passes_with_the_secrets_it_makes(
    change: Change, secrets: SecretFiles
) -> None:
    check_for_cluster(with_client_id(change(), "Iv1.mine"), secrets)
    check_for_cluster(with_gateway_port(with_client_id(change(), "Iv1.mine"), "github-remote", 9090), secrets)
    practice = with_practice_in_cluster(
        change(),
        service_origin="http://practice-github:8090",
        browser_origin="http://localhost:8090",
        client_id="practice",
    )
    check_for_cluster(practice, secrets)


def test_the_placeholder_is_refused_at_github_only(change: Change, secrets: SecretFiles) -> None:
    with pytest.raises(UsageError, match="still the placeholder") as caught:
        check_for_cluster(change(), secrets)
    assert "GITHUB_OAUTH_CLIENT_ID" in caught.value.hint
    check_for_cluster(change("https://github.com/", "https://github.example.com/"), secrets)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1:9",
        "[::1]",
        "10.1.2.3",
        "[::ffff:10.1.2.3]",
        "x.svc.cluster.local",
        "kubernetes.default.svc",
        "x.kubernetes.default.svc.cluster.local",
    ],
)
def test_a_remote_the_operator_calls_internal_is_refused(
    change: Change, secrets: SecretFiles, host: str
) -> None:
    with pytest.raises(UsageError, match="refuses as internal"):
        check_for_cluster(change("https://api.githubcopilot.com/mcp/", f"http://{host}/mcp/"), secrets)


@pytest.mark.parametrize("host", ["practice-github:8090", "a.b.svc:8090", "100.64.0.7", "api.example.com"])
def test_a_remote_the_operator_takes_is_taken(change: Change, secrets: SecretFiles, host: str) -> None:
    remote = change("https://api.githubcopilot.com/mcp/", f"http://{host}/mcp/")
    check_for_cluster(with_client_id(remote, "Iv1.mine"), secrets)


def to_a_private(change: Change, host: str) -> Resources:
    new = f"remoteUrl: http://{host}/mcp/\n  allowPrivateEndpoint: true"
    return with_client_id(change("remoteUrl: https://api.githubcopilot.com/mcp/", new), "Iv1.mine")


@pytest.mark.parametrize("host", ["10.1.2.3", "[fd00::1]", "x.svc.cluster.local"])
def test_a_private_endpoint_is_taken_where_the_manifest_allows_it(
    change: Change, secrets: SecretFiles, host: str
) -> None:
    check_for_cluster(to_a_private(change, host), secrets)


@pytest.mark.parametrize("host", ["localhost", "169.254.1.1", "kubernetes.default.svc.cluster.local"])
def test_an_endpoint_of_the_machine_itself_is_refused_even_then(
    change: Change, secrets: SecretFiles, host: str
) -> None:
    with pytest.raises(UsageError, match="refuses as internal"):
        check_for_cluster(to_a_private(change, host), secrets)


@pytest.mark.parametrize("which", [KEY, HMAC, CLIENT])
def test_a_secret_that_is_absent_is_named(
    auth: Resource, secrets: SecretFiles, which: tuple[str, str]
) -> None:
    secrets.path(*which).unlink()
    with pytest.raises(UsageError, match=f"`{which[0]}`, key `{which[1]}`, does not exist"):
        check_secrets(auth, secrets)


def pem(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | dsa.DSAPrivateKey, form: PrivateFormat
) -> bytes:
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize(
    "form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL], ids=["PKCS#8", "traditional"]
)
@pytest.mark.parametrize("key", [rsa_key, lambda: ec.generate_private_key(ec.SECP384R1())], ids=["RSA", "EC"])
def test_each_form_of_key_that_toolhive_reads_passes(
    auth: Resource,
    secrets: SecretFiles,
    key: Callable[[], ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey],
    form: PrivateFormat,
) -> None:
    secrets.write(*KEY, pem(key(), form))
    check_secrets(auth, secrets)


@pytest.mark.parametrize(
    ("made", "told"),
    [  # in the test, and not while each worker collects
        (lambda: b"", "not a private key in PEM format"),
        (
            lambda: b"-----BEGIN PRIVATE KEY-----\nnot base64\n-----END PRIVATE KEY-----\n",
            "not a private key in PEM format",
        ),
        (
            lambda: rsa_key().private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a passphrase")
            ),
            "without a passphrase",
        ),
        (
            lambda: ed25519.Ed25519PrivateKey.generate().private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            ),
            "Ed25519",
        ),
        (
            lambda: pem(rsa.generate_private_key(65537, 1024), PrivateFormat.PKCS8),
            "1024 bits; the minimum is 2048",
        ),
        (
            lambda: pem(ec.generate_private_key(ec.SECP256K1()), PrivateFormat.PKCS8),
            "neither an RSA key nor",
        ),
        (lambda: pem(dsa.generate_private_key(1024), PrivateFormat.PKCS8), "neither an RSA key nor"),
    ],
    ids=["empty", "broken", "passphrase", "Ed25519", "short RSA", "other curve", "DSA"],
)
def test_a_key_toolhive_cannot_sign_with_is_refused(
    auth: Resource, secrets: SecretFiles, made: Callable[[], bytes], told: str
) -> None:
    secrets.write(*KEY, made())
    with pytest.raises(UsageError, match=told):
        check_secrets(auth, secrets)


@pytest.mark.parametrize(
    ("which", "value", "told"),
    [
        (HMAC, b"h" * 31, "has 31 bytes; the minimum is 32"),
        (CLIENT, b"", "is empty"),
        (CLIENT, b" \r\n", "is empty"),
        (CLIENT, b"right but for the line's end\r\n", "a space or a line end"),
    ],
)
def test_a_secret_in_the_wrong_form_is_refused_and_not_shown(
    auth: Resource, secrets: SecretFiles, which: tuple[str, str], value: bytes, told: str
) -> None:
    secrets.write(*which, value)
    with pytest.raises(UsageError, match=told) as caught:
        check_secrets(auth, secrets)
    assert "right but" not in f"{caught.value.what}{caught.value.why}{caught.value.hint}"
