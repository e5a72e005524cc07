"""Logs are read from their end, and followed through whatever happens to them."""

from pathlib import Path

import pytest

from tests.lab.kube.fake_cluster import NAMESPACE, FakeCluster
from workshop.lab.logs import ContainerLog, FileLog, file_logs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


@pytest.fixture
def log(path: Path) -> FileLog:
    return FileLog("proxy", "proxy", path)


def append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


@pytest.mark.parametrize(
    ("text", "lines", "expected"),
    [
        ("", 2, []),
        ("one\n", 2, ["one"]),
        ("one\ntwo\nthree\n", 2, ["two", "three"]),
        ("one\ntwo\nthr", 2, ["two", "thr"]),
        ("one\n\n\n", 2, ["", ""]),
        ("one\ntwo\n", 0, []),
        ("one\r\ntwo\r\n", 5, ["one", "two"]),
    ],
)
def test_the_last_lines_are_read(
    path: Path, log: FileLog, text: str, lines: int, expected: list[str]
) -> None:
    path.write_bytes(text.encode())
    assert log.last(lines) == expected
    assert log.new() == []


@pytest.mark.parametrize("lines", [1, 999, 1000, 1001, 5000])
def test_a_long_file_is_read_from_its_end(path: Path, log: FileLog, lines: int) -> None:
    written = [f"{number} {'x' * 300}" for number in range(1000)]
    path.write_text("\n".join(written) + "\n")
    assert log.last(lines) == written[-lines:]


def test_a_file_without_a_line_break_is_not_read_whole(path: Path) -> None:
    log = FileLog("web", "web", path, most=1000, block=100)
    path.write_text("x" * 5000)
    assert [len(line) for line in log.last(3)] == [1000]


def test_only_finished_lines_follow(path: Path, log: FileLog) -> None:
    append(path, "one\n")
    assert log.last(5) == ["one"]
    append(path, "two\nthr")
    assert log.new() == ["two"]
    append(path, "ee\n")
    assert (log.new(), log.new()) == (["three"], [])


def test_a_file_that_was_cut_goes_on_from_its_start(path: Path, log: FileLog) -> None:
    append(path, "one\ntwo\n")
    log.last(5)
    path.write_text("new\n")
    assert log.new() == ["new"]


def test_a_file_that_was_replaced_goes_on_from_its_start(path: Path, log: FileLog) -> None:
    append(path, "one\n")
    log.last(5)
    path.rename(path.with_suffix(".1"))
    assert log.new() == ()
    append(path, "a longer line than before\n")
    assert log.new() == ["a longer line than before"]


def test_a_file_that_is_not_there_yet_is_awaited(path: Path, log: FileLog) -> None:
    assert (log.last(5), log.new()) == ((), ())
    append(path, "one\n")
    assert log.new() == ["one"]


def test_what_is_no_text_is_shown_as_well_as_it_can_be(path: Path, log: FileLog) -> None:
    path.write_bytes(b"\xff\xfe ok\n")
    assert log.last(1) == ["\ufffd\ufffd ok"]


def test_a_server_behind_a_proxy_belongs_to_the_same_workload(tmp_path: Path) -> None:
    for name in ("workshop", "workshop-0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.txt").touch()
    found = [(log.name, log.workload) for log in file_logs(tmp_path, "forward/")]
    assert found == [("forward/workshop", "workshop"), ("forward/workshop-0", "workshop")]


def test_a_container_is_followed_without_a_line_twice(cluster: FakeCluster) -> None:
    cluster.api.logs = {("proxy-1", False): "one\ntwo"}
    log = ContainerLog("proxy-1", "proxy", cluster.kube, NAMESPACE, "proxy-1", "toolhive")
    assert log.last(1) == ["two"]
    assert log.new() == []
    cluster.api.logs[("proxy-1", False)] += "\nthree\nfour"
    assert (log.new(), log.new()) == (["three", "four"], [])


def test_of_a_container_only_what_is_new_may_be_wanted(cluster: FakeCluster) -> None:
    cluster.api.logs = {("proxy-1", False): "one\ntwo"}
    log = ContainerLog("proxy-1", "proxy", cluster.kube, NAMESPACE, "proxy-1", "toolhive")
    assert (log.last(0), log.new()) == ((), [])


def test_a_container_that_has_said_nothing_is_reported_by_the_one_before(cluster: FakeCluster) -> None:
    cluster.api.logs = {("proxy-1", True): "crashed"}
    log = ContainerLog("proxy-1", "proxy", cluster.kube, NAMESPACE, "proxy-1", "toolhive")
    assert list(log.last(5)) == ["crashed"]
    assert log.new() == []
