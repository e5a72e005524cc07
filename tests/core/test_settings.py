"""`.env` is read as it is commonly written, and refused with the reason where it cannot be."""

import os
from pathlib import Path

import pytest

from workshop.core.errors import UsageError
from workshop.core.settings import Settings

SECRET = "GITHUB_OAUTH_CLIENT_SECRET"


def read(folder: Path, content: bytes) -> Settings:
    path = folder / "settings.env"
    path.write_bytes(content)
    return Settings.load(path)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"K=plain", "plain"),
        (b"K=crlf\r\n", "crlf"),
        (b'K="double quoted"'.replace(b" ", b"_"), "double_quoted"),
        (b"K='single#quoted'", "single#quoted"),
        (b"K=in#side", "in#side"),
        (b"K=value # a comment", "value"),
        (b"export K=exported", "exported"),
        (b"K = spaced", "spaced"),
        (b"K=${HOME}", "${HOME}"),
        (b"\xef\xbb\xbfK=bom", "bom"),
        (b"K=", None),
        (b"", None),
    ],
)
def test_a_value_is_read_as_written(tmp_path: Path, line: bytes, expected: str | None) -> None:
    assert read(tmp_path, line.replace(b"K", SECRET.encode(), 1)).github_client_secret.value == expected


@pytest.mark.parametrize("content", [b"K='open\n", b"K\n", b'K="a b"\n', b"K=' a'\n", b'K="a\\nb"\n'])
def test_a_line_that_cannot_be_meant_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, content.replace(b"K", SECRET.encode()))
    shown = f"{caught.value.what} {caught.value.why} {caught.value.hint}"
    assert "a b" not in shown
    assert "open\n" not in shown


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not UTF-8"):
        read(tmp_path, "K=v".encode("utf-16"))


def test_a_file_that_is_named_but_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Cannot read"):
        Settings.load(tmp_path / "none.env")


def test_a_folder_named_env_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Cannot read"):
        Settings.load(tmp_path)


def test_no_file_at_all_is_no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("workshop.core.settings.checkout_dir", lambda: None)
    assert Settings.load() == Settings()


def test_t123_a_secret_in_the_shell_environment_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECRET, "from-the-shell")
    before = dict(os.environ)
    assert read(tmp_path, b"WORKSHOP_MODEL=m").github_client_secret.value is None
    assert dict(os.environ) == before


def test_each_value_reports_where_it_came_from_and_is_not_in_the_repr(tmp_path: Path) -> None:
    settings = read(tmp_path, f"{SECRET}=sample".encode())
    assert settings.github_client_secret.source == str(tmp_path / "settings.env")
    assert settings.model.source == "not set"
    assert "sample" not in repr(settings)
    assert settings.secrets() == ("sample",)


@pytest.mark.parametrize("key", ["GITHUB_OAUTH_CLIENT_ID", SECRET, "OPENAI_API_KEY"])
@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("abc\u200bdef", "U+200B (zero width space) at position 4"),
        ("\u201cabcdef\u201d", "U+201C (left double quotation mark) at position 1"),
        ("abcd\u0435f", "U+0435 (cyrillic small letter ie) at position 5"),
        ("abcdef\u2026", "U+2026 (horizontal ellipsis) at position 7"),
    ],
)
def test_a_character_outside_ascii_is_named_and_never_sent(
    tmp_path: Path, key: str, value: str, named: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, f"{key}={value}\n".encode())
    assert f"{key} in" in caught.value.what
    assert named in caught.value.what
    shown = f"{caught.value.what} {caught.value.why} {caught.value.hint}"
    assert value not in shown
    assert "abc" not in shown


def test_a_models_name_may_have_any_character(tmp_path: Path) -> None:
    assert read(tmp_path, "WORKSHOP_MODEL=modèle-π\n".encode()).model.value == "modèle-π"


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("OPENAI_APIKEY", "OPENAI_API_KEY"),
        ("openai_api_key", "OPENAI_API_KEY"),
        ("GITHUB_CLIENT_SECRET", "GITHUB_OAUTH_CLIENT_SECRET"),
        ("OPENAI_BASEURL", "OPENAI_BASE_URL"),
        ("WORKSHOP_MODELL", "WORKSHOP_MODEL"),
        ("\u041ePENAI_API_KEY", "OPENAI_API_KEY"),
    ],
)
def test_an_unknown_key_that_looks_like_ours_is_a_warning(tmp_path: Path, key: str, meant: str) -> None:
    settings = read(tmp_path, f"{key}=not-shown\nUNRELATED=1\n".encode())
    (warning,) = settings.warnings
    assert f"Did you mean {meant}?" in warning
    assert "not-shown" not in warning
    assert ("U+041E" in warning) == (not key.isascii())


@pytest.mark.parametrize("key", ["UNRELATED", "PATH", "OPENAI_ORG_ID", "WORKSHOP_HOME", "DATABASE_URL"])
def test_another_programs_key_is_no_warning(tmp_path: Path, key: str) -> None:
    assert read(tmp_path, f"{key}=1\n".encode()).warnings == ()
