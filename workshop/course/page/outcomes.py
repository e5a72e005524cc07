"""The last outcomes of a lesson's checks, for a page that is open: a private file that a check replaces."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from workshop.core.files import DamagedFileError, read_json, typed
from workshop.core.paths import state_home, write_private
from workshop.core.redaction import known_secrets, without_secrets
from workshop.course.check_outcome import Outcome
from workshop.recorder.live import is_page_open


def outcomes_file(key: str) -> Path:
    """The file of a lesson (see `Lesson.key`); it exists only while a page is open."""
    return state_home() / "page" / f"checks-{key}.json"


def show_outcomes(key: str, outcomes: Sequence[Outcome]) -> None:
    """Let an open page show these outcomes, without their hints: those are given one at a time."""
    if is_page_open():
        hidden = known_secrets(None)
        shown = [replace(one, hints=(), reason=without_secrets(one.reason, hidden)) for one in outcomes]
        write_private(outcomes_file(key), json.dumps([asdict(one) for one in shown]).encode())


def last_outcomes(key: str) -> Sequence[Outcome]:
    """The outcomes of the last check; none if there is no file that can be used."""
    try:
        return [typed(Outcome, one) for one in read_json(outcomes_file(key))]
    except (OSError, DamagedFileError, TypeError):
        return ()
