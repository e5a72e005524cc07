"""The variations are recorded for real, each in its own directory: traces are right and have no secrets."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.recorder.test_canaries import secrets_of
from workshop.agent.part import RunContext
from workshop.agent.run import RunOptions, load_answer, run_answer
from workshop.core.console import Console
from workshop.course.lessons import find_variation
from workshop.course.run import variation_upstream
from workshop.course.variation_run import Edition, Running, prepare, variation_running
from workshop.recorder import files, recording
from workshop.recorder.build import build_trace
from workshop.recorder.model import Outcome, Step, Subject, Trace
from workshop.recorder.page import Picture, picture
from workshop.recorder.recorder import Recorder

NAMES = {
    "worker": "Worker",
    "weak": "Worker",
    "elicitation": "Gateway",
    "resource-server": "Resource server",
    "prefix-gateway": "Gateway",
}
LOGIN_ELSEWHERE = [
    ("authorize", "browser", "authorization-server"),
    ("consent", "browser", "authorization-server"),
    ("page", "browser", "authorization-server"),
    ("sign-in", "browser", "authorization-server"),
    ("issuer-callback", "browser", "authorization-server"),
    ("callback", "browser", "agent"),
]
AT_GITHUB = [
    ("upstream-authorize", "browser", "upstream"),
    ("upstream-consent", "browser", "upstream"),
    ("upstream-callback", "browser", "gateway"),
    ("upstream-token", "gateway", "upstream"),
]
LOGIN_IN_THE_WORKER = [
    ("authorize", "browser", "gateway"),
    ("consent", "browser", "gateway"),
    *AT_GITHUB,
    ("upstream-user", "gateway", "upstream"),
    ("callback", "browser", "agent"),
]
LOGINS = {
    "worker": LOGIN_IN_THE_WORKER,
    "weak": [one for one in LOGIN_IN_THE_WORKER if one[0] != "consent"],
    "elicitation": LOGIN_ELSEWHERE,
    "resource-server": LOGIN_ELSEWHERE,
    "prefix-gateway": LOGIN_ELSEWHERE,
}
ELICITATION = [
    ("visit", "browser", "gateway"),
    ("own-authorize", "browser", "authorization-server"),
    ("own-consent", "browser", "authorization-server"),
    *LOGIN_ELSEWHERE[2:5],
    ("own-callback", "browser", "gateway"),
    ("connect", "browser", "gateway"),
    *AT_GITHUB,
]


@dataclass(frozen=True)
class RecordedRun:
    """A variation's recorded run, the run after it, and one more whose grants are gone."""

    name: str
    recorder: Recorder
    trace: Trace
    again: Trace
    later: Trace | None
    secrets: dict[str, str]

    def phase(self, name: str) -> list[Step]:
        return [step for step in self.trace.steps if step.phase == name]

    def picture(self) -> Picture:
        found = picture(self.trace)
        assert found is not None
        return found


def record_run(running: Running, called: str) -> tuple[Recorder, Trace]:
    """Ask part 4's question here, with the recorder on and the practice GitHub's record."""
    recorder, quiet = Recorder(), Console(io.StringIO(), io.StringIO())
    variation, upstream = running.variation, variation_upstream(running)
    options = RunOptions(approve_as="learner")
    with recording(recorder):
        answer = load_answer(variation.part.directory)
        run_answer(
            RunContext.load(variation.directory),
            answer,
            options,
            quiet,
            upstream,
            endpoints=running.agent_endpoints("learner"),
        )
    subject = Subject("x", upstream.url, upstream.name, called)
    return recorder, build_trace(recorder, subject, Outcome(), upstream.requests_since(recorder.began))


@pytest.fixture(scope="module", params=NAMES)
def recorded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RecordedRun]:
    name, directory = request.param, tmp_path_factory.mktemp("variation")
    edition = "weak" if name == "weak" else "mended"
    variation = find_variation("worker" if name == "weak" else name)
    with (
        pytest.MonkeyPatch.context() as patched,
        variation_running(variation, directory, edition=edition) as running,
    ):
        patched.setenv("WORKSHOP_HOME", str(tmp_path_factory.mktemp("home")))
        patched.chdir(directory)
        recorder, trace = record_run(running, NAMES[name])
        _, again = record_run(running, NAMES[name])
        later = without_grants(running, NAMES[name]) if name == "elicitation" else None
        yield RecordedRun(name, recorder, trace, again, later, files_of_secrets(running))


