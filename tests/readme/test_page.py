"""What the pages state: their links, options, tables and variables agree with the program."""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.cli.conftest import tree
from tests.readme.page import (
    PAGES,
    ROOT,
    TEXT,
    TOPICS,
    block_lines,
    code,
    commands,
    links,
    rows,
    text_of,
    topic,
)
from tests.test_imports import MAY_IMPORT
from workshop.agent.part import Part, Prepare, Timeouts, Workload
from workshop.agent.rehearsal import Plan, PlannedCall
from workshop.core import errors
from workshop.core.paths import cluster_dir
from workshop.core.result import Result, envelope, error_envelope
from workshop.course.lessons import Lesson, find_lessons
from workshop.lab.base import PRACTICE_GITHUB, PRACTICE_PORT, BackendName, Program

EXIT_CODES = "| Code | Meaning |"
NOT_OURS = {"--config", "-n", "-m", "--pdb"}  # of a variation's programs, and of pytest
TREE = tree()


def words_of(text: str) -> list[str]:
    """A mention of our command as its words; empty for anything else, and for the part of the example."""
    words = text.removeprefix("uv run ").removeprefix("workshop ").partition(" | ")[0].split()
    if words[:1] == ["part"] and words[1:] and words[1] not in {*TREE.commands["part"].commands, "5"}:
        words.insert(1, "4")  # a JSON document names a command without the part's number
    return words if words and words[0] in TREE.commands and words != ["part", "5"] else []


def mentions() -> Iterator[list[str]]:
    inline = [text for page in PAGES for text in code(page)]
    for text in [*inline, *(command.text for command in commands())]:
        words = words_of(text)
        if words:
            yield words


def resolved(words: list[str]) -> Any:
    """The command that these words name; other parts of the line are its arguments."""
    command: Any = TREE
    for word in words:
        if word not in getattr(command, "commands", {}):
            break
        command = command.commands[word]
    return command


def entrypoints(lesson: Lesson) -> Iterator[Program]:
    yield from lesson.entrypoints.values()


def options_of(command: Any) -> set[str]:
    return {name for param in command.params for name in (*param.opts, *param.secondary_opts)}


def every_option(command: Any) -> set[str]:
    below = getattr(command, "commands", {}).values()
    return (
        options_of(command) | {"--help", "--version"} | {name for one in below for name in every_option(one)}
    )


@pytest.mark.parametrize("words", list(mentions()), ids=" ".join)
def test_a_command_that_is_named_exists_with_its_options(words: list[str]) -> None:
    joined = [words[: words.index("--")], words[words.index("--") + 1 :]] if "--" in words else [words]
    for part in joined:  # after `--` comes another command of ours
        command = resolved(part)
        assert not getattr(command, "commands", None) or len(part) == 1, f"{part} ends at a group"
        assert {word.partition("=")[0] for word in part if word.startswith("--")} <= options_of(command)


def test_an_option_that_is_named_alone_exists_somewhere() -> None:
    there = every_option(TREE)
    inline = [text for page in PAGES for text in code(page)]
    written = {text.split()[0].partition("=")[0] for text in inline if re.match(r"--?[a-z]", text)}
    named = {re.sub(r"^-(\w)\1+$", r"-\1", option) for option in written}  # `-qq` is `-q` twice
    assert len(named) > 5
    assert named - NOT_OURS <= there


def test_a_topic_that_is_named_exists() -> None:
    named = {words[1] for words in mentions() if words[0] == "help" and words[1:]}
    assert {"backends", "troubleshooting"} <= named
    assert named <= {page.stem for page in PAGES}


LINKS = sorted({(page, link) for page in PAGES for link in links(page) if "://" not in link})


@pytest.mark.parametrize(
    ("page", "link"), LINKS, ids=[f"{page.relative_to(ROOT)}: {link}" for page, link in LINKS]
)
def test_a_file_that_is_linked_or_shown_exists(page: Path, link: str) -> None:
    assert (page.parent / link).is_file()


def test_files_that_are_named_exist() -> None:
    inline = [text for page in (*PAGES, ROOT / "tests" / "README.md") for text in code(page)]
    named = {text for text in inline if re.fullmatch(r"(\.ci|tests|workshop|parts|cluster)/[\w./-]+", text)}
    assert len(named) > 3
    missing = {text for text in named if not (ROOT / text).exists()}
    assert missing == {"parts/05_name"}


@pytest.mark.parametrize("folder", ["workshop", "cluster"])
def test_files_that_a_folder_s_page_names_from_there_exist(folder: str) -> None:
    inline = [
        text for text in code(ROOT / folder / "README.md") if re.fullmatch(r"[a-z][\w.-]*/[\w./-]*", text)
    ]
    assert len(inline) > 3
    assert [text for text in inline if not ((ROOT / folder / text).exists() or (ROOT / text).exists())] == []


STRESSED_ONLY = {"and", "i", "is", "would", "this agent", "unauthorized", "authenticate"}


