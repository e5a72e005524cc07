"""Which tests `uv run pytest` runs, which `uv run pytest -m slow` does, and in how many workers."""

import os
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from workshop.core import ports

TESTS = Path(__file__).parent
FAST = "not slow and not kind"  # as pyproject.toml has it
# What `uv run pytest -m slow` runs and `uv run pytest` leaves out: a folder, a file, or one test of a file.
SLOW = (
    "fuzz",
    "load",
    "clients",  # other people's clients
    "conformance",  # the official suite
    "toolhive_real",  # ToolHive's own programs, and clients of other authors
    "pictures",
    "test_benchmarks.py",
    # The fast tier has one whole course (e2e/test_rehearse.py) and whatever reads an environment that is up.
    "e2e/test_canaries.py",
    "e2e/test_conditions.py::test_every_command_ends_in_a_few_lines",
    "e2e/test_conditions.py::test_teardown_leaves_no_process",
    "e2e/test_conditions.py::test_main_py_ends_in_a_few_lines",
    "e2e/test_conditions.py::test_a_forked_command_does_what_a_started_one_does",
    "e2e/test_github_edge.py",
    "e2e/test_instances.py",
    "e2e/test_lifecycle.py",
    "e2e/test_namespaces.py",
    "e2e/test_narrow_terminal.py",
    "e2e/test_variations.py",
    "e2e/test_wheel.py",
    "e2e/test_rehearse.py::test_a_rehearsal_told_as_json_is_one_document",
    "e2e/test_rehearse.py::test_on_a_terminal_each_step_is_one_line",
    "audit/compare/test_outside.py::test_the_command_puts_it_beside_the_workshops_own",
    "course/test_watch.py::test_an_editor_that_replaces_the_file_is_noticed_too",
    "course/test_watch.py::test_a_file_that_is_gone_for_a_while_is_waited_for",
    "course/test_watch.py::test_an_exercise_that_is_begun_meanwhile_is_checked_too",
    "course/test_watch.py::test_without_a_terminal_each_result_is_printed_below_the_last",
    "course/test_page_in_browser.py",
    "course/demo/test_demo.py::test_a_demo_still_shows_what_its_golden_text_says",
    "parts/test_outputs.py::test_a_later_part_shows_what_it_prints_now",
    "parts/test_outputs.py::test_every_command_of_a_lesson_works",
    "readme/test_commands.py::test_a_command_of_a_page_does_what_the_page_says",
    "readme/test_commands.py::test_the_commands_left_only_the_files_that_the_pages_name",
    # Each variation in full, and three whole systems beside one another; the fast tier has their parts.
    "recorder/test_variations.py",
    "audit/compare/test_comparison.py",
    # The same pages in Chromium as in e2e/test_browser.py, where the fast tier approves one login.
    "servers/identity/test_browser.py",
    "servers/practice/test_pages_in_browser.py",
    "e2e/test_browser.py::test_a_person_who_denies_ends_the_run_with_a_clear_word",
    "e2e/test_browser.py::test_the_consent_page_fits_a_phone_loads_nothing_and_runs_no_script",
    # The page of a trace in Chromium; the fast tier uses its keys, and shows it a hostile answer.
    "recorder/test_page.py::test_the_page_fits_and_can_be_read",
    "recorder/test_page.py::test_no_word_of_the_diagram_or_of_a_comparison_is_broken",
    "recorder/test_page.py::test_what_is_between_backticks_is_shown_as_code",
    "recorder/test_page.py::test_the_page_has_the_structure_that_a_screen_reader_needs",
    "recorder/test_page.py::test_pointing_at_a_label_shows_where_the_same_secret_is",
    "recorder/test_page.py::test_the_page_is_whole_without_scripts",
    "recorder/test_page.py::test_on_paper_every_detail_is_there",
    # A kill at each step of a variation's set-up; the fast tier has one, half way.
    "variations/test_elicitation_construct.py::test_ended_at_any_step_it_can_be_cleaned",
    "variations/test_elicitation_construct.py::test_ended_while_it_cleans_it_goes_on_where_it_was",
    # Whole clusters in memory, several at a time; test_kind.py and test_kubernetes.py are fast.
    "lab/cluster/test_seats.py",
    "lab/cluster/test_restart.py",
    "lab/room/test_rights.py::test_the_commands_of_a_seat_use_each_right_of_its_role_and_no_other",
    "lab/cluster/test_variation.py::test_on_somebodys_cluster_it_comes_stays_over_an_up_and_goes_alone",
    "lab/cluster/test_variation.py::test_what_somebody_else_made_under_its_name_stays",
    "lab/cluster/test_variation.py::test_teardown_removes_it_with_everything_else",
    "lab/cluster/test_variation.py::test_on_kind_the_gateways_image_is_loaded_when_it_is_needed",
    "servers/practice/test_seats.py::test_200_logins_at_once",
    "variations/test_elicitation_targets.py::test_of_several_targets_a_kill_at_any_step_leaves_none_behind",
    "variations/test_elicitation_real.py",
    "variations/test_worker_real.py",
    "test_style.py::test_mypy_finds_nothing",
    # Each variation's server in full; the fast tier has its programs, its code and the attacks on it.
    "variations/test_elicitation.py",
    "variations/test_prefix_gateway_steps.py",
    "variations/test_worker_server.py",
    "variations/test_for_real.py",
    "variations/test_prefix_gateway_real.py",
    "variations/test_resource_server_library.py::test_another_projects_use_of_it_passes_strict_mypy",
    # What takes long because something is waited for: a kill, an absence, a person at a terminal.
    "audit/compare/test_command.py::test_the_page_is_read_at_each_width_and_in_the_dark",
    "cli/test_logs.py::test_following_goes_on_until_ctrl_c_and_finds_what_comes_later",
    "e2e/test_login.py::test_without_the_gateway_a_login_stays_unless_it_is_to_be_forgotten",
    "e2e/test_part_4.py::test_a_killed_gateway_needs_no_second_approval_and_a_lost_store_needs_one",
    "lab/cluster/test_kind.py::test_a_forward_that_fails_leaves_the_cluster_and_the_log_that_the_error_names",
    "lab/room/test_watching.py::test_status_without_an_answering_api_server_is_an_error_of_ours",
    "lab/room/test_watching.py::test_watch_shows_what_changes_and_outlives_an_api_server_that_is_away",
    "parts/test_readmes.py::test_part_2_answers_lines_typed_by_hand",
)
# The files that take longest, which are begun first: begun last, one would keep the other workers waiting.
LONGEST = (
    "lab/cluster/test_kind.py",
    "e2e/test_rehearse.py",
    "lab/test_embedded.py",
    "lab/cluster/test_kubernetes.py",
    "parts/test_checks.py",
    "cli/test_screen.py",
    "e2e/test_part_4.py",
    "e2e/test_login.py",
    "course/test_terminal.py",
    "parts/test_server.py",
    "lab/room/test_room.py",
    "lab/room/test_seat.py",
    "variations/test_worker.py",
    "cli/test_following.py",
    "lab/cluster/test_login.py",
    "lab/cluster/test_endpoints.py",
    "agent/test_bridge.py",
    "parts/test_running.py",
    "cli/test_check.py",
    "core/test_invocation.py",
    "cli/test_guesses.py",
    "variations/test_programs.py",
    "cli/test_snapshots.py",
    "e2e/test_terminal.py",
    "variations/test_elicitation_targets.py",
    "variations/test_elicitation_construct.py",
    "parts/test_readmes.py",
    "audit/probe/test_login.py",
    "core/test_streams.py",
    "test_imports.py",
    "e2e/test_browser.py",
    "cli/test_manners.py",
    "core/test_serving.py",
    "servers/gateway/test_process.py",
    "test_dependencies.py",
    "test_style.py",
    # Of the slow tier. The clients come before test_requests.py, which uses up a server's registrations.
    "clients/test_inspector.py",
    "clients/test_inspector_page.py",
    "clients/test_npm_clients.py",
    "clients/test_python_clients.py",
    "clients/test_claude_code.py",
    "course/demo/test_demo.py",
    "conformance/test_transparent_proxy.py",
    "parts/test_outputs.py",
    "course/test_page_in_browser.py",
    "variations/test_prefix_gateway_real.py",
    "e2e/test_variations.py",
    "e2e/test_lifecycle.py",
    "e2e/test_namespaces.py",
    "readme/test_commands.py",
    "test_benchmarks.py",
    "variations/test_elicitation.py",
    "variations/test_prefix_gateway_steps.py",
    "variations/test_worker_server.py",
    "fuzz/test_families.py",
    "e2e/test_instances.py",
    "e2e/test_canaries.py",
    "e2e/test_wheel.py",
    "conformance/test_server.py",
    "variations/test_resource_server_library.py",
)
# Long tests that share nothing: each may have a worker of its own.
_APART = ("demo/test_demo.py", "conformance/test_client.py", "conformance/test_transparent_proxy.py")
# A server of tests/clients, in the parameters of a test.
_SERVER = re.compile(r"\[(github-remote|worker|elicitation|resource-server|prefix-gateway)\b")
# The files of the fast tier whose tests end workloads of one `up`.
_EXPENDABLE = ("e2e/test_login.py", "e2e/test_part_4.py")


