"""A typical wrong answer to an exercise fails, and the reason names the mistake."""

import asyncio
import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from tests.course.conftest import Judge, judge
from workshop.core.paths import parts_dir
from workshop.course.check_handshake import MISTAKES, Handshake
from workshop.course.check_outcome import Outcome
from workshop.course.exercise import Exercise, exercise_of
from workshop.course.lessons import find_lessons

__all__ = ["judge"]  # a fixture of the course's tests


def exercise(part: int, number: int) -> Exercise:
    return exercise_of(find_lessons(parts_dir())[part - 1], number)


def answered(judge: Judge, folder: Path, found: Exercise, *changes: tuple[str, str]) -> Outcome:
    """The outcome for a file that is the solution with these texts replaced."""
    text = found.solution.read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    work = folder / f"mine{found.solution.suffix}"
    work.write_text(text, encoding="utf-8")
    works = {str(found.number): str(work)}
    (outcome,) = judge(found.directory.parents[1], works=works, only=found.number).values()
    return outcome


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            ('claims["iss"]', '"http://localhost:8080"'),
            "In a run without a mistake, your `issuer` is 'http://l",
        ),
        (
            ('claims["aud"]', 'claims["iss"]'),
            "In a run without a mistake, your `audience` is 'http://127.0.0.1",
        ),
        (
            ("for step in right if", "for step in steps if"),
            "agent's own token reached GitHub, your `swapped` is",
        ),
        (('== "upstream-mcp"', '== "mcp"'), "agent's own token reached GitHub, your `swapped` is"),
        (("step not in right", "False"), "your `wrong` is None; the right answer is "),
    ],
)
def test_a_trace_that_is_read_wrong(
    judge: Judge, tmp_path: Path, change: tuple[str, str], reason: str
) -> None:
    outcome = answered(judge, tmp_path, exercise(4, 1), change)
    assert outcome.state == "failed"
    assert reason in outcome.reason
    fitting = {"swapped": "Count the steps", "wrong": "Go through the steps"}
    asked = next((hint for name, hint in fitting.items() if f"`{name}`" in reason), "Take the first step")
    assert outcome.hints[0].startswith(asked)
    assert len(outcome.hints) == 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (('challenge["resource_metadata"]', 'mcp_url.replace("/mcp", "/.well-known/a")'), "Nothing is at"),
        (("server['authorization_endpoint']", "issuer"), "The browser would go to http://127.0.0.1:"),
        (("{server['authorization_endpoint']}", "{issuer}/authorize"), "; the metadata names http://127"),
        (('metadata["resource"]', "mcp_url"), "`resource` is 'http://127.0.0.1:"),
        (('        "resource": metadata["resource"],\n', ""), "`resource` is None, not"),
        (("secrets.token_urlsafe(32)", "secrets.token_urlsafe(8)"), "The verifier has 11 characters"),
        (("secrets.token_urlsafe(32)", "'v' * 43"), "Two logins have the same verifier"),
        (("secrets.token_urlsafe(16)", "'state'"), "Two logins have the same `state`"),
        (('        "state": secrets.token_urlsafe(16),\n', ""), "`state` is missing"),
        (('.decode().rstrip("=")', ".decode()"), "The challenge ends with `=`"),
        (("base64.urlsafe_b64encode(digest)", "digest.hex().encode()"), "in hexadecimal, not in base64"),
        (('base64.urlsafe_b64encode(digest).decode().rstrip("=")', "verifier"), "is the verifier itself"),
        (("sha256(verifier", "sha512(verifier"), "this verifier's is"),
        (('"S256"', '"plain"'), "`code_challenge_method` is 'plain', not 'S256'"),
        (('challenge["scope"]', '"repo"'), "`scope` is 'repo', not 'read:"),
        (("urlencode(query)}", "urlencode(query)[:40]}"), "`redirect_uri` is None|`client_id` is"),
        (("    refused =", "    raise OSError('no network')\n    refused ="), "OSError, line 14 of mine.py"),
    ],
)
def test_an_authorize_url_that_is_wrong(
    judge: Judge, tmp_path: Path, change: tuple[str, str], reason: str
) -> None:
    outcome = answered(judge, tmp_path, exercise(4, 2), change)
    assert outcome.state == "failed"
    assert any(each in outcome.reason for each in reason.split("|")), outcome.reason


