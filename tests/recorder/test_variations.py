"""The variations are flown for real, each in its own room: their stories are right, and have no secret."""

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
from workshop.course.variation_run import Running, prepare, variation_running
from workshop.lab.variation import Edition
from workshop.recorder import files
from workshop.recorder.current import recording
from workshop.recorder.model import Outcome, Step, Subject, Trace
from workshop.recorder.page import Picture, picture
from workshop.recorder.recorder import Recorder
from workshop.recorder.story import build_trace

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
    "weak": [hop for hop in LOGIN_IN_THE_WORKER if hop[0] != "consent"],
    "elicitation": LOGIN_ELSEWHERE,
    "resource-server": LOGIN_ELSEWHERE,
    "prefix-gateway": LOGIN_ELSEWHERE,
}
VISIT = [
    ("visit", "browser", "gateway"),
    ("own-authorize", "browser", "authorization-server"),
    ("own-consent", "browser", "authorization-server"),
    *LOGIN_ELSEWHERE[2:5],
    ("own-callback", "browser", "gateway"),
    ("connect", "browser", "gateway"),
    *AT_GITHUB,
]


@dataclass(frozen=True)
class Flown:
    """A variation's run, raw and told; the run after it; and one more, where the grants are gone by then."""

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


def fly(running: Running, called: str) -> tuple[Recorder, Trace]:
    """Ask part 4's question here, with the recorder on and the practice GitHub as a witness."""
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
            place=running.place("learner"),
        )
    subject = Subject("x", upstream.url, upstream.name, called)
    return recorder, build_trace(recorder, subject, Outcome(), upstream.hops_since(recorder.began))


@pytest.fixture(scope="module", params=NAMES)
def flown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flown]:
    name, room = request.param, tmp_path_factory.mktemp("room")
    edition = "weak" if name == "weak" else "mended"
    variation = find_variation("worker" if name == "weak" else name)
    with (
        pytest.MonkeyPatch.context() as patched,
        variation_running(variation, room, edition=edition) as running,
    ):
        patched.setenv("WORKSHOP_HOME", str(tmp_path_factory.mktemp("home")))
        patched.chdir(room)
        recorder, trace = fly(running, NAMES[name])
        _, again = fly(running, NAMES[name])
        later = without_grants(running, NAMES[name]) if name == "elicitation" else None
        yield Flown(name, recorder, trace, again, later, files_of_secrets(running))


def without_grants(running: Running, called: str) -> Trace:
    """The run after everything was taken back and set up anew, with the login still stored."""
    with Console(io.StringIO(), io.StringIO()).progress() as quiet:
        prepare(running, quiet, Edition(), "--cleanup")
        prepare(running, quiet, Edition())
    return fly(running, called)[1]


def files_of_secrets(running: Running) -> dict[str, str]:
    """Every secret of the room itself: its keys, its clients' secrets, its practice users' tokens."""
    paths = [path for path in (running.directory / "secrets").rglob("*") if path.is_file()]
    return {f"the file {path.name}": path.read_text("utf-8").strip() for path in paths}


def test_no_secret_of_a_variation_is_in_any_form_of_its_trace(flown: Flown) -> None:
    secrets = secrets_of(flown.recorder.hops) | flown.secrets
    kinds = " ".join(secrets)
    own = {
        "elicitation": ["requestState", "elicitation_id of", "the file vault-key"],
        "prefix-gateway": ["x-github-pat", "the file pat-mentor"],
        "weak": ["the file client-secret"],
    }
    for kind in ("code of", "state of", "code_verifier", "access_token", "cookie", *own.get(flown.name, [])):
        assert kind in kinds, f"the test itself has to see: {kind}"
    for ending, writer in files.WRITERS.items():
        text = writer(flown.trace)
        assert [name for name, value in secrets.items() if value in text] == [], ending
        assert not re.search(r"practice_[a-z0-9-]+_[a-z2-7]+_[0-9a-f]{32}|eyJ[\w-]{20,}", text), ending


def test_the_login_is_told_as_this_variation_has_it(flown: Flown) -> None:
    hops = [(step.kind, step.sender, step.receiver) for step in flown.phase("approval")]
    assert hops == LOGINS[flown.name]
    assert [one for _, one in flown.trace.comparisons if not one.holds] == []
    texts = " ".join(f"{step.title} {step.sentence}" for step in flown.trace.steps)
    assert "{" not in texts
    called = NAMES[flown.name].lower()
    assert f"The {called} refuses the request" in texts
    assert called == "gateway" or "gateway" not in texts