@cache
def is_slow(file: str, test: str = "") -> bool:
    """Whether `SLOW` names this test, its file, or a folder above it; what needs a cluster is in no tier."""
    if file.startswith("e2e/kind"):
        return False
    return any(entry in {file, f"{file}::{test}"} or file.startswith(f"{entry}/") for entry in SLOW)


def exists(entry: str) -> bool:
    """Whether a file of the project, or `file::test`, is there."""
    file, _, test = entry.partition("::")
    path = TESTS.parent / file
    return path.exists() and (
        not test or re.search(rf"^(async )?def {test}\(", path.read_text("utf-8"), re.MULTILINE) is not None
    )


def pytest_configure(config: pytest.Config) -> None:
    """Let a slow file that is named run, and give each worker ports of its own."""
    if config.option.markexpr == FAST and any(is_slow(_named(config, word)) for word in config.args):
        config.option.markexpr = "not kind"
    worker = getattr(config, "workerinput", None)
    if worker:
        number, count = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
        ports.UNUSED = ports.UNUSED[number::count]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Spare the fast tier the imports of the slow one."""
    return True if config.option.markexpr == FAST and is_slow(_below_tests(collection_path)) else None


def pytest_pycollect_makeitem(collector: pytest.Module, name: str) -> list[pytest.Item] | None:
    """Spare the fast tier the items of slow tests, which may have a thousand parameters."""
    fast = collector.config.option.markexpr == FAST
    return [] if fast and name.startswith("test") and is_slow(_below_tests(collector.path), name) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the slow tier; in a worker, sort the files: first `LONGEST`, then those with the most tests."""
    files = {item: _below_tests(item.path) for item in items}
    for item, file in files.items():
        if is_slow(file, item.name.partition("[")[0]):
            item.add_marker(pytest.mark.slow)
    if hasattr(config, "workerinput"):
        turn, tests = {file: number for number, file in enumerate(LONGEST)}, Counter(files.values())
        items.sort(key=lambda item: (turn.get(files[item], len(turn)), -tests[files[item]]))


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Workers for whole tiers, as most tests wait for processes; none where files are named."""
    whole = all(_named(config, word) == "." for word in config.args)
    return min((os.cpu_count() or 1) + 1, 6) if whole else 0


class _Scheduling(LoadFileScheduling):
    """Gives a worker a file at a time; of the table of conditions, with its thousand cases, one condition.

    What needs a cluster shares one, so one worker has all of it; so it is with what ends the workloads of
    `expendable`, and of the clients' tests with all that use the same server, which is started once then.
    Each test of the files in `_APART` is given alone.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        if "e2e/kind/" in file:
            return "e2e/kind"
        if file.endswith(_EXPENDABLE):
            return "expendable"
        if "/clients/" in file and (used := _SERVER.search(nodeid)):
            return f"clients[{used[1]}]"
        if file.endswith(_APART):
            return nodeid
        if not file.endswith("test_conditions.py"):
            return file
        return file + nodeid.partition("[")[2].partition("-")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _Scheduling:
    """Divide the tests as `_Scheduling` does, in the workers' order."""
    config.option.loadscopereorder = False
    return _Scheduling(config, log)


def _named(config: pytest.Config, word: str) -> str:
    """What a word of the command line names, below `tests/`; "" when it is elsewhere."""
    return _below_tests((config.invocation_params.dir / word.partition("::")[0]).resolve())


@cache
def _below_tests(path: Path) -> str:
    """The path below `tests/`; "" when it is elsewhere."""
    return path.relative_to(TESTS).as_posix() if path.is_relative_to(TESTS) else ""
