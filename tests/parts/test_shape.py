"""What every part has in common, so that a reader who knows one knows them all."""

import ast
import re
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from workshop.agent.part import Part, Prepare, Timeouts, Workload
from workshop.agent.rehearsal import Plan, PlannedCall
from workshop.course.lessons import find_lessons, variation_of

PARTS = Path(__file__).resolve().parents[2] / "parts"
FOLDERS = ["01_agent_loop", "02_local_mcp", "03_toolhive", "04_remote_oauth"]
VARIED = "04_remote_oauth"
VARIATIONS = ["worker", "elicitation", "resource-server", "prefix-gateway"]
QUESTION = "Which of my repositories has the most open issues, and what is its newest issue about?"
FACTS = ["trail-mapper", "GPX export drops the last waypoint"]
HEADINGS = [
    "What you will be able to explain",
    "Run it",
    "What happened",
    "Look at these lines",
    "Change this and see",
    "Check",
    "Exercises",
    "When it fails",
    "Next",
]
CODE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE_COLUMNS = 78  # an 80-column terminal, less the margin of a rendered code block


def described(folder: str) -> dict[str, Any]:
    return tomllib.loads((PARTS / folder / "part.toml").read_text(encoding="utf-8"))


def readme(folder: str) -> str:
    return (PARTS / folder / "README.md").read_text(encoding="utf-8")


def test_the_tutorial_has_these_four_parts() -> None:
    found = [(lesson.number, lesson.directory.name) for lesson in find_lessons(PARTS)]
    assert found == list(enumerate(FOLDERS, 1))


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_question_and_its_facts_are_the_same_in_every_part(folder: str) -> None:
    data = described(folder)
    assert (data["question"], data["expect"]) == (QUESTION, FACTS)
    assert data["title"] in readme(folder).splitlines()[0] or data["title"].lower() in readme(folder).lower()


@pytest.mark.parametrize("folder", FOLDERS)
def test_part_toml_is_valid(folder: str) -> None:
    part = Part.load(PARTS / folder)
    lesson = next(lesson for lesson in find_lessons(PARTS) if lesson.directory.name == folder)
    assert part.question == lesson.contents.question == QUESTION
    assert lesson.contents.expect == tuple(FACTS)
    assert part.plans[0].calls