def test_what_a_tool_asks_of_github_stands_inside_its_call_on_both_runs(flown: Flown) -> None:
    for trace in (flown.trace, flown.again):
        by_number = {step.number: step for step in trace.steps}
        asked = [step for step in trace.steps if step.kind in ("upstream-call", "upstream-mcp")]
        assert bool(asked) == (flown.name != "resource-server")
        assert {by_number[step.inside or 0].kind for step in asked} <= {"mcp"}
        assert [one for _, one in trace.comparisons if not one.holds] == []
    assert "browser" not in {party.id for party in flown.again.parties}


def test_the_parties_do_what_their_lanes_say(flown: Flown) -> None:
    assert [(party.name, party.role) for party in flown.trace.parties][2:] == {
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
    }[flown.name]
    unseen = " ".join(flown.trace.unseen)
    assert ("public keys" in unseen) == (
        "authorization-server" in {party.id for party in flown.trace.parties}
    )
    assert ("GitHub" in unseen) == (flown.name != "resource-server")


def test_the_picture_says_which_token_went_where(flown: Flown) -> None:
    found = flown.picture()
    assert (found.title, found.boxes, found.wires) == {
        "elicitation": (
            "Two tokens, and neither passes the gateway",
            ("agent", "gateway", "upstream"),
            (("⟨token-1⟩",), ("⟨github-token-1⟩",)),
        ),
        "resource-server": (
            "The token comes from another server, and is for this resource server alone",
            ("authorization-server", "agent", "gateway"),
            (("⟨token-1⟩",), ("⟨token-1⟩",)),
        ),
        "prefix-gateway": (
            "The agent's token ends at the gateway, the person's own goes on",
            ("agent", "gateway", "upstream"),
            (("⟨token-1⟩", "⟨github-token-1⟩"), ("⟨github-token-2⟩", "⟨github-token-1⟩")),
        ),
    }.get(
        flown.name,
        (
            "Two tokens, and neither passes the worker",
            ("agent", "gateway", "upstream"),
            (("⟨token-1⟩",), ("⟨github-token-1⟩",)),
        ),
    )


@pytest.mark.parametrize("flown", ["elicitation"], indirect=True)
def test_a_call_that_waits_for_a_person_is_told_as_the_gateways_own_affair(flown: Flown) -> None:
    visit = flown.phase("visit")
    assert [(step.kind, step.sender, step.receiver) for step in visit] == VISIT
    asked, answered = (
        step for step in flown.trace.steps if "getUserProfile is called" in step.title and step.kind == "mcp"
    )
    assert (asked.number + 1, answered.number - 1) == (visit[0].number, visit[-1].number)
    assert "The answer is a link" in asked.sentence
    assert "⟨link-1⟩" in dict(asked.facts)["answer"]
    assert "⟨link-1⟩" in visit[0].url
    assert answered.title.endswith("called again")
    assert "Nothing is made for the agent" in next(
        step.sentence for step in visit if step.kind == "upstream-callback"
    )
    assert "visit" not in {step.phase for step in flown.again.steps}


@pytest.mark.parametrize("flown", ["elicitation"], indirect=True)
def test_a_visit_is_told_the_same_when_the_login_is_a_stored_one(flown: Flown) -> None:
    assert flown.later is not None
    hops = [(step.kind, step.sender, step.receiver) for step in flown.later.steps if step.phase == "visit"]
    assert hops == VISIT
    assert "server-metadata" not in {step.kind for step in flown.later.steps}


@pytest.mark.parametrize("flown", ["prefix-gateway"], indirect=True)
def test_the_persons_own_token_and_the_gateways_are_told_apart(flown: Flown) -> None:
    asked = [step for step in flown.trace.steps if step.kind == "upstream-mcp"]
    own = [step for step in asked if step.title == "The gateway uses a token of its own"]
    assert {step.sentence.rpartition("for ")[2] for step in own} == {"`server/discover`.", "`tools/list`."}
    assert {step.comparisons[0].right for step in own} == {"⟨github-token-2⟩"}
    along = [step for step in asked if step not in own]
    assert {step.title for step in along} == {"The person's own token goes on"}
    assert {step.comparisons[0].right for step in along} == {"⟨github-token-1⟩"}
    assert any(
        step.sentence.endswith("what came in `x-github-pat`. It asks for `list_issues`.") for step in along
    )
    assert dict(flown.picture().notes) == {
        "⟨token-1⟩": "the agent's, for the gateway alone",
        "⟨github-token-1⟩": "the person's own, from the header x-github-pat",
        "⟨github-token-2⟩": "the gateway's own, to list tools",
    }


@pytest.mark.parametrize("flown", ["weak"], indirect=True)
def test_what_the_weak_worker_leaves_out_is_not_told_as_if_it_were_there(flown: Flown) -> None:
    told = {step.kind: step.sentence for step in flown.trace.steps}
    assert "the agent has to guess" in told["challenge"]
    assert "a secret that a program on a laptop cannot keep" in told["register"]
    assert "It does not say whose code it is" in told["callback"]
