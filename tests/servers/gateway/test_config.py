"""Every way the configuration can be wrong ends in one of our errors, which says where."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.servers.gateway.harness import PRACTICE_SECRET, ec_pem, settings
from workshop.core.errors import UsageError
from workshop.servers.gateway.config import load

Change = Callable[[dict[str, Any]], object]


def written(folder: Path, values: object) -> Path:
    path = folder / "gateway.json"
    path.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    return path


def test_a_complete_configuration_is_read(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("practice-key")
    values = settings(tmp_path)
    values |= {"header_forward": {"X-A": "1"}, "header_forward_files": {"X-Key": str(tmp_path / "key")}}
    values["tools"] = {"filter": ["me"], "override": {"get_me": {"name": "me", "description": "Who am I"}}}
    config = load(written(tmp_path, values))
    assert config.headers == {"X-A": "1", "X-Key": "practice-key"}
    assert config.tools is not None
    assert config.tools.allowed == frozenset({"me"})
    assert config.auth is not None
    assert config.auth.resource == "http://localhost:8080/"
    assert config.auth.challenge_scopes == ("openid", "profile", "email")
    assert config.auth.upstream.client_secret == PRACTICE_SECRET


def test_nothing_secret_is_in_what_the_configuration_shows_of_itself(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("practice-key")
    values = settings(tmp_path) | {"header_forward_files": {"X-Key": str(tmp_path / "key")}}
    shown = repr(load(written(tmp_path, values)))
    assert PRACTICE_SECRET not in shown
    assert "practice-key" not in shown
    assert "hhhh" not in shown
    assert "PRIVATE" not in shown


def test_without_auth_no_secret_is_needed(tmp_path: Path) -> None:
    values = settings(tmp_path) | {"auth": None}
    assert load(written(tmp_path, values)).auth is None


def auth(name: str, value: object) -> Change:
    return lambda values: values["auth"].__setitem__(name, value)


def upstream(name: str, value: object) -> Change:
    return lambda values: values["auth"]["upstream"].__setitem__(name, value)


def userinfo(name: str, value: object) -> Change:
    return lambda values: values["auth"]["upstream"]["userinfo"].__setitem__(name, value)


def top(name: str, value: object) -> Change:
    return lambda values: values.__setitem__(name, value)


WRONG: dict[str, tuple[Change, str]] = {
    "unknown setting": (top("prot", 1), "prot"),
    "unknown auth setting": (auth("isuer", "x"), "auth.isuer"),
    "no name": (top("name", ""), "name"),
    "port as text": (top("port", "8080"), "port"),
    "port too high": (top("port", 70000), "port"),
    "port true": (top("port", True), "port"),
    "remote without scheme": (top("remote_url", "localhost:8090"), "remote_url"),
    "remote over plain http": (top("remote_url", "http://remote.test/mcp"), "remote_url"),
    "remote with a user": (top("remote_url", "https://user@remote.test/"), "remote_url"),
    "remote with a line break": (top("remote_url", "https://remote.test/\n"), "remote_url"),
    "issuer with a slash": (auth("issuer", "http://localhost:8080/"), "auth.issuer"),
    "issuer with a path": (auth("issuer", "http://localhost:8080/x"), "auth.issuer"),
    "issuer over plain http": (auth("issuer", "http://gateway.test"), "auth.issuer"),
    "issuer is a number": (auth("issuer", 7), "auth.issuer"),
    "audience is not the resource": (auth("audience", "http://localhost:8080"), "auth.audience"),
    "resource elsewhere": (
        lambda values: values["auth"].update(audience="https://a.test/", resource_url="https://a.test/"),
        "auth.resource_url",
    ),
    "scope with a space": (auth("scopes", ["a b"]), "auth.scopes"),
    "scopes as text": (auth("scopes", "openid"), "auth.scopes"),
    "required scope unknown": (auth("required_scopes", ["admin"]), "auth.required_scopes"),
    "no signing key": (auth("signing_key_files", []), "auth.signing_key_files"),
    "missing signing key": (auth("signing_key_files", ["/nowhere/key.pem"]), "auth.signing_key_files"),
    "no HMAC secret": (auth("hmac_files", []), "auth.hmac_files"),
    "access tokens too short": (auth("access_token_seconds", 59), "auth.access_token_seconds"),
    "access tokens too long": (auth("access_token_seconds", 86401), "auth.access_token_seconds"),
    "refresh tokens too long": (auth("refresh_token_seconds", 31 * 86400), "auth.refresh_token_seconds"),
    "codes too long": (auth("code_seconds", 601), "auth.code_seconds"),
    "no upstream": (auth("upstream", None), "auth.upstream"),
    "no client id": (upstream("client_id", ""), "auth.upstream.client_id"),
    "token endpoint over plain http": (
        upstream("token_endpoint", "http://github.test/token"),
        "auth.upstream.token_endpoint",
    ),
    "callback elsewhere": (
        upstream("redirect_uri", "http://127.0.0.1:8080/oauth/callback"),
        "auth.upstream.redirect_uri",
    ),
    "userinfo method": (userinfo("method", "DELETE"), "auth.upstream.userinfo.method"),
    "userinfo header": (userinfo("headers", {"X": "a\r\nb"}), "auth.upstream.userinfo.headers.X"),
    "header with a line break": (top("header_forward", {"X": "a\nb"}), "header_forward.X"),
    "header with a space": (top("header_forward", {"X Y": "a"}), "header_forward.X Y"),
    "header that frames": (top("header_forward", {"Content-Length": "1"}), "header_forward.Content-Length"),
    "header that replaces the token": (
        top("header_forward", {"authorization": "Bearer x"}),
        "header_forward.authorization",
    ),
    "header from no file": (top("header_forward_files", {"X": "/nowhere"}), "header_forward_files.X"),
    "tools as a list": (top("tools", ["x"]), "tools"),
    "two tools of one name": (
        top("tools", {"override": {"a": {"name": "c"}, "b": {"name": "c"}}}),
        "tools.override",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_is_named(tmp_path: Path, case: str) -> None:
    change, where = WRONG[case]
    values = settings(tmp_path)
    change(values)
    with pytest.raises(UsageError) as caught:
        load(written(tmp_path, values))
    assert f"`{where}`" in caught.value.what
    assert caught.value.why


@pytest.mark.parametrize("case", WRONG)
def test_an_error_shows_no_value_that_may_be_a_secret(tmp_path: Path, case: str) -> None:
    change, _ = WRONG[case]
    values = settings(tmp_path) | {"header_forward": {"X-Key": "practice-key"}}
    change(values)
    with pytest.raises(UsageError) as caught:
        load(written(tmp_path, values))
    shown = f"{caught.value.what} {caught.value.why} {caught.value.hint}"
    for secret in ("practice-key", "Bearer x", PRACTICE_SECRET, "hhhh", "PRIVATE"):
        assert secret not in shown


@pytest.mark.parametrize("value", ["sk-secret", ["sk-secret"], {"X": ["sk-secret"]}, {"X": "sk-secret\n"}])
def test_a_wrong_header_is_named_and_not_shown(tmp_path: Path, value: object) -> None:
    with pytest.raises(UsageError) as caught:
        load(written(tmp_path, settings(tmp_path) | {"header_forward": value}))
    assert "header_forward" in caught.value.what
    assert "sk-secret" not in f"{caught.value.what} {caught.value.why} {caught.value.hint}"


def test_what_is_null_is_left_out_where_a_block_may_be(tmp_path: Path) -> None:
    values = settings(tmp_path) | {"tools": None, "header_forward": None, "header_forward_files": None}
    values["auth"] |= {"cimd": None, "registrations": None}
    values["auth"]["upstream"]["userinfo"] |= {"subject_fields": [], "name_fields": [], "email_fields": []}
    config = load(written(tmp_path, values))
    assert config.tools is None
    assert config.headers == {}
    assert config.auth is not None
    assert config.auth.documents.enabled is False
    assert config.auth.registrations.max_clients == 10_000
    info = config.auth.upstream.userinfo
    assert info is not None
    assert (info.subject_fields, info.name_fields, info.email_fields) == (("sub",), ("name",), ("email",))


def test_an_unknown_key_comes_with_the_known_ones(tmp_path: Path) -> None:
    values = settings(tmp_path)
    values["auth"]["upstream"]["userinfo"]["uri"] = values["auth"]["upstream"]["userinfo"].pop("url")
    with pytest.raises(UsageError) as caught:
        load(written(tmp_path, values))
    assert "`auth.upstream.userinfo.uri`" in caught.value.what
    assert caught.value.hint == "Allowed are email_fields, headers, method, name_fields, subject_fields, url"


@pytest.mark.parametrize(("key", "needed"), [("remote_url", "a text"), ("auth", "a JSON object")])
def test_what_a_value_of_another_type_must_be_is_named(tmp_path: Path, key: str, needed: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(written(tmp_path, settings(tmp_path) | {key: 5}))
    assert (f"`{key}`" in caught.value.what, caught.value.why) == (True, f"It must be {needed}")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "7"])
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError):
        load(written(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing\.json"):
        load(tmp_path / "missing.json")


def pem(key: Any, encryption: Any = None) -> bytes:
    encoded: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())
    return encoded


KEYS: dict[str, tuple[Callable[[], bytes], str]] = {
    "Ed25519": (lambda: pem(ed25519.Ed25519PrivateKey.generate()), "Ed25519"),
    "not PEM": (lambda: b"key", "PEM"),
    "empty": (lambda: b"", "PEM"),
    "encrypted": (
        lambda: pem(ec.generate_private_key(ec.SECP256R1()), BestAvailableEncryption(b"password")),
        "unencrypted",
    ),
    "public": (
        lambda: (
            ec.generate_private_key(ec.SECP256R1())
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        ),
        "PEM",
    ),
    "secp256k1": (lambda: ec_pem(ec.SECP256K1()), "EC P-256"),
}


@pytest.mark.parametrize("case", KEYS)
def test_a_signing_key_that_cannot_sign_our_tokens_is_refused(tmp_path: Path, case: str) -> None:
    make, said = KEYS[case]
    (tmp_path / "key.pem").write_bytes(make())
    with pytest.raises(UsageError) as caught:
        load(written(tmp_path, settings(tmp_path)))
    assert said in caught.value.why
    assert "openssl" in caught.value.hint


@pytest.mark.parametrize(
    ("make", "algorithm"),
    [
        (ec_pem, "ES256"),
        (lambda: ec_pem(ec.SECP384R1()), "ES384"),
        (lambda: pem(rsa.generate_private_key(65537, 2048)), "RS256"),
        (
            lambda: ec.generate_private_key(ec.SECP256R1()).private_bytes(
                Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
            ),
            "ES256",
        ),
    ],
    ids=["P-256", "P-384", "RSA", "SEC1"],
)
def test_ec_and_rsa_keys_are_read(tmp_path: Path, make: Callable[[], bytes], algorithm: str) -> None:
    (tmp_path / "key.pem").write_bytes(make())
    config = load(written(tmp_path, settings(tmp_path)))
    assert config.auth is not None
    (key,) = config.auth.signing_keys
    assert key.algorithm == algorithm
    assert key.kid == key.key.thumbprint()


@pytest.mark.parametrize("secret", [b"", b"   ", b" x", b"x\n", b"x\r\n", b"x\x00y", b"\xff\xfe"])
def test_a_client_secret_that_dotenv_has_spoilt_is_refused(tmp_path: Path, secret: bytes) -> None:
    (tmp_path / "client").write_bytes(secret)
    with pytest.raises(UsageError) as caught:
        load(written(tmp_path, settings(tmp_path)))
    assert "client_secret_file" in caught.value.what


def test_a_short_hmac_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hmac").write_bytes(b"h" * 31)
    with pytest.raises(UsageError, match="hmac_files"):
        load(written(tmp_path, settings(tmp_path)))
