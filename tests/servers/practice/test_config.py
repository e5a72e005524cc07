"""The configuration file: checked before anything starts."""

import json
from pathlib import Path
from typing import Any

import pytest

from workshop.core.errors import UsageError
from workshop.servers.practice import config


def write(directory: Path, **changes: Any) -> Path:
    (directory / "secret").write_text("kept in a file\n")
    raw = {
        "port": 8090,
        "client_id": "practice-workshop-app",
        "client_secret_file": str(directory / "secret"),
        "callback_url": "http://localhost:8080/oauth/callback",
        "app_name": "MCP workshop",
    }
    path = directory / "practice.json"
    path.write_text(json.dumps({name: value for name, value in (raw | changes).items() if value is not ...}))
    return path


def test_a_good_file_is_read_and_the_secret_comes_from_its_own_file(tmp_path: Path) -> None:
    loaded = config.load(write(tmp_path))
    assert (loaded.port, loaded.url) == (8090, "http://localhost:8090")
    assert loaded.client_secret == "kept in a file"


def test_a_relative_secret_file_lies_beside_the_configuration(tmp_path: Path) -> None:
    assert config.load(write(tmp_path, client_secret_file="secret")).client_secret == "kept in a file"


def test_the_secret_does_not_show_in_the_representation(tmp_path: Path) -> None:
    assert "kept in a file" not in repr(config.load(write(tmp_path)))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"port": ...}, "`port`"),
        ({"port": "8090"}, "`port`"),
        ({"port": True}, "`port`"),
        ({"port": 0}, "`port`"),
        ({"port": 70000}, "`port`"),
        ({"client_id": ""}, "`client_id`"),
        ({"app_name": None}, "`app_name`"),
        ({"callback_url": "localhost:8080/callback"}, "`callback_url`"),
        ({"callback_url": "http://localhost:99999/callback"}, "`callback_url`"),
        ({"callback_url": "http://localhost/callback#part"}, "`callback_url`"),
        ({"service_host": ""}, "`service_host`"),
        ({"public_url": "http://github.com"}, "`public_url`"),
        ({"service_host": "*"}, "`service_host`"),
        ({"service_host": "practice-github:8090"}, "`service_host`"),
        ({"hop": 0}, "`hop`"),
        ({"hop": "6"}, "`hop`"),
        ({"client_secret": "never in here"}, "client_secret"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as caught:
        config.load(write(tmp_path, **changes))
    assert named in caught.value.what
    assert "never in here" not in f"{caught.value.what}{caught.value.why}{caught.value.hint}"


def test_a_cluster_names_the_service_and_nothing_else_does(tmp_path: Path) -> None:
    assert config.load(write(tmp_path)).service_host == ""
    loaded = config.load(write(tmp_path, service_host="practice-github"))
    assert (loaded.service_host, loaded.url) == ("practice-github", "http://localhost:8090")


def test_behind_a_tls_proxy_its_api_has_a_name_of_its_own(tmp_path: Path) -> None:
    loaded = config.load(write(tmp_path, public_url="https://github.com"))
    assert (loaded.url, loaded.api_url) == ("https://github.com", "https://api.github.com")
    assert loaded.hosts == {"github.com", "api.github.com"}
    assert config.load(write(tmp_path)).api_url == "http://localhost:8090"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "practice.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"practice\.json"):
        config.load(path)


def test_a_missing_file_and_an_empty_secret_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        config.load(tmp_path / "nowhere.json")
    path = write(tmp_path)
    (tmp_path / "secret").write_text(" \n")
    with pytest.raises(UsageError, match="is empty"):
        config.load(path)
    (tmp_path / "secret").unlink()
    with pytest.raises(UsageError, match=f"client secret file {tmp_path}/secret cannot be read") as caught:
        config.load(path)
    assert caught.value.why == "No such file or directory"
