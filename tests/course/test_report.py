"""What leaves in a report: everything that helps, nothing that opens a door."""

import json
import os
import platform
import zipfile
from pathlib import Path

import pytest

from tests.environment import run_forked
from workshop.core.instance import Instance, Record
from workshop.core.redaction import redacted
from workshop.course.report import configuration, write_report

NODE = platform.node()
SECRETS = (
    *("canary-of-the-oauth-app", "canary-of-the-model", "canary-generated-secret", "canary-access-token"),
    *("canary-of-a-variation", "canary-client-secret", "canary-code"),
)
WEAK_LOG = 'said {0} {{"client_secret": "{1}", "code": "{2}", "login": "learner"}}'


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path / "state"))
    (tmp_path / ".env").write_text(
        f"GITHUB_OAUTH_CLIENT_ID=abc\nGITHUB_OAUTH_CLIENT_SECRET={SECRETS[0]}\nOPENAI_API_KEY={SECRETS[1]}\n"
    )
    instance = Instance.load().save(Record("embedded", "practice", {"workshop": 9999}))
    files = {
        "secrets/hmac/key": SECRETS[2],
        "logins/a.json": json.dumps({"tokens": {"access_token": SECRETS[3]}}),
        "variations/worker/secrets/pat": SECRETS[4],
        "variations/worker/worker/log.txt": WEAK_LOG.format(*SECRETS[4:]),
        "workloads/gateway/log.txt": f"started; said {' '.join(SECRETS[:4])} and Bearer abc.def at {NODE}",
    }
    for name, text in files.items():
        path = instance.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return instance.directory


def contents(file: Path) -> dict[str, str]:
    with zipfile.ZipFile(file) as bundle:
        return {name: bundle.read(name).decode() for name in bundle.namelist()}


def test_a_report_has_what_helps_and_no_secret(state: Path, tmp_path: Path) -> None:
    write_report(tmp_path / "out.zip", [{"id": "python"}], None)
    told = contents(tmp_path / "out.zip")
    documents = {"versions.json", "doctor.json", "config.json", "status.json"}
    assert set(told) == documents | {"logs/gateway.txt", "logs/worker.txt"}
    assert '{"client_secret": "***", "code": "***", "login": "learner"}' in told["logs/worker.txt"]
    assert told["logs/gateway.txt"].startswith("started; said *** *** *** *** and Bearer *** at ")
    for text in told.values():
        for secret in (*SECRETS, NODE):
            assert secret not in text
    assert (tmp_path / "out.zip").stat().st_mode & 0o777 == 0o600


def test_a_report_is_written_of_a_damaged_state_too(state: Path, tmp_path: Path) -> None:
    (state / "instance.json").write_text("{")
    (tmp_path / ".env").write_text("=")
    write_report(tmp_path / "out.zip", [], None)
    told = contents(tmp_path / "out.zip")
    assert "Cannot use the state" in told["status.json"]
    assert "KEY=VALUE" in told["config.json"]


def test_anything_shaped_like_a_token_is_taken_out() -> None:
    part = "eyJhIjoxfQ"  # {"a":1}
    jwt = f"{part}.{part}.c2ln"
    assert redacted(f"token {jwt} end", ()) == "token *** end"
    assert redacted(f"{Path.home()}/x", ()) == "~/x"


def test_the_configuration_tells_every_source_and_no_secret(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_NODE_IMAGE", "mirror.invalid/kindest/node:v1.35.8")
    told = {item.name: (item.value, item.source) for item in configuration()}
    assert told["GITHUB_OAUTH_CLIENT_ID"] == ("abc", str(tmp_path / ".env"))
    assert told["GITHUB_OAUTH_CLIENT_SECRET"] == ("***", str(tmp_path / ".env"))
    assert told["WORKSHOP_MODEL"] == ("", "not set")
    assert told["state"] == (str(tmp_path / "state"), "WORKSHOP_HOME")
    assert told["ports"] == ("workshop=9999", "the last `workshop up`")
    assert told["node-image"] == ("mirror.invalid/kindest/node:v1.35.8", "WORKSHOP_NODE_IMAGE")
    assert told["operator"][1] == "cluster/versions.toml"
    assert not set(SECRETS) & {value for value, _ in told.values()}


def test_both_commands_answer_in_json(state: Path) -> None:
    for words in (["config"], ["report", "out.zip"]):
        home = os.environ["WORKSHOP_HOME"]
        done = run_forked("-m", "workshop", *words, "--json", folder=Path.cwd(), env={"WORKSHOP_HOME": home})
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert (told["command"], told["status"]) == (words[0], "success")
