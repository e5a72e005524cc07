"""Every command of the pages, in their order, in one instance a page on the embedded backend."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environment import IsolatedInstance, instance_in
from tests.readme.page import ROOT, Command, commands
from tests.tiers import exists
from workshop.lab import process

TIMEOUT = 100
ROOM = "tests/lab/room"
CLUSTER = "needs Docker, a cluster or a bundle; planned with `--dry-run` by"
FIGURES = "measures for a minute, and only on an idle machine; its code is in"
BROWSER = "serves a page until Ctrl-C; tested by"
TERMINAL = "needs a terminal or minutes; tested by"
LONGER = "takes too long for a page of commands; run and examined by"
REHEARSAL = "tests/e2e/test_rehearse.py::test_a_rehearsal_holds_shows_its_table_and_leaves_nothing"
DEMO = "tests/course/demo/test_demo.py"
PICTURES = "tests/pictures/test_pictures.py"
VARIATION = "tests/e2e/test_variations.py::test_every_check_of_a_variation_passes_after_its_run"
EDITIONS = (
    "tests/e2e/test_variations.py::test_the_weak_edition_reports_what_it_is_and_gives_way_to_the_mended_one"
)
# Commands that are not run here: why, and the test or the file that covers them.
ELSEWHERE = {
    "pip install uv && uv run workshop rehearse": (TERMINAL, REHEARSAL),
    "uv sync && source .venv/bin/activate": (
        "changes the shell; tested by",
        "tests/readme/test_commands.py::test_an_activated_environment_has_the_command",
    ),
    "pytest": ("runs this test too; started by", ".ci/run"),
    "workshop rehearse": (TERMINAL, REHEARSAL),
    "workshop demo play tutorial": (TERMINAL, f"{DEMO}::test_on_stage_space_goes_on_and_q_ends_it"),
    "workshop demo record tutorial tutorial.cast": (
        TERMINAL,
        f"{DEMO}::test_a_recording_is_an_asciicast_without_secrets",
    ),
    "workshop demo verify tutorial": (
        TERMINAL,
        f"{DEMO}::test_a_demo_still_shows_what_its_golden_text_says",
    ),
    "workshop up --backend kind": (
        CLUSTER,
        "tests/cli/test_backends.py::test_a_dry_run_prints_every_command_and_file_and_leaves_nothing",
    ),
    "workshop part 4 apply": (
        CLUSTER,
        "tests/e2e/kind/test_course.py::test_what_a_person_would_type_applies_as_it_stands",
    ),
    "workshop bundle create workshop.bundle": (
        CLUSTER,
        "tests/lab/bundle/test_bundle.py::test_a_bundle_reports_what_it_holds_and_for_what",
    ),
    "workshop room create monday --seats 30 --context CLUSTER": (
        CLUSTER,
        f"{ROOM}/test_room.py::test_each_seat_has_its_objects_and_a_private_file",
    ),
    "workshop room create monday --seats 30 --context CLUSTER "
    "--override mcp-server=registry.example/mcp-server:1 "
    "--override practice=registry.example/practice:1": (
        CLUSTER,
        f"{ROOM}/test_room.py::test_each_seat_has_its_objects_and_a_private_file",
    ),
    "workshop room create monday --from people.csv --print-cards cards.html": (
        CLUSTER,
        f"{ROOM}/test_handout.py::test_cards_have_names_and_commands_and_no_secret",
    ),
    "workshop room create monday --seats 30 --context CLUSTER --plan": (
        CLUSTER,
        f"{ROOM}/test_watching.py::test_the_plan_shows_what_fits_and_refuses_what_does_not",
    ),
    "workshop room status monday --watch": (
        CLUSTER,
        f"{ROOM}/test_watching.py::test_watch_shows_what_changes_and_outlives_an_api_server_that_is_away",
    ),
    "workshop room exec monday 07 -- part 4 check": (
        CLUSTER,
        f"{ROOM}/test_watching.py::test_exec_runs_a_command_as_the_seat_and_passes_its_exit_code_on",
    ),
    "workshop join monday-07.kubeconfig": (
        CLUSTER,
        f"{ROOM}/test_seat.py::test_from_join_to_teardown_the_seat_gives_and_keeps_what_the_room_made",
    ),
    "workshop part 4 run --approve-as seat-07": (
        CLUSTER,
        "tests/servers/practice/test_seats.py::test_each_seat_finds_its_own_newest_issue",
    ),
    "workshop room renew monday 07": (
        CLUSTER,
        f"{ROOM}/test_handout.py::test_renew_writes_new_tokens_for_the_seats_that_are_named",
    ),
    "workshop room remove monday": (
        CLUSTER,
        f"{ROOM}/test_room.py::test_remove_leaves_the_cluster_as_it_was",
    ),
    "workshop bundle verify workshop.bundle": (
        CLUSTER,
        "tests/cli/test_bundle.py::test_a_file_that_is_no_bundle_is_exit_code_2",
    ),
    "workshop up --backend kind --bundle workshop.bundle": (
        CLUSTER,
        "tests/lab/bundle/test_bundle.py::test_an_opened_bundle_gives_sources_that_need_no_network",
    ),
    "workshop bridge http://localhost:8080/mcp": (
        "speaks MCP over stdin and stdout; tested by",
        "tests/agent/test_bridge.py::test_a_client_lists_and_calls_through_it",
    ),
    "workshop part 1 check --watch": (
        "runs until Ctrl-C; tested by",
        "tests/course/test_watch.py::test_a_save_is_checked_again_on_one_screen_until_ctrl_c",
    ),
    "workshop open": (BROWSER, "tests/course/test_page_in_browser.py::test_each_hop_appears_as_it_happens"),
    "workshop open 4": (BROWSER, "tests/course/test_page_in_browser.py::test_each_hop_appears_as_it_happens"),
    "workshop open 4 --present": (
        BROWSER,
        "tests/course/test_page_in_browser.py::test_on_stage_the_arrow_keys_show_one_request_at_a_time",
    ),
    "workshop part 4 compare": (
        LONGER,
        "tests/audit/compare/test_comparison.py::test_every_system_answers_and_every_cell_is_filled",
    ),
    **{
        f"workshop part 4 run --variation {name} --approve-as learner": (LONGER, VARIATION)
        for name in ("elicitation", "resource-server", "prefix-gateway")
    },
    "workshop part 4 run --variation worker --approve-as learner": (LONGER, EDITIONS),
    "workshop part 4 check --variation resource-server": (LONGER, VARIATION),
    "ruff check && uv run ruff format --check": (LONGER, "tests/test_style.py::test_ruff_finds_nothing"),
    "python .ci/check_types.py": (LONGER, "tests/test_style.py::test_mypy_finds_nothing"),
    "pytest -m slow": ("the slow tier, which this test is in; started by", ".ci/run"),
    "pytest tests/agent": ("part of the fast tier; started by", ".ci/run"),
    "pytest -m kind": (CLUSTER, "tests/e2e/kind/test_course.py"),
    "WORKSHOP_FUZZ=thorough uv run pytest tests/fuzz --timeout 7200": (
        "takes hours; its short form is in",
        "tests/fuzz/effort.py",
    ),
    "pytest tests/toolhive_real": (
        "needs programs that are not installed by default, and skips; the suite runs",
        "tests/toolhive_real/test_differences.py::test_it_answers_as_the_list_says",
    ),
    "python -m tests.pictures.terminal": (
        TERMINAL,
        f"{PICTURES}::test_the_terminal_s_picture_shows_what_part_4_says_now",
    ),
    "python -m tests.pictures.flight_recorder": (
        TERMINAL,
        f"{PICTURES}::test_the_page_is_photographed_as_the_recorder_s_picture_was",
    ),
    "python -m tests.benchmarks.start_up": (FIGURES, "tests/benchmarks/start_up.py"),
    "python -m tests.benchmarks.flow": (FIGURES, "tests/benchmarks/flow.py"),
    "python -m tests.benchmarks.cluster": (
        "measures on a cluster of its own; its message without one is tested by",
        "tests/test_benchmarks.py::test_the_clusters_benchmark_reports_what_it_lacks",
    ),
    "python -m tests.benchmarks.variations": (
        "takes minutes; with few people it is tested by",
        "tests/test_benchmarks.py::test_a_variations_server_has_its_figures",
    ),
    "--group benchmark python -m tests.benchmarks.gateway": (
        "needs packages that are not installed by default; tested by",
        "tests/test_benchmarks.py::test_every_bar_has_a_figure_and_the_verdict_that_follows_from_it",
    ),
}
# Its result depends on the machine; both are right.
DOCTOR = "workshop doctor"
HERE = [command for command in commands() if command.text not in ELSEWHERE]


class Instances:
    """An instance for each page, made when its first command runs; a page starts with an empty folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.made: dict[str, IsolatedInstance] = {}

    def of(self, page: str) -> IsolatedInstance:
        if page not in self.made:
            self.made[page] = instance_in(self.home / page)
        return self.made[page]


