"""Whatever is mistyped or misplaced ends in one of our errors: a code, at most six lines, no traceback."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Workshop
from workshop.core.paths import parts_dir

SECRET = "GITHUB_OAUTH_CLIENT_SECRET"


def told(err: str) -> str:
    assert err.startswith("Error: ")
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 6
    return err


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["part", "9", "run"], "There is no part `9`"),
        (["part", "one"], "There is no part `one`"),
        (["prat"], "There is no command `workshop prat`"),
        (["up", "--prot"], "No such option: --prot"),
        (["up", "--port", "8080"], "is not NAME=PORT"),
        (["up", "--port", "github-remote=eighty"], "is not NAME=PORT"),
        (["up", "--port", "github-remote=0"], "Port 0 for `github-remote` is out of range"),
        (["up", "--port", "github-remote=70000"], "out of range"),
        (["up", "--port", "nobody=8080"], "`--port nobody=8080` names an unknown workload"),
        (["up", "--upstream", "gitlab"], "Invalid value for '--upstream'"),
        (["up", "--upstream", "gitlab"], ": 'gitlab' is not one of 'github', 'practice'"),
        (["connect"], "Missing argument 'client'. Choose from: claude-code, claude-desktop, "),
        (["serve", "wroker"], "Part 4 has no variation `wroker`"),
        (["bundle", "verify", "none.bundle", "-q"], "none.bundle`\n  No such file or directory\n"),
        (["up", "--env-file", "none.env"], "Cannot read `none.env`"),
        (["part", "1", "run", "--env-file", "none.env"], "Cannot read `none.env`"),
    ],
)
def test_a_mistake_on_the_command_line_is_exit_code_2(
    workshop: Workshop, arguments: list[str], what: str
) -> None:
    outcome = workshop(*arguments)
    assert outcome.code == 2
    assert what in told(outcome.err)
    assert outcome.out == ""


@pytest.mark.parametrize(
    ("words", "variables", "what"),
    [
        (["up", "--backend", "knid"], {}, "Invalid value for '--backend': 'knid' is not one of"),
        (["up", "--backend=knid"], {"WORKSHOP_BACKEND": "kind"}, "for '--backend': 'knid' is not one of"),
        (["up"], {"WORKSHOP_BACKEND": "knid"}, "for WORKSHOP_BACKEND: 'knid' is not one of"),
        (["rehearse"], {"WORKSHOP_BACKEND": "knid"}, "for WORKSHOP_BACKEND: 'knid' is not one of"),
        (["up", "--port", "x"], {"WORKSHOP_PORT": "y"}, "`--port x` is not NAME=PORT"),
        (["up"], {"WORKSHOP_PORT": "x"}, "`WORKSHOP_PORT=x` is not NAME=PORT"),
        (["rehearse"], {"WORKSHOP_PORT": "github-remote=8088 x"}, "`WORKSHOP_PORT=x` is not NAME=PORT"),
        (["up"], {"WORKSHOP_PORT": "no=8080"}, "`WORKSHOP_PORT=no=8080` names an unknown workload"),
        (["up", "--port=no=8080"], {}, "`--port no=8080` names an unknown workload"),
        (
            ["up", "-q"],
            {"WORKSHOP_BACKEND": "kubernetes"},
            "`WORKSHOP_BACKEND=kubernetes` needs `--context NAME`",
        ),
        (["up", "--backend", "kubernetes"], {}, "`--backend kubernetes` needs `--context NAME`"),
        (["status"], {"WORKSHOP_INSTANCE": "a/b"}, "`WORKSHOP_INSTANCE=a/b` cannot name an instance"),
        (["status", "--instance", "a/b"], {}, "`--instance a/b` cannot name an instance"),
        (["--instance=a/b", "status"], {"WORKSHOP_INSTANCE": "c"}, "`--instance a/b` cannot name an"),
    ],
)
def test_a_wrong_value_is_reported_with_the_option_or_the_variable_that_gave_it(
    workshop: Workshop,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    variables: dict[str, str],
    what: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    outcome = workshop(*words)
    assert (outcome.code, outcome.out) == (2, "")
    # `up` reports the chosen backend before it asks for more.
    assert what in told(outcome.err[outcome.err.index("Error: ") :])
    assert "env var" not in outcome.err


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (f"{SECRET}='open\n".encode(), "Line 1 of"),
        (f"# fine\n\n{SECRET} value\n".encode(), "is not KEY=VALUE"),
        (f"{SECRET}='two words'\n".encode(), "contains a space"),
    ],
)
def test_a_broken_env_file_is_refused_before_anything_starts(
    workshop: Workshop, content: bytes, what: str
) -> None:
    Path(".env").write_bytes(content)
    outcome = workshop("up")
    assert outcome.code == 2
    assert what in told(outcome.err)
    assert "two words" not in outcome.err


def test_github_without_its_secret_is_exit_code_4(workshop: Workshop) -> None:
    outcome = workshop("up", "--upstream", "github")
    assert outcome.code == 4
    assert "GITHUB_OAUTH_CLIENT_SECRET is not set" in told(outcome.err)


def test_github_without_a_client_id_is_exit_code_4(workshop: Workshop) -> None:
    Path(".env").write_text(f"{SECRET}=a-sample\n")
    Path(".env").chmod(0o600)  # or a warning comes first
    outcome = workshop("up")
    assert outcome.code == 4
    assert "GITHUB_OAUTH_CLIENT_ID is not set" in told(outcome.err)
    assert "a-sample" not in outcome.err


def test_a_part_that_needs_workloads_says_to_bring_them_up(workshop: Workshop) -> None:
    outcome = workshop("part", "3", "run")
    assert outcome.code == 3
    assert "workshop up" in told(outcome.err)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("kind: MCPRemoteProxy", "kind: MCPRemoteProxi", "Unknown kind 'MCPRemoteProxi'"),
        ("  remoteUrl:", "\tremoteUrl:", "is not YAML at line"),
        ("  remoteUrl: ", "  remoteURI: ", "`spec.remoteURI` is not a known field"),
        ("audience: http://localhost:8080/", "audience: http://localhost:8080", "must be the same text"),
        ("proxyPort: 8080", "proxyPort: 808000", "between 1 and 65535"),
    ],
)
def test_a_broken_manifest_is_refused_with_its_file(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, what: str
) -> None:
    parts = tmp_path / "parts"
    shutil.copytree(parts_dir(), parts)
    manifest = parts / "04_remote_oauth" / "toolhive" / "github-remote.yaml"
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new))
    monkeypatch.setattr("workshop.course.lessons.parts_dir", lambda: parts)
    outcome = workshop("up")
    assert outcome.code == 2
    assert what in told(outcome.err)
    assert "github-remote.yaml" in outcome.err


@pytest.mark.parametrize("line", ['ready = "soon"', "ready = true", "ready = 0"])
def test_a_timeout_that_is_no_time_is_refused(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    parts = tmp_path / "parts"
    shutil.copytree(parts_dir(), parts)
    described = parts / "03_toolhive" / "part.toml"
    text = described.read_text()
    assert "ready = 30" in text
    described.write_text(text.replace("ready = 30", line))
    monkeypatch.setattr("workshop.course.lessons.parts_dir", lambda: parts)
    outcome = workshop("up")
    assert outcome.code == 2
    assert "must be a number of seconds above 0" in told(outcome.err)


def test_an_error_is_reported_as_json_where_json_was_asked_for(workshop: Workshop) -> None:
    outcome = workshop("up", "--upstream", "github", "--json")
    assert outcome.err == ""
    document = json.loads(outcome.out)
    assert document["status"] == "error"
    assert document["exit_code"] == outcome.code == 4
    assert document["error"]["code"] == "credentials"


def test_a_damaged_state_file_is_refused_and_teardown_clears_it(workshop: Workshop, tmp_path: Path) -> None:
    record = tmp_path / "state" / "default" / "instance.json"
    record.parent.mkdir(parents=True)
    record.write_text("{")
    outcome = workshop("status")
    assert outcome.code == 2
    assert "workshop teardown" in told(outcome.err)
    assert workshop("teardown").code == 0
    assert not record.exists()
    assert workshop("status").code == 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["ftp://localhost/mcp"], "No login at"),
        (["http://example.com/mcp"], "It needs https, or http on this machine"),
        (["http://localhost:1/mcp", "--header-file", "x-pat"], "is not NAME=FILE"),
        (["http://localhost:1/mcp", "--header-file", "x-pat=nothing"], "cannot be read"),
        (["http://localhost:1/mcp", "--header-file", "x-pat=two"], "one line of ASCII text"),
    ],
)
def test_wrong_words_for_the_bridge_are_a_usage_error(
    workshop: Workshop, tmp_path: Path, words: list[str], reason: str
) -> None:
    (tmp_path / "here" / "two").write_text("sesame\nsesame")
    outcome = workshop("bridge", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert reason in outcome.err
    assert "sesame" not in outcome.err
