"""A seat file: what is written can be read, by us and by kubectl, and anything else is refused by name."""

import base64
import json
import shutil
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from workshop.core.errors import UsageError
from workshop.lab.room import seat_file
from workshop.lab.room.seat_file import Practice, Seat, SeatFile, SeatImages

SECRET = "made-up-record-key"


def token_until(moment: int) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": moment}).encode()).decode().rstrip("=")
    return f"made-up-header.{claims}.made-up-signature"


def sample() -> SeatFile:
    return SeatFile(
        about=Seat(
            room="monday",
            seat="01",
            namespace="monday-01",
            practice=Practice(user="seat-01", namespace="monday", record_key=SECRET),
            images=SeatImages(mcp_server="lab/mcp-server:1", practice="lab/practice:1"),
        ),
        cluster={"server": "https://cluster.test:6443", "certificate-authority-data": "bWFkZSB1cA=="},
        token=token_until(1_800_000_000),
    )


def test_a_seat_file_that_was_written_is_read_again_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "seats" / "monday-01.yaml"
    seat_file.write(path, sample())
    found = seat_file.read(path)
    assert found == sample()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert found.context == "workshop-monday-01"
    assert found.server == "https://cluster.test:6443"
    assert found.expires == datetime.fromtimestamp(1_800_000_000, UTC)


def test_a_seat_of_a_room_with_the_real_github_has_no_practice(tmp_path: Path) -> None:
    about = Seat(room="monday", seat="100", namespace="monday-100")
    given = sample().model_copy(update={"about": about})
    seat_file.write(tmp_path / "seat.yaml", given)
    assert seat_file.read(tmp_path / "seat.yaml").about.practice is None


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "a.bnVsbA.c", token_until(10**18)])
def test_the_end_of_a_token_that_does_not_show_it_is_unknown(token: str) -> None:
    assert sample().model_copy(update={"token": token}).expires is None


def test_its_text_form_hides_the_token_and_the_key() -> None:
    assert SECRET not in repr(sample())
    assert "made-up-signature" not in repr(sample())


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on the PATH")
def test_kubectl_accepts_the_file_and_its_extension(tmp_path: Path) -> None:
    path = tmp_path / "seat.yaml"
    seat_file.write(path, sample())
    argv = ["kubectl", "--kubeconfig", str(path), "config", "view", "--minify", "--flatten", "--raw"]
    viewed = subprocess.run(argv, capture_output=True, check=True).stdout
    assert seat_file.parsed(viewed) == sample()


def without_token(config: dict[str, Any]) -> None:
    del config["users"][0]["user"]["token"]


def without_extension(config: dict[str, Any]) -> None:
    del config["contexts"][0]["context"]["extensions"]


def with_bad_room(config: dict[str, Any]) -> None:
    config["contexts"][0]["context"]["extensions"][0]["extension"]["room"] = f"{SECRET}/.."


def with_unknown_key(config: dict[str, Any]) -> None:
    config["contexts"][0]["context"]["extensions"][0]["extension"]["extra"] = SECRET


def over_plain_http(config: dict[str, Any]) -> None:
    config["clusters"][0]["cluster"]["server"] = "http://cluster.test"


def without_contexts(config: dict[str, Any]) -> None:
    config["contexts"] = None


def of_another_kind(config: dict[str, Any]) -> None:
    config["kind"] = "Secret"


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (without_token, "`token` is missing"),
        (without_extension, "It is a kubeconfig, but not one of a seat"),
        (with_bad_room, "`room` must be one label of a host name"),
        (with_unknown_key, "`extra` is unknown"),
        (over_plain_http, "`cluster.server` is missing or not valid"),
        (without_contexts, "It is a kubeconfig, but not one of a seat"),
        (of_another_kind, "It is not a kubeconfig"),
    ],
)
def test_a_damaged_seat_file_is_refused_by_name_without_its_contents(
    damage: Callable[[dict[str, Any]], None], why: str, tmp_path: Path
) -> None:
    config = sample().kubeconfig()
    damage(config)
    path = tmp_path / "seat.yaml"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(UsageError, match="is not a seat file that can be used") as caught:
        seat_file.read(path)
    assert caught.value.why == why
    assert "room renew" in caught.value.hint


@pytest.mark.parametrize("text", ["", "a: [", "[" * 100_000, "\0", "x" * 2_000_000, "date: 2026-99-99"])
def test_what_is_not_a_kubeconfig_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "seat.yaml").write_text(text)
    with pytest.raises(UsageError, match="is not a seat file"):
        seat_file.read(tmp_path / "seat.yaml")


def test_a_seat_file_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read") as caught:
        seat_file.read(tmp_path / "none.yaml")
    assert caught.value.why == "No such file or directory"