def test_every_word_that_a_lesson_stresses_is_explained() -> None:
    """A term stands in italics where a lesson first uses it."""
    explained = {word.lower() for word in re.findall(r"\*\*(?:The )?([^*]+)\*\*", topic("words"))}
    needed = {"pkce", "issuer", "audience", "scope", "claim", "jwks", "jwt", "upstream", "public client"}
    needed |= {"operator", "custom resource", "service", "pod", "port-forward", "token 1", "token 2", "proxy"}
    assert needed <= explained
    lessons = "\n".join(
        text_of(path).partition("\n## Check\n")[0] for path in (ROOT / "parts").glob("*/README.md")
    )
    stressed = set(re.findall(r"(?<!\*)\*(?!\*)([a-z][a-z 0-9-]+)\*(?!\*)", lessons, re.IGNORECASE))
    terms = {re.sub(r"^(the|a) ", "", word.lower()) for word in stressed} - STRESSED_ONLY
    assert {"audience", "issuer", "pod"} <= terms
    assert {term for term in terms if not {term, term.removesuffix("s")} & explained} == set()


def test_the_exit_codes_are_those_of_the_error_tree() -> None:
    stated = {int(code): meaning for code, meaning in rows(topic("exit-codes"), EXIT_CODES)}
    families = {family.exit_code for family in errors.WorkshopError.__subclasses__()}
    assert set(stated) == families | {0, errors.WorkshopError.exit_code}


def test_the_fields_of_the_json_document_are_those_it_has() -> None:
    succeeded = json.loads(envelope(Result("up")))
    failed = json.loads(error_envelope("up", errors.WorkshopError("no")))
    fields = {name.strip("`"): text for name, text in rows(topic("json"), "| Field | What it is |")}
    assert list(fields) == [*succeeded, "error"]
    assert re.findall(r"`([a-z_]+)`", fields["error"].partition(": ")[2]) == list(failed["error"])


def test_only_this_machine_s_addresses_are_named() -> None:
    assert set(re.findall(r"https?://([\w.-]+)", TEXT)) == {"localhost"}


def test_a_line_of_a_block_can_be_read_without_scrolling_far() -> None:
    typed = [line for line in TEXT.splitlines() if line.startswith(("uv run", "workshop "))]
    assert typed
    assert [line for line in typed if len(line) > 110] == []
    shown = [line for page in PAGES if page.parent == TOPICS for line in block_lines(page)]
    assert [line for line in shown if len(line) > 78] == [], "`workshop help` wraps it at 80 columns"


def test_the_variables_that_are_named_are_in_the_topic() -> None:
    of_tests = set(re.findall(r"\bWORKSHOP_[A-Z_]*[A-Z]\b", text_of(ROOT / "tests" / "README.md")))
    named = set(re.findall(r"\bWORKSHOP_[A-Z_]*[A-Z]\b", TEXT)) - of_tests
    assert {"WORKSHOP_HOME", "WORKSHOP_BACKEND", "WORKSHOP_PORT"} <= named
    assert named <= set(re.findall(r"\bWORKSHOP_[A-Z_]+\b", topic("environment")))


def test_the_version_of_toolhive_is_the_pinned_one() -> None:
    pinned = tomllib.loads((cluster_dir() / "versions.toml").read_text(encoding="utf-8"))
    assert set(re.findall(r"ToolHive (\d[\d.]*\d)", TEXT)) == {pinned["toolhive"]["version"]}


def test_the_tables_name_every_workload_and_backend() -> None:
    page = topic("backends")
    addresses = {name.strip("`"): url for name, url, _ in rows(page, "| Workload | Address | What it is |")}
    ports = {workload.name: workload.port for lesson in find_lessons() for workload in entrypoints(lesson)}
    ports[PRACTICE_GITHUB] = PRACTICE_PORT
    assert {name: int(re.findall(r":(\d+)", url)[0]) for name, url in addresses.items()} == ports
    backends = [row[0].strip("`") for row in rows(page, "| Backend | What runs | What it needs |")]
    assert sorted(backends) == sorted(get_args(BackendName))


def test_the_architecture_names_every_package_and_what_it_may_import() -> None:
    table = rows(text_of(ROOT / "workshop" / "README.md"), "| Package | What lives there | May import |")
    stated = {name.strip("`/"): {one for one in re.split(", ", may) if one} for name, _, may in table}
    assert stated == {name: may for name, may in MAY_IMPORT.items() if not name.startswith("__")}


def test_the_reference_of_part_toml_names_every_key_and_default() -> None:
    page = text_of(ROOT / "parts" / "README.md").partition("\n## part.toml\n")[2]
    tables = [model.model_fields.items() for model in (Part, Workload, Prepare)]
    keys = {field.alias or name for table in tables for name, field in table}
    keys |= {field.name for kind in (Timeouts, Plan, PlannedCall) for field in fields(kind)}
    keys |= {"from", "where", "first", "count", "max_by", "min_by"}
    assert {key for key in keys if not re.search(rf"[`.\[]{key}[`\]]", page)} == set()
    stated = dict(re.findall(r"`(\w+)` \([^)]*: (\d+)\)", page))
    assert {name: float(seconds) for name, seconds in stated.items()} == vars(Timeouts())


def test_the_front_page_stays_short() -> None:
    assert len(text_of(ROOT / "README.md")) < 9_300
