"""Files are private and written whole."""

import stat
from pathlib import Path

import pytest

from tests.environment import run_forked
from workshop.core import paths
from workshop.core.errors import PreflightError, UsageError


def test_a_written_file_is_its_owners_alone_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file"
    paths.write_private(target, b"one")
    paths.write_private(target, b"two")
    assert target.read_bytes() == b"two"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert stat.S_IMODE(target.parent.stat().st_mode) == 0o700
    assert list(target.parent.iterdir()) == [target]


def test_a_write_that_fails_keeps_the_old_file_and_no_scrap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file"
    paths.write_private(target, b"old")

    def fail(_self: Path, _target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        paths.write_private(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_state_home_is_the_users_unless_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path))
    assert paths.state_home() == tmp_path
    monkeypatch.delenv("WORKSHOP_HOME")
    assert paths.state_home().name == "workshop"


def test_the_parts_of_this_checkout_are_found() -> None:
    assert (paths.parts_dir() / "01_agent_loop" / "main.py").is_file()


FULL = """
import resource, signal, sys
from pathlib import Path
from tests.environment import run_forked
from workshop.core import paths
from workshop.core.errors import PreflightError, UsageError
from workshop.core.crash import short_error

sys.dont_write_bytecode = True  # a compiled file would be cut off, and fail each later import
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the limit is an error of the write, as a full disk is
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
target, way = Path(sys.argv[1]), sys.argv[2]
data = b"x" * 5000
try:
    if way == "writing":
        with paths.writing(target) as file:
            file.write(data.decode())
    else:
        getattr(paths, way)(target, data)
except OSError as error:
    print(error.filename)
    raise SystemExit(short_error(error, []).exit_code)
"""


@pytest.mark.parametrize("way", ["write_private", "replace_file", "create_file", "writing"])
@pytest.mark.parametrize("before", ["old", ""])
def test_on_a_full_disk_a_file_is_whole_or_absent(way: str, before: str, tmp_path: Path) -> None:
    target = tmp_path / "file"
    if before and way != "create_file":
        target.write_text(before)
    files = list(tmp_path.iterdir())
    imports = ("workshop.core.crash", "workshop.core.paths")
    done = run_forked("-c", FULL, str(target), way, folder=tmp_path.parent, imports=imports)
    assert (done.returncode, done.stdout.strip()) == (PreflightError.exit_code, str(target)), done.stderr
    assert list(tmp_path.iterdir()) == files
    assert not files or target.read_text() == before


def test_what_is_written_little_by_little_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with paths.writing(target) as file:
        file.write("one ✓\n")
        assert not target.exists()
    assert target.read_text(encoding="utf-8") == "one ✓\n"
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_file_never_replaces_another(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        paths.create_file(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_home_of_nobody_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_HOME", "~nobody-has-this-name/x")
    with pytest.raises(UsageError, match="WORKSHOP_HOME"):
        paths.state_home()


def test_a_deleted_folder_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert paths.current_dir() is None
    monkeypatch.chdir(tmp_path)
    assert paths.current_dir() == tmp_path
