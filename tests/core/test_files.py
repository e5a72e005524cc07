"""A file that may be damaged: of another type, size, depth or kind, it is refused in a few words."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from workshop.core.encoding import DEEPEST
from workshop.core.errors import UsageError
from workshop.core.files import (
    MOST_BYTES,
    DamagedFileError,
    Pid,
    Port,
    parsed_json,
    read_json,
    read_state,
    read_toml,
    typed,
)
from workshop.core.instance import Record
from workshop.lab.cluster.record import ClusterRecord
from workshop.lab.forward import ForwardState
from workshop.lab.process import ProcessState

DEEP = 20_000


@dataclass(frozen=True)
class Inner:
    name: str
    on: bool = False


@dataclass(frozen=True)
class Outer:
    kind: Literal["a", "b"]
    pid: Pid
    port: Port
    seconds: float
    bundle: str | None = None
    inner: Mapping[str, Inner] = field(default_factory=dict)
    names: tuple[str, ...] = ()


GOOD: dict[str, Any] = {
    "kind": "a",
    "pid": 7,
    "port": 8080,
    "seconds": 1,
    "bundle": "x",
    "inner": {"one": {"name": "n", "on": True}},
    "names": ["a"],
}


def test_what_fits_becomes_the_dataclass() -> None:
    made = typed(Outer, GOOD)
    assert made == Outer("a", 7, 8080, 1, "x", {"one": Inner("n", on=True)}, ("a",))
    assert typed(Outer, {"kind": "b", "pid": 1, "port": 1, "seconds": 0.5}) == Outer("b", 1, 1, 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "c"}, "`kind` is not one of a, b"),
        ({"kind": ["a"]}, "`kind` is not one of a, b"),
        ({"pid": "x"}, "`pid` is not a whole number"),
        ({"pid": True}, "`pid` is not a whole number"),
        ({"pid": -1}, "`pid` is not a whole number from 1 to 2147483647"),
        ({"pid": 10**30}, "`pid` is not a whole number from 1 to 2147483647"),
        ({"port": 99999}, "`port` is not a whole number from 1 to 65535"),
        ({"port": 8080.0}, "`port` is not a whole number"),
        ({"seconds": float("nan")}, "`seconds` is not a number"),
        ({"seconds": float("inf")}, "`seconds` is not a number"),
        ({"seconds": None}, "`seconds` is not a number"),
        ({"bundle": 5}, "`bundle` is not of an allowed type"),
        ({"inner": []}, "`inner` is not a table"),
        ({"inner": {"one": {"name": 5}}}, "`inner.one.name` is not text"),
        ({"inner": {"one": {}}}, "`inner.one.name` is missing"),
        ({"names": "a"}, "`names` is not a list"),
        ({"names": [1]}, "`names.0` is not text"),
        ({"more": "not-shown"}, "`more` is unknown"),
    ],
)
def test_another_type_is_named_by_its_path_and_not_shown(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DamagedFileError) as caught:
        typed(Outer, {**GOOD, **changes})
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["kind", "pid", "port", "seconds"])
def test_what_has_no_default_has_to_be_there(name: str) -> None:
    with pytest.raises(DamagedFileError, match=f"`{name}` is missing"):
        typed(Outer, {key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize("text", ["[" * DEEP, "[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP])
def test_deep_nesting_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError):
        parsed_json(text)
    (tmp_path / "file").write_text(text)
    with pytest.raises(DamagedFileError):
        read_state(Outer, tmp_path / "file")


def test_the_depth_has_a_limit_below_that_of_python() -> None:
    assert parsed_json("[" * DEEPEST + "]" * DEEPEST)
    with pytest.raises(DamagedFileError, match="nested too deeply"):
        parsed_json("[" * (DEEPEST + 2) + "]" * (DEEPEST + 2))


@pytest.mark.parametrize(
    "text", ["a." * (DEEP // 10) + "a = 1", "a = " + "[" * DEEP + "]" * DEEP, "a = " + "[" * DEEP]
)
def test_deep_nesting_in_toml_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "demo.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        read_toml(tmp_path / "demo.toml")
    assert len(caught.value.why) < 200


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"\x00", b"9" * 5000])
def test_what_is_not_json_is_refused_without_showing_it(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DamagedFileError) as caught:
        read_json(tmp_path / "file")
    assert len(str(caught.value)) < 120


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(DamagedFileError, match="larger than"):
        read_json(tmp_path / "file")


def test_a_pipe_and_a_device_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(DamagedFileError, match="not a regular file"):
            read_json(path)


def test_no_file_is_none_and_one_that_cannot_be_read_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert read_state(Outer, tmp_path / "absent") is None
    assert read_state(Outer, tmp_path / "file" / "below") is None
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DamagedFileError):
        read_state(Outer, tmp_path / "loop")


@pytest.mark.parametrize(
    "written",
    [
        Record(
            "embedded", "practice", {"github-remote": 8080}, {"github-remote": "http://localhost:8080/mcp"}
        ),
        ProcessState("one", 7, 1.5, 8080, "http://localhost:8080", "abc", "log.txt"),
        ClusterRecord("kind", "w1", "workshop", "workshop", {"a": "b"}, None, {}, ("cluster",), {}),
        ForwardState("forwarding", 1.5, 2, "lost"),
    ],
    ids=lambda written: type(written).__name__,
)
def test_every_record_of_ours_is_read_as_it_was_written(written: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(json.dumps(asdict(written)))
    assert read_state(type(written), tmp_path / "file") == written