def without_grants(running: Running, called: str) -> Trace:
    """The run after everything was taken back and set up anew, with the login still stored."""
    with Console(io.StringIO(), io.StringIO()).progress() as quiet:
        prepare(running, quiet, Edition(), "--cleanup")
        prepare(running, quiet, Edition())
    return record_run(running, called)[1]


def files_of_secrets(running: Running) -> dict[str, str]:
    """Every secret of the variation: its keys, its clients' secrets, its practice users' tokens."""
    paths = [path for path in (running.directory / "secrets").rglob("*") if path.is_file()]
    return {f"the file {path.name}": path.read_text("utf-8").strip() for path in paths}


def test_no_secret_of_a_variation_is_in_any_form_of_its_trace(recorded: RecordedRun) -> None:
    secrets = secrets_of(recorded.recorder.requests) | recorded.secrets
    kinds = " ".join(secrets)
    own = {
        "elicitation": ["requestState", "elicitation_id of", "the file vault-key"],
        "prefix-gateway": ["x-github-pat", "the file pat-mentor"],
        "weak": ["the file client-secret"],
    }
    for kind in (
        "code of",
        "state of",
        "code_verifier",
        "access_token",
        "cookie",
        *own.get(recorded.name, []),
    ):
        assert kind in kinds, f"the test itself has to see: {kind}"
    for ending, writer in files.WRITERS.items():
        text = writer(recorded.trace)
        assert [name for name, value in secrets.items() if value in text] == [], ending
        assert not re.search(r"practice_[a-z0-9-]+_[a-z2-7]+_[0-9a-f]{32}|eyJ[\w-]{20,}", text), ending


def test_the_login_is_that_of_this_variation(recorded: RecordedRun) -> None:
    requests = [(step.kind, step.sender, step.receiver) for step in recorded.phase("approval")]
    assert requests == LOGINS[recorded.name]
    assert [one for _, one in recorded.trace.comparisons if not one.holds] == []
    texts = " ".join(f"{step.title} {step.sentence}" for step in recorded.trace.steps)
    assert "{" not in texts
    called = NAMES[recorded.name].lower()
    assert re.search(f"The {called} (names the document|does not name)", texts)
    assert called == "gateway" or "gateway" not in texts


def test_a_tools_requests_to_github_are_inside_its_call_on_both_runs(recorded: RecordedRun) -> None:
    for trace in (recorded.trace, recorded.again):
        by_number = {step.number: step for step in trace.steps}
        asked = [step for step in trace.steps if step.kind in ("upstream-call", "upstream-mcp")]
        assert bool(asked) == (recorded.name != "resource-server")
        assert {by_number[step.inside or 0].kind for step in asked} <= {"mcp"}
        assert [one for _, one in trace.comparisons if not one.holds] == []
    assert "browser" not in {party.id for party in recorded.again.parties}


def test_the_parties_do_what_their_lanes_state(recorded: RecordedRun) -> None:
    assert [(party.name, party.role) for party in recorded.trace.parties][2:] == {
        "worker": [("Worker", "MCP + authorization server"), ("Practice GitHub", "API + login")],
        "weak": [("Worker", "MCP + authorization server"), ("Practice GitHub", "API + login")],
        "elicitation": [
            ("Gateway", "MCP server"),
            ("Authorization server", "signs people in"),
            ("Practice GitHub", "API + login"),
        ],
        "resource-server": [("Resource server", "MCP server"), ("Authorization server", "signs people in")],
        "prefix-gateway": [
            ("Gateway", "MCP proxy"),
            ("Authorization server", "signs people in"),
            ("Practice GitHub", "MCP server"),
        ],
    }[recorded.name]
    unseen = " ".join(recorded.trace.unseen)
    assert ("public keys" in unseen) == (
        "authorization-server" in {party.id for party in recorded.trace.parties}
    )
    assert ("GitHub" in unseen) == (recorded.name != "resource-server")


