"""Part 4 end to end: a login, the token swap, and what happens after something is lost."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.environment import IsolatedInstance
from workshop.servers.practice.client import RecordedRequest, read_requests

FACT = "GPX export drops the last waypoint"


def ask(instance: IsolatedInstance, *options: str) -> "subprocess.CompletedProcess[str]":
    return instance.run("part", "4", "run", "--model", "rehearsal", *options)


def approve(instance: IsolatedInstance, *options: str) -> str:
    done = ask(instance, "--approve-as", "learner", *options)
    assert done.returncode == 0, done.stderr
    assert FACT in done.stdout or options
    return done.stderr


def kill_gateway(instance: IsolatedInstance) -> None:
    process = psutil.Process(instance.states()["github-remote"].pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(60)


def test_another_question_is_answered_from_the_same_tools(running: IsolatedInstance) -> None:
    done = ask(
        running, "--approve-as", "learner", "--question", "Which of my repositories has the most open issues?"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("trail-mapper")


def test_another_user_gets_their_own_answer(running: IsolatedInstance) -> None:
    done = ask(running, "--approve-as", "mentor")
    assert done.returncode == 0, done.stderr
    assert "trail-mapper" not in done.stdout


def test_a_practice_user_who_is_not_needed_is_reported_and_nothing_else_changes(
    running: IsolatedInstance,
) -> None:
    for number in ("1", "2", "3"):
        part = running.run("part", number, "run", "--model", "rehearsal", "--approve-as", "mentor")
        assert (part.returncode, FACT in part.stdout) == (0, True), part.stderr
        assert part.stderr.count("`--approve-as mentor` was not used: nothing asked for a login\n") == 1
    assert "was not used" not in approve(running)
    again = ask(running, "--approve-as", "mentor", "--json")
    assert again.returncode == 0
    assert FACT in json.loads(again.stdout)["data"]["answer"]
    assert "`--approve-as mentor` was not used: the agent used its stored login, which `" in again.stderr


def test_a_killed_gateway_needs_no_second_approval_and_a_lost_store_needs_one(
    expendable: IsolatedInstance,
) -> None:
    approve(expendable)
    kill_gateway(expendable)
    done = ask(expendable, "--no-browser")  # it would wait for a person, and time out
    assert done.returncode == 0, done.stderr
    assert FACT in done.stdout
    assert "approve the login" not in done.stderr
    kill_gateway(expendable)
    for path in (expendable.directory / "workloads" / "github-remote").glob("store.sqlite*"):
        path.unlink()
    progress = approve(expendable)
    assert progress.count("approving as practice user") == 1
    assert "Approving" not in approve(expendable), "the new login is stored"


def test_a_user_who_denies_is_exit_code_4(running: IsolatedInstance) -> None:
    done = ask(running, "--approve-as", "nobody")
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert len(done.stderr.split("Error: ")[1].splitlines()) <= 6


def test_after_a_login_tokens_are_apart_secrets_are_nowhere_and_the_state_is_its_owners(
    running: IsolatedInstance,
) -> None:
    """One run, of which three things are true."""
    practice = f"http://localhost:{running.ports['practice-github']}"
    before = {request.number for request in asyncio.run(read_requests(practice))}
    output = approve(running)
    requests = [each for each in asyncio.run(read_requests(practice)) if each.number not in before]
    github_received_its_own_token(requests)
    secrets_are_in_no_log_and_no_output(running, output)
    for path in ("logins", "secrets", "workloads", "instance.json"):
        only_the_owner_can_read(running.directory / path)


def github_received_its_own_token(requests: Sequence[RecordedRequest]) -> None:
    calls = [request.authorization for request in requests if request.path.startswith("/mcp")]
    assert calls
    assert {(call or {}).get("kind") for call in calls} == {"practice token"}
    assert {(call or {}).get("user") for call in calls} == {"learner"}


def secrets_are_in_no_log_and_no_output(running: IsolatedInstance, output: str) -> None:
    logins = [json.loads(path.read_text()) for path in (running.directory / "logins").glob("*.json")]
    secrets = {login["tokens"][kind] for login in logins for kind in ("access_token", "refresh_token")}
    secrets |= {
        path.read_text().strip() for path in (running.directory / "secrets").rglob("*") if path.is_file()
    }
    assert len(secrets) >= 5
    written = output + "".join(Path(state.log).read_text("utf-8") for state in running.states().values())
    arguments = " ".join(word for process in running.processes() for word in process.cmdline())
    for secret in secrets:
        assert secret not in written
        assert secret not in arguments


def only_the_owner_can_read(path: Path) -> None:
    assert path.exists()
    for found in [path, *path.rglob("*")]:
        if found.name != "log.txt" and not found.name.startswith("."):
            assert found.stat().st_mode & 0o077 == 0, found
