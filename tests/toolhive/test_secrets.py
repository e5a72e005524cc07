"""The three secrets: right formats, private files, made once, changed when `.env` changes."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.toolhive.conftest import Change
from workshop.core.errors import UsageError
from workshop.toolhive.manifests import load, seconds
from workshop.toolhive.secrets import SecretFiles, auth_configs


def test_the_generated_secrets_have_toolhives_formats(change: Change, tmp_path: Path) -> None:
    files, (auth,) = SecretFiles(tmp_path / "secrets"), auth_configs(change())
    files.generate(auth)
    key_file = files.path("github-remote-signing-key", "signing-key.pem")
    key = load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"
    assert len(files.path("github-remote-hmac", "hmac-secret").read_bytes()) >= 32
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(key_file.parent.stat().st_mode) == 0o700


def test_generating_again_keeps_what_is_there(change: Change, tmp_path: Path) -> None:
    files, (auth,) = SecretFiles(tmp_path / "secrets"), auth_configs(change())
    files.generate(auth)
    first = files.path("github-remote-hmac", "hmac-secret").read_bytes()
    files.generate(auth)
    assert files.path("github-remote-hmac", "hmac-secret").read_bytes() == first


def test_a_client_secret_is_replaced_when_it_changes(change: Change, tmp_path: Path) -> None:
    files, (auth,) = SecretFiles(tmp_path / "secrets"), auth_configs(change())
    for value in (b"first", b"second"):
        files.write_client_secret(auth, value)
        assert files.path("github-oauth-client", "client-secret").read_bytes() == value


def test_a_secret_manifest_is_written_key_by_key(tmp_path: Path) -> None:
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: mine}\nstringData: {a: one}\ndata: {b: dHdv}\n"
    (tmp_path / "secret.yaml").write_text(text)
    files = SecretFiles(tmp_path / "secrets")
    files.write_resource(load(tmp_path).all[0])
    assert files.path("mine", "a").read_bytes() == b"one"
    assert files.path("mine", "b").read_bytes() == b"two"


def test_data_that_is_not_base64_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("apiVersion: v1\nkind: Secret\nmetadata: {name: m}\ndata: {b: '!'}\n")
    with pytest.raises(UsageError, match="not base64"):
        SecretFiles(tmp_path).write_resource(load(tmp_path).all[0])


@pytest.mark.parametrize(("name", "key"), [("..", "x"), ("a", "../../x"), ("a", "/etc/x"), ("", "x")])
def test_a_name_cannot_leave_the_secrets_folder(tmp_path: Path, name: str, key: str) -> None:
    with pytest.raises(UsageError, match="cannot name a secret"):
        SecretFiles(tmp_path).path(name, key)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1h", 3600), ("1h30m", 5400), ("168h", 604800), ("45s", 45), ("", None), ("1d", None)],
)
def test_go_durations_are_read_as_seconds(text: str, expected: int | None) -> None:
    assert seconds(text) == expected