@pytest.mark.parametrize("folder", FOLDERS)
def test_main_is_short_and_says_first_what_it_shows(folder: str) -> None:
    number = int(folder[:2])
    text = (PARTS / folder / "main.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 80
    assert docstring is not None
    assert docstring.startswith(f"Part {number}: ")


@pytest.mark.parametrize("folder", FOLDERS)
def test_main_imports_only_the_standard_library_mcp_and_the_agent(folder: str) -> None:
    own = {path.stem for path in (PARTS / folder).glob("*.py")}
    for module in imported(PARTS / folder / "main.py"):
        top = module.partition(".")[0]
        ours = module == "workshop.agent" or module.startswith("workshop.agent.")
        assert top in sys.stdlib_module_names or top == "mcp" or ours or module in own, module


def test_the_server_needs_nothing_but_mcp_and_what_mcp_brings() -> None:
    brought = {"mcp", "starlette", "uvicorn"}
    for module in imported(PARTS / "02_local_mcp" / "server.py"):
        top = module.partition(".")[0]
        assert top in sys.stdlib_module_names or top in brought, module


@pytest.mark.parametrize("folder", FOLDERS)
def test_main_defines_answer_and_runs_alone(folder: str) -> None:
    tree = ast.parse((PARTS / folder / "main.py").read_text(encoding="utf-8"))
    answers = [node for node in tree.body if isinstance(node, ast.AsyncFunctionDef) and node.name == "answer"]
    assert [ast.unparse(answer.args) for answer in answers] == ["agent: Agent"]
    assert ast.unparse(tree.body[-1]) == "if __name__ == '__main__':\n    run_part(__file__, answer)"


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_readme_has_the_fixed_headings_in_order(folder: str) -> None:
    found = [line.removeprefix("## ") for line in readme(folder).splitlines() if line.startswith("## ")]
    assert [heading for heading in found if heading in HEADINGS] == HEADINGS
    assert readme(folder).startswith(f"# Part {int(folder[:2])}: ")


@pytest.mark.parametrize("folder", FOLDERS)
def test_code_in_a_readme_fits_a_terminal_of_80_columns(folder: str) -> None:
    lines = [line for _, block in CODE.findall(readme(folder)) for line in block.splitlines()]
    assert lines
    assert [line for line in lines if len(line) > CODE_COLUMNS] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_commands_in_a_readme_paste_into_any_shell(folder: str) -> None:
    """An interactive zsh takes `#` for a command, not for a comment."""
    shell = [block for language, block in CODE.findall(readme(folder)) if language == "sh"]
    assert shell
    assert [line for block in shell for line in block.splitlines() if re.search(r"(^|\s)#", line)] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_a_readme_names_exist(folder: str) -> None:
    named = set(re.findall(r"parts/\w+/[\w./]*\w", readme(folder)))
    assert named
    assert [path for path in named if not (PARTS.parent / path).exists()] == []


@pytest.mark.parametrize("folder", FOLDERS[:-1])
def test_each_part_leads_to_the_next(folder: str) -> None:
    assert f"`workshop part {int(folder[:2]) + 1} show`" in readme(folder).partition("## Next")[2]


@pytest.mark.parametrize("name", VARIATIONS)
def test_a_variation_has_the_parts_question_facts_and_agent(name: str) -> None:
    part = next(lesson for lesson in find_lessons(PARTS) if lesson.number == 4)
    variation = variation_of(part, name)
    described = variation.contents
    assert (described.question, list(described.expect)) == (QUESTION, FACTS)
    assert Part.load(variation.directory).plans[0].calls
    assert not (variation.directory / "main.py").exists(), "the agent is the part's"
    assert {path.name for path in variation.directory.iterdir()} >= {"README.md", "server.py", "checks.py"}


@pytest.mark.parametrize("name", VARIATIONS)
def test_a_variations_readme_fits_a_terminal_and_pastes_into_any_shell(name: str) -> None:
    text = readme(f"{VARIED}/variations/{name}")
    blocks = CODE.findall(text)
    assert f"workshop part 4 run --variation {name}" in text
    assert [line for _, block in blocks for line in block.splitlines() if len(line) > CODE_COLUMNS] == []
    shell = [line for language, block in blocks if language == "sh" for line in block.splitlines()]
    assert [line for line in shell if re.search(r"(^|\s)#", line)] == []


def test_the_page_explains_each_key_of_part_toml() -> None:
    page = (PARTS / "README.md").read_text(encoding="utf-8").partition("\n## part.toml\n")[2]
    explained = {word for code in re.findall(r"`([^`]+)`", page) for word in re.findall(r"\w+", code)}
    keys = {field.alias or name for name, field in Part.model_fields.items()}
    keys |= {*Workload.model_fields, *Prepare.model_fields}
    keys |= {found.name for table in (Timeouts, Plan, PlannedCall) for found in fields(table)}
    assert keys - explained == set()


def imported(path: Path) -> list[str]:
    modules = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a part's file is run by path and has no package"
            modules.append(node.module or "")
    return modules


TASKS = sorted(PARTS.rglob("exercises/*/task.md"))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.parent.name)
def test_a_task_uses_the_names_of_its_own_file(task: Path) -> None:
    """Such as `PLACES[place]`: a learner looks for it in the file."""
    source = "".join(file.read_text("utf-8") for file in task.parent.glob("s*.py"))
    for code in re.findall(r"`(\w+\[\w+\])`", task.read_text("utf-8")):
        assert code in source, code


def test_the_lesson_counts_its_variations_right() -> None:
    words = {3: "Three", 4: "Four", 5: "Five"}
    assert f"## {words[len(VARIATIONS)]} other ways" in readme(VARIED)
