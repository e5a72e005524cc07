"""Variations as people meet them: on a terminal, in a browser, as JSON, and in every list of what runs."""

import json
import re

import pexpect
import psutil
import pytest
from playwright.sync_api import Page

from tests.environment import IsolatedInstance

ADDRESS = r"(http://localhost:\d+/{path}\?[^\s\x1b]+)[\s\x1b]"  # a read may end in the middle of it
ANSWER = "trail-mapper has the most open issues"


def found(child: "pexpect.spawn[str]", path: str) -> str:
    child.expect(ADDRESS.format(path=path))
    assert isinstance(child.match, re.Match)
    return str(child.match.group(1))


def click(page: Page, *names: str) -> None:
    """One button a page; each of them fits a phone."""
    for name in names:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, page.url
        page.get_by_role("button", name=re.compile(name)).click()


def test_a_person_is_asked_in_the_middle_of_a_call_and_declines_or_connects_in_the_browser(
    instance: IsolatedInstance, page: Page
) -> None:
    child = instance.spawn("part", "4", "run", "--variation", "elicitation", "--no-browser", timeout=60)
    page.goto(found(child, "oauth/authorize"))
    click(page, "Approve", "learner")
    child.expect(r"\[y/N\]")
    child.sendline("n")
    child.expect("I cannot answer")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert "did not want to connect" in " ".join(str(child.before).split()), "the model hears of it"

    assert instance.run("login", "revoke", "--all").returncode == 0
    child = instance.spawn("part", "4", "run", "--variation", "elicitation", "--no-browser", timeout=60)
    page.goto(found(child, "oauth/authorize"))
    click(page, "Approve", "learner")
    connect = found(child, "connect")
    child.expect(r"\[y/N\]")
    child.sendline("y")
    page.goto(connect)
    click(page, "Approve", "learner", "Approve", "learner")
    page.get_by_text("Your account is connected").wait_for()
    child.expect(ANSWER)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert instance.run("teardown").returncode == 0
    assert instance.processes() == []


def test_the_weak_edition_reports_what_it_is_and_gives_way_to_the_mended_one(
    instance: IsolatedInstance,
) -> None:
    weak = instance.run("part", "4", "run", "--variation", "worker", "--weak", "--approve-as", "learner")
    assert weak.returncode == 0, weak.stderr
    assert ANSWER in weak.stdout
    address = re.search(r"`workshop probe (\S+)`", weak.stdout)
    assert address is not None
    assert "weak edition" in weak.stdout
    assert instance.run("probe", address[1]).returncode == 6
    mended = instance.run("part", "4", "run", "--variation", "worker", "--approve-as", "learner", "--json")
    document = json.loads(mended.stdout)
    assert document["data"]["variation"] == "worker"
    assert ANSWER in document["data"]["answer"]
    assert instance.run("probe", address[1]).returncode == 0
    every_check_passes(instance, "worker")

    status = json.loads(instance.run("status", "--json").stdout)["data"]
    assert not status["up"]
    assert {one["name"] for one in status["variations"]} == {"worker", "worker-github"}
    assert "Weak edition" in instance.run("logs", "worker", "-n", "1000").stdout
    assert all(psutil.pid_exists(one["pid"]) for one in status["variations"])
    assert "worker" in instance.run("teardown").stdout
    assert instance.processes() == []
    assert not (instance.directory / "variations").exists()


@pytest.mark.parametrize("name", ["elicitation", "resource-server", "prefix-gateway"])
def test_every_check_of_a_variation_passes_after_its_run(instance: IsolatedInstance, name: str) -> None:
    ran = instance.run("part", "4", "run", "--variation", name, "--approve-as", "learner")
    assert ANSWER in ran.stdout, ran.stderr
    every_check_passes(instance, name)
    instance.run("teardown")


def every_check_passes(instance: IsolatedInstance, name: str) -> None:
    done = instance.run("part", "4", "check", "--variation", name, "--json")
    checks = json.loads(done.stdout)["data"]["checks"]
    assert {check["id"]: check["reason"] for check in checks if check["state"] != "passed"} == {}
    assert len(checks) > 5


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["part", "1", "run", "--variation", "worker"], "Part 1 has no variations"),
        (["part", "4", "run", "--variation", "nothing"], "There are worker, elicitation"),
        (["part", "4", "run", "--variation", "elicitation", "--weak"], "has no weak edition"),
        (["part", "4", "run", "--weak"], "`--weak` is for a variation"),
        (["part", "4", "exercise", "9", "--variation", "worker"], "Variation worker has no exercise 9"),
    ],
)
def test_a_variation_that_there_is_not_is_a_usage_error(
    instance: IsolatedInstance, words: list[str], told: str
) -> None:
    done = instance.run(*words)
    assert done.returncode == 2
    assert told in done.stderr
    assert not instance.directory.exists()
