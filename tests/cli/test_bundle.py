"""`workshop bundle`: what is wrong with a file is told, as text and as JSON."""

import json
import os
from pathlib import Path

from tests.cli.conftest import Workshop


def test_a_file_that_is_no_bundle_is_exit_code_2(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("Dear class,\n" * 2000)
    told = workshop("bundle", "verify", str(tmp_path / "letter"))
    assert told.code == 2
    assert "`letter` is damaged, or is not a bundle" in told.err
    assert told.out == ""


def test_the_same_as_json(workshop: Workshop, tmp_path: Path) -> None:
    told = workshop("bundle", "verify", str(tmp_path / "none"), "--json")
    assert told.code == 2
    envelope = json.loads(told.out)
    assert envelope["status"] == "error"
    assert str(tmp_path / "none") in envelope["error"]["what"]


def test_an_override_that_is_unknown_is_reported_before_anything_is_asked(workshop: Workshop) -> None:
    told = workshop("bundle", "create", "class.bundle", "--override", "operater=x:1")
    assert told.code == 2
    assert "`operater`" in told.err
    assert not Path("class.bundle").exists()


def test_what_is_not_a_regular_file_is_refused_unread(workshop: Workshop, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        refused = workshop("bundle", "verify", str(path))
        assert refused.code == 2
        assert "It is not a regular file" in refused.err