def test_a_login_of_another_client_is_found_by_its_id(judge: Judge, tmp_path: Path) -> None:
    outcome = answered(judge, tmp_path, exercise(4, 2), ('"client_id": client_id', '"client_id": "agent"'))
    assert "`client_id` is 'agent', not 'client-" in outcome.reason


DECODED = 'jwt.decode(token, keys, algorithms=["ES256"]).claims'
UNVERIFIED = '__import__("workshop.core.encoding").core.encoding.jwt_claims(token)'


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((DECODED, UNVERIFIED), "A token with the signature of another key was accepted"),
        (
            ('claims.get("iss") != issuer', 'claims["iss"].rstrip("/") != issuer'),
            "from another issuer",
        ),
        (("(named if isinstance(named, list) else [named])", "named"), "whose address begins like ours"),
        (
            ("if audience not in", "if '' in"),
            "begins like ours, was accepted",
        ),
        (('claims.get("exp", 0) <= time.time()', "False"), "that expired a minute ago was accepted"),
        (
            ("(named if isinstance(named, list) else [named])", "[named]"),
            "is a list of two, was refused",
        ),
        (('algorithms=["ES256"]', 'algorithms=["RS256"]'), "was refused"),
        (("return claims\n", "return None\n"), "The claims of the right token came back as None"),
    ],
)
def test_a_token_that_is_judged_wrong(
    judge: Judge, tmp_path: Path, change: tuple[str, str], reason: str
) -> None:
    outcome = answered(judge, tmp_path, exercise(4, 3), change)
    assert outcome.state == "failed"
    assert reason in outcome.reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("if tool.name in self.filter", ""), "still sees `get_issue`, `list_issues`"),
        (("replace(tool, **self.override.get(tool.name, {}))", "tool"), "The agent does not see `compute_"),
        (("**self.override.get(tool.name, {})", "**NEW.get(tool.name, {})"), "is described as 'List my"),
        (("if name not in self.filter:", "if False:"), "`list_issues` is not shown, but a call"),
        (
            ("if name not in self.filter:", "if name == 'list_issues':"),
            "`calculate` has a new name, but a call",
        ),
        (("own.get(name, name)", "name"), "There is no tool 'compute_"),
        (('f"There is no tool {name}", is_error=True', '"no"'), "`list_issues` is not shown, but a call"),
        (
            ("if name not in self.filter:", "if name != 'calculate':"),
            "came back as There is no tool compute_",
        ),
    ],
)
def test_a_proxy_that_adds_too_little(
    judge: Judge, tmp_path: Path, change: tuple[str, str], reason: str
) -> None:
    old, new = change
    if "NEW" in new:  # renames, but leaves every description
        new = new.replace("NEW", "{k: v for k, v in self.override.items() if 'name' in v}")
    outcome = answered(judge, tmp_path, exercise(3, 2), (old, new))
    assert outcome.state == "failed"
    assert reason in outcome.reason


@pytest.mark.parametrize("mistake", ["", *MISTAKES])
def test_a_recording_has_one_wrong_hop_at_most_and_names_it(mistake: str) -> None:
    with Handshake() as login:
        hops, wrong = asyncio.run(login.recorded(mistake, calls=3))
    failed = [hop["number"] for hop in hops if not all(each["holds"] for each in hop["comparisons"])]
    assert (failed or [None])[0] == wrong
    kinds = [hop["kind"] for hop in hops]
    assert kinds[:8] == [
        *("challenge", "resource-metadata", "server-metadata", "register"),
        *("authorize", "callback", "token", "mcp"),
    ]
    assert kinds.count("upstream-mcp") == 3


def test_the_answers_can_be_shown_for_a_run_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Handshake() as login:
        hops, _ = asyncio.run(login.recorded(calls=2))
    (tmp_path / "run.json").write_text(json.dumps({"steps": hops}), encoding="utf-8")
    shutil.copy(exercise(4, 1).solution, tmp_path / "mine.py")
    monkeypatch.setattr("sys.argv", ["mine.py", str(tmp_path / "run.json")])
    spec = importlib.util.spec_from_file_location("__main__", tmp_path / "mine.py")
    assert spec
    assert spec.loader
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    shown = capsys.readouterr().out
    assert shown.startswith(f"{{'issuer': '{login.issuer}', 'audience': ['{login.resource}'], 'swapped': 2")
