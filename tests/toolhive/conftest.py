"""The parts' own manifests, and a way to change one line of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from workshop.core.paths import parts_dir
from workshop.toolhive.manifests import Resources, load

Change = Callable[..., Resources]


@pytest.fixture
def change(tmp_path: Path) -> Change:
    """Load a part's manifests with one text replaced by another; the text must be there."""

    def changed(old: str = "", new: str = "", part: str = "04_remote_oauth") -> Resources:
        found = not old
        for path in (parts_dir() / part / "toolhive").glob("*.yaml"):
            text = path.read_text(encoding="utf-8")
            found = found or old in text
            (tmp_path / path.name).write_text(text.replace(old, new) if old else text, encoding="utf-8")
        assert found, f"{old!r} is not in the manifests of {part}"
        return load(tmp_path)

    return changed
