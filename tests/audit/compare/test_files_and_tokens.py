"""Credentials in files, tokens for another server, and probes that fail."""

import asyncio
import base64
import sqlite3
from pathlib import Path

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from workshop.audit.compare.client import signed_again, signing_key
from workshop.audit.compare.collect import attempt
from workshop.audit.compare.evidence import NotObservedError, Unobserved
from workshop.audit.compare.upstream import search
from workshop.core.encoding import jwt_claims
from workshop.core.errors import WorkshopError
from workshop.servers.practice.client import fingerprint
from workshop.servers.practice.tokens import Tokens
from workshop.toolhive.secrets import new_signing_key


@pytest.fixture
def credential() -> str:
    return Tokens("a secret").issue("learner", ("repo",))


def found_in(folder: Path, credential: str) -> list[str]:
    return list(search(folder, folder / "secrets", [fingerprint(credential)], []).upstream)


def test_a_credential_is_found_in_a_store_without_separators(tmp_path: Path, credential: str) -> None:
    with sqlite3.connect(tmp_path / "store.sqlite") as store:
        store.execute("create table grants (user text, token text, scope text)")
        store.execute("insert into grants values ('learner', ?, 'repo')", (credential,))
    store.close()
    assert found_in(tmp_path, credential) == ["store.sqlite"]
    assert found_in(tmp_path, Tokens("another secret").issue("learner", ("repo",))) == []


@pytest.mark.parametrize(
    "spelled",
    [
        lambda text: f'{{"access_token": "{text}"}}',
        lambda text: f"GET /user Bearer {text}\n",
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: base64.urlsafe_b64encode(f'{{"token": "{text}"}}'.encode()).decode().rstrip("="),
        lambda text: text.encode().hex(),
    ],
    ids=["json", "log", "base64", "base64 in a cookie", "hex"],
)
def test_a_credential_is_found_however_it_is_spelled(
    tmp_path: Path, credential: str, spelled: object
) -> None:
    assert callable(spelled)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "store").write_text(spelled(credential))
    assert found_in(tmp_path, credential) == ["one/store"]


def test_what_is_sealed_or_among_the_secrets_is_not_found(tmp_path: Path, credential: str) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "pat-learner").write_text(credential)
    (tmp_path / "sealed").write_bytes(bytes(byte ^ 0x5A for byte in credential.encode()))
    (tmp_path / "digest").write_text(fingerprint(credential))
    searched = search(tmp_path, tmp_path / "secrets", [fingerprint(credential)], ["the-client's-token"])
    assert (searched.files, list(searched.upstream), list(searched.client)) == (2, [], [])


def test_a_clients_token_is_found_too(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("issued the-clients-token to learner")
    assert search(tmp_path, tmp_path / "secrets", [], ["the-clients-token"]).client == ["log.txt"]


def test_a_token_signed_again_differs_only_in_the_changed_claims(tmp_path: Path) -> None:
    pem = new_signing_key()
    (tmp_path / "other.pem").write_bytes(new_signing_key())
    (tmp_path / "signing-key").write_bytes(pem)
    claims = {"iss": "http://localhost:1", "aud": ["me"], "sub": "learner", "exp": 4102444800}
    token = jwt.encode({"alg": "ES256", "typ": "at+jwt", "kid": "k"}, claims, ECKey.import_key(pem))
    key = signing_key(token, tmp_path)
    assert key is not None
    again = jwt.decode(signed_again(token, key, aud=["you"]), ECKey.import_key(pem), algorithms=["ES256"])
    assert again.claims == {**claims, "aud": ["you"]}
    assert again.header == {"alg": "ES256", "typ": "at+jwt", "kid": "k"}


def test_an_opaque_token_has_no_key(tmp_path: Path) -> None:
    (tmp_path / "signing-key").write_bytes(new_signing_key())
    (tmp_path / "broken.pem").write_bytes(b"-----BEGIN NOTHING-----\n")
    assert jwt_claims("opaque") is None
    assert jwt_claims("a.b.c") is None
    assert signing_key("opaque", tmp_path) is None


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (NotObservedError("nobody asked"), "nobody asked"),
        (WorkshopError("It broke", why="On its way"), "It broke. On its way"),
        (httpx2.ConnectError("refused"), "no answer: ConnectError refused"),
        (KeyError("code"), "KeyError: 'code'"),
        (ExceptionGroup("several", [WorkshopError("It broke")]), "It broke"),
        (WorkshopError("\x1b[31mred\n" + "x" * 500), "\\x1b[31mred " + "x" * 147 + "…"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_probe_that_fails_reports_why(error: Exception, why: str) -> None:
    async def failing() -> None:
        raise error

    assert asyncio.run(attempt(1, failing)) == Unobserved(why)


def test_a_probe_without_end_is_ended() -> None:
    async def endless() -> None:
        await asyncio.Event().wait()

    assert asyncio.run(attempt(0.01, endless)) == Unobserved("not finished within 0.01 s")