@pytest.fixture(scope="module")
def instances(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instances]:
    made = Instances(tmp_path_factory.mktemp("pages"))
    yield made
    for instance in made.made.values():
        instance.run("teardown")
        for left in instance.processes():
            process.end(left)


def words_of(command: Command, instance: IsolatedInstance) -> list[str]:
    """What follows `python`, with the ports of this instance; on a cluster it is only planned."""
    program, *words = command.words
    words = [
        re.sub(r"localhost:8080", f"localhost:{instance.ports['github-remote']}", word) for word in words
    ]
    if words[:1] == ["up"] and "--backend" in words and "--dry-run" not in words:
        words.append("--dry-run")
    if program == "python":
        return [str(ROOT / word) for word in words]
    assert program == "workshop"
    return ["-m", "workshop", *words]


def filtered(command: Command, output: str) -> str:
    """What jq makes of the command's JSON document."""
    assert command.filter[0] == "jq"
    assert json.loads(output)["status"] == "success"
    done = subprocess.run(command.filter, input=output, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    "command", HERE, ids=[f"{n:02} {command.page} {command.text}" for n, command in enumerate(HERE)]
)
def test_a_command_of_a_page_does_what_the_page_says(
    command: Command, instances: Instances, contexts: Path
) -> None:
    instance = instances.of(command.page)
    ports = " ".join(f"{name}={port}" for name, port in instance.ports.items())
    begun = instance.begin(*words_of(command, instance), WORKSHOP_PORT=ports, KUBECONFIG=str(contexts))
    output, errors = begun.communicate(timeout=TIMEOUT)
    allowed = {0, 3} if command.text == DOCTOR else {command.exit_code}
    assert begun.returncode in allowed, output + errors
    assert "Traceback" not in errors
    if command.filter and shutil.which("jq"):
        assert "null" not in filtered(command, output)


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig with the context that the pages name; its server is never contacted."""
    path = tmp_path_factory.mktemp("kube") / "config"
    path.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: ''\nusers: [{name: me, user: {}}]\n"
        "clusters: [{name: class, cluster: {server: 'https://localhost:1'}}]\n"
        "contexts: [{name: class, context: {cluster: class, user: me}}]\n"
    )
    return path


@pytest.mark.parametrize("text", ELSEWHERE)
def test_a_command_that_is_not_run_here_is_covered_elsewhere(text: str) -> None:
    assert text in [command.text for command in commands()], "no page has it any more"
    assert exists(ELSEWHERE[text][1])


@pytest.mark.skipif(not (Path(sys.prefix) / "bin" / "activate").exists(), reason="no virtual environment")
def test_an_activated_environment_has_the_command(tmp_path: Path) -> None:
    line = f"source {sys.prefix}/bin/activate && command -v workshop && workshop --version"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{sys.prefix}/bin/workshop\nworkshop ")


def test_continuous_integration_runs_both_tiers() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert {"uv run pytest", "uv run pytest -m slow"} <= set(lines)


def test_the_commands_left_only_the_files_that_the_pages_name(instances: Instances) -> None:
    folders = [instance.folder for instance in instances.made.values()]
    names = {path.name for folder in folders for path in folder.iterdir() if path.name[0] != "."}
    written = {"workshop-report.zip", "trace.html", "trace.json", "compare.html"}
    assert names <= {"workshop-exercises"} | written
