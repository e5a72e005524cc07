"""What only a cluster would refuse is refused here, on the resources as they will be applied."""

from pathlib import Path

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
from workshop.toolhive.lint import check_for_cluster, check_secrets
from workshop.toolhive.manifests import Resource, Resources
from workshop.toolhive.overrides import with_client_id, with_gateway_port, with_practice_in_cluster
from workshop.toolhive.secrets import SecretFiles, auth_configs

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


RSA = rsa.generate_private_key(65537, 2048)
CURVE = ec.generate_private_key(ec.SECP384R1())


@pytest.mark.parametrize(
    "value",
    [
        pem(RSA, PrivateFormat.PKCS8),
        pem(RSA, PrivateFormat.TraditionalOpenSSL),
        pem(CURVE, PrivateFormat.PKCS8),
        pem(CURVE, PrivateFormat.TraditionalOpenSSL),
    ],
    ids=["RSA PKCS#8", "RSA PKCS#1", "EC PKCS#8", "EC SEC1"],
)
def test_each_form_of_key_that_toolhive_reads_passes(
    auth: Resource, secrets: SecretFiles, value: bytes
) -> None:
    secrets.write(*KEY, value)
    check_secrets(auth, secrets)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"", "not a private key in PEM format"),
        (
            b"-----BEGIN PRIVATE KEY-----\nnot base64\n-----END PRIVATE KEY-----\n",
            "not a private key in PEM format",
        ),
        (
            RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a passphrase")),
            "without a passphrase",
        ),
        (
            ed25519.Ed25519PrivateKey.generate().private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            ),
            "Ed25519",
        ),
        (pem(rsa.generate_private_key(65537, 1024), PrivateFormat.PKCS8), "1024 bits; the minimum is 2048"),
        (pem(ec.generate_private_key(ec.SECP256K1()), PrivateFormat.PKCS8), "neither an RSA key nor"),
        (pem(dsa.generate_private_key(1024), PrivateFormat.PKCS8), "neither an RSA key nor"),
    ],
    ids=["empty", "broken", "passphrase", "Ed25519", "short RSA", "other curve", "DSA"],
)
def test_a_key_toolhive_cannot_sign_with_is_refused(
    auth: Resource, secrets: SecretFiles, value: bytes, told: str
) -> None:
    secrets.write(*KEY, value)
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
