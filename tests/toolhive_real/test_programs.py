"""Where ToolHive's programs are looked for, and what is said where they are not."""

from pathlib import Path

import pytest

from tests.toolhive_real import programs


def test_a_missing_program_is_reported_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in (*programs.VARIABLES.values(), programs.BUILD):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(programs.MissingProgramError) as told:
        programs.find("vmcp", tmp_path)
    assert "WORKSHOP_VMCP" in str(told.value)
    assert "go install github.com/stacklok/toolhive/cmd/vmcp@v" in str(told.value)


def test_a_variable_that_names_no_program_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_VMCP", str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="WORKSHOP_VMCP"):
        programs.find("vmcp", tmp_path)


def test_a_release_that_cannot_be_built_is_reported_in_gos_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho this needs a newer Go >&2\nexit 1\n", encoding="utf-8")
    go.chmod(0o700)
    monkeypatch.delenv("WORKSHOP_VMCP", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv(programs.BUILD, "1")
    with pytest.raises(programs.MissingProgramError, match="this needs a newer Go"):
        programs.find("vmcp", tmp_path)
