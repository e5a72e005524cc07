"""The embedded gateway and ToolHive's real proxy under the same questions; a page names what differs."""

import re

import pytest

from tests.toolhive_real.conftest import Open
from tests.toolhive_real.differences import QUESTIONS, Question
from workshop.core.paths import parts_dir

_HEADING = "## The embedded gateway and ToolHive"


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
async def test_it_answers_as_the_list_says(opened: Open, kind: str, question: Question) -> None:
    place = opened(kind, question.change)
    async with place.visitor() as visitor:
        assert await question.ask(place, visitor) == question.answer(kind)


def test_the_page_names_every_difference_and_no_other() -> None:
    text = (parts_dir() / "04_remote_oauth" / "differences.md").read_text(encoding="utf-8")
    section = text.partition(_HEADING)[2].partition("\n## ")[0]
    named = re.findall(r"^- \*([^*]+?)\.?\*", section, re.MULTILINE)
    assert named == [question.name for question in QUESTIONS if question.differs]