def test_the_picture_shows_which_token_went_where(recorded: RecordedRun) -> None:
    found = recorded.picture()
    assert (found.title, found.boxes, found.wires) == {
        "elicitation": (
            "Two tokens, and neither passes the gateway",
            ("agent", "gateway", "upstream"),
            (("⟨token-1⟩",), ("⟨github-token-1⟩",)),
        ),
        "resource-server": (
            "The token is another server's, and only for this resource server",
            ("authorization-server", "agent", "gateway"),
            (("⟨token-1⟩",), ("⟨token-1⟩",)),
        ),
        "prefix-gateway": (
            "The agent's token ends at the gateway; the person's own token is passed on",
            ("agent", "gateway", "upstream"),
            (("⟨token-1⟩", "⟨github-token-1⟩"), ("⟨github-token-2⟩", "⟨github-token-1⟩")),
        ),
    }.get(
        recorded.name,
        (
            "Two tokens, and neither passes the worker",
            ("agent", "gateway", "upstream"),
            (("⟨token-1⟩",), ("⟨github-token-1⟩",)),
        ),
    )


@pytest.mark.parametrize("recorded", ["elicitation"], indirect=True)
def test_a_call_that_waits_for_a_person_is_shown_as_the_gateways_own(recorded: RecordedRun) -> None:
    visit = recorded.phase("visit")
    assert [(step.kind, step.sender, step.receiver) for step in visit] == ELICITATION
    asked, answered = (
        step
        for step in recorded.trace.steps
        if "getUserProfile is called" in step.title and step.kind == "mcp"
    )
    assert (asked.number + 1, answered.number - 1) == (visit[0].number, visit[-1].number)
    assert "The answer is a link" in asked.sentence
    assert "⟨link-1⟩" in dict(asked.facts)["answer"]
    assert "⟨link-1⟩" in visit[0].url
    assert answered.title.endswith("called again")
    assert "The agent gets nothing" in next(
        step.sentence for step in visit if step.kind == "upstream-callback"
    )
    assert "visit" not in {step.phase for step in recorded.again.steps}


@pytest.mark.parametrize("recorded", ["elicitation"], indirect=True)
def test_an_elicitation_is_the_same_with_a_stored_login(recorded: RecordedRun) -> None:
    assert recorded.later is not None
    requests = [
        (step.kind, step.sender, step.receiver) for step in recorded.later.steps if step.phase == "visit"
    ]
    assert requests == ELICITATION
    assert "server-metadata" not in {step.kind for step in recorded.later.steps}


@pytest.mark.parametrize("recorded", ["prefix-gateway"], indirect=True)
def test_the_persons_own_token_and_the_gateways_are_distinguished(recorded: RecordedRun) -> None:
    asked = [step for step in recorded.trace.steps if step.kind == "upstream-mcp"]
    own = [step for step in asked if step.title == "The gateway uses its own token"]
    assert {step.sentence.rpartition("requests ")[2] for step in own} == {
        "`server/discover`.",
        "`tools/list`.",
    }
    assert {step.comparisons[0].right for step in own} == {"⟨github-token-2⟩"}
    along = [step for step in asked if step not in own]
    assert {step.title for step in along} == {"The person's own token is passed on"}
    assert {step.comparisons[0].right for step in along} == {"⟨github-token-1⟩"}
    assert any(
        step.sentence.endswith("the value of `x-github-pat` instead. It requests `list_issues`.")
        for step in along
    )
    assert dict(recorded.picture().notes) == {
        "⟨token-1⟩": "the agent's, only for the gateway",
        "⟨github-token-1⟩": "the person's own, from the header x-github-pat",
        "⟨github-token-2⟩": "the gateway's own, to list tools",
    }


@pytest.mark.parametrize("recorded", ["weak"], indirect=True)
def test_what_the_weak_worker_leaves_out_is_not_described(recorded: RecordedRun) -> None:
    sentences = {step.kind: step.sentence for step in recorded.trace.steps}
    assert "the agent has to guess" in sentences["challenge"]
    assert "a secret that a program on a laptop cannot protect" in sentences["register"]
    assert "The issuer is not named" in sentences["callback"]
