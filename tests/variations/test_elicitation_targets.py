"""Several targets, each with its API, its operations and its account, from one configuration file."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from anyio import to_thread

from tests.variations.construction import CONSTRUCT, NAMES, TOLD, Setup, begun, gateway, killed, setup
from tests.variations.elicitation import PROFILE
from tests.variations.real_elicitation import block
from workshop.auth.openapi_tools import read_api
from workshop.core.ports import free_port

__all__ = ["gateway", "setup"]  # fixtures


TASKS = {
    "openapi": "3.1.0",
    "servers": [{"url": "https://tasks.example"}],
    "paths": {
        "/tasks": {
            "get": {"operationId": "findTasks"},
            "post": {
                "operationId": "addTask",
                "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
            },
        }
    },
}


async def test_several_targets_each_have_their_tools(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "tasks.json").write_text(json.dumps(TASKS))
    dated = {**TASKS, "info": {"version": dt.date(2026, 11, 29)}, "x-statuses": {200: "found"}}
    (tmp_path / "tasks.yaml").write_text(yaml.safe_dump(dated))
    setup.config["targets"] |= {
        "Tasks": {"description": "tasks.json"},
        "Reading": {
            "description": "tasks.yaml",
            "operations": ["findTasks"],
            "aliases": {"tasks": "findTasks"},
        },
    }
    setup.write()
    assert len(setup.done()) == len(NAMES) + 3
    tools = set(await setup.tools())
    assert {"Tasks___findTasks", "Tasks___addTask", "Reading___findTasks", "tasks", PROFILE} <= tools
    assert "Reading___addTask" not in tools
    told = json.loads(setup.output.read_text())
    assert told.keys() == TOLD | {"target_id_Tasks", "target_id_Reading"}
    assert told["target_name"] == "GitHubTarget"
    lines = setup.done("--cleanup")
    assert [line.split()[2] for line in lines[:3]] == ["Reading", "Tasks", "GitHubTarget"]
    assert await setup.tools() == []


@pytest.mark.parametrize("number", range(1, 7))
async def test_of_several_targets_a_kill_at_any_step_leaves_none_behind(
    setup: Setup, tmp_path: Path, number: int
) -> None:
    (tmp_path / "tasks.json").write_text(json.dumps(TASKS))
    setup.config["targets"] |= {name: {"description": "tasks.json"} for name in ("Tasks", "Others")}
    setup.write()
    killed(setup, number, passes_it_on=True)
    assert len(begun(setup)) == number
    del setup.config["targets"]["Tasks"]  # also what the configuration does not name any more
    setup.write()
    assert len(setup.done("--cleanup")) == number
    assert await setup.tools() == []


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ({"description": "nowhere.json"}, "No such file or directory"),
        ({"description": "broken.json"}, "broken.json` is not JSON"),
        ({"description": "broken.yaml"}, "broken.yaml` is not YAML"),
        ({"description": "tasks.json", "operations": ["noSuchTask"]}, "There is no operation `noSuchTask`"),
        ({"description": "tasks.json", "aliases": {"tasks": "noSuchTask"}}, "There is no operation"),
        (
            {"description": "tasks.json", "aliases": {"get_user_profile": "findTasks"}},
            "has the alias 'get_user_profile' twice: in GitHubTarget and in Tasks",
        ),
        (
            {"description": "tasks.json", "aliases": {PROFILE: "findTasks"}},
            "cannot have the alias 'GitHubTarget___getUserProfile': ___ follows a target's name",
        ),
        ({"description": "tasks.json", "server": "http://tasks.example"}, "must be https"),
        ({"description": "upload.json"}, "The OpenAPI description cannot be used at `POST /upload`"),
        ({"description": "tasks.json", "provider": "nobody"}, "Its provider is not there"),
        ({"description": "tasks.json", "colour": "red"}, "construct.json` is unknown"),
        ({}, "Error: `targets.Tasks.description` in"),
    ],
)
async def test_a_target_that_cannot_work_is_named(
    setup: Setup, tmp_path: Path, target: dict[str, Any], what: str
) -> None:
    (tmp_path / "tasks.json").write_text(json.dumps(TASKS))
    form = {"operationId": "upload", "requestBody": {"content": {"multipart/form-data": {}}}}
    (tmp_path / "upload.json").write_text(json.dumps({**TASKS, "paths": {"/upload": {"post": form}}}))
    for name in ("broken.json", "broken.yaml"):
        (tmp_path / name).write_text("{'openapi: 3")
    setup.config["targets"]["Tasks"] = target
    setup.write()
    code, _, complained = setup.run()
    assert code in (1, 2)
    assert what in complained
    del setup.config["targets"]["Tasks"]
    setup.write()
    setup.done("--cleanup")


async def test_an_alias_of_a_target_of_another_file_is_refused(setup: Setup, tmp_path: Path) -> None:
    setup.done()
    (tmp_path / "tasks.json").write_text(json.dumps(TASKS))
    tasks = {"description": "tasks.json", "aliases": {"get_user_profile": "findTasks"}}
    setup.config["targets"] = {"Tasks": tasks}
    setup.write()
    code, _, complained = setup.run()
    assert code == 1
    assert "The gateway refused the target Tasks" in complained
    assert "The target GitHubTarget already has the alias `get_user_profile`" in complained
    setup.done("--cleanup")
    assert len(setup.done()) == len(NAMES) + 1, "the alias is free again"
    assert "get_user_profile" in await setup.tools()
    setup.done("--cleanup")


async def test_an_oidc_provider_is_known_by_its_discovery_document(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "tasks.json").write_text(json.dumps(TASKS))
    issuer = setup.gateway.issuer
    setup.config["targets"]["Tasks"] = {"description": "tasks.json", "provider": "accounts"}
    setup.config["providers"]["accounts"] = {"kind": "oidc", "url": f"{issuer}/", "client_id": "tasks"}
    setup.write()
    code, _, complained = await to_thread.run_sync(setup.run)
    assert code == 2
    assert f"`{issuer}/` is not an issuer" in complained
    assert issuer in complained.partition("Hint")[0]
    setup.config["providers"]["accounts"]["url"] = f"http://localhost:{free_port()}"
    setup.write()
    assert (await to_thread.run_sync(setup.run))[0] == 5
    setup.config["providers"]["accounts"]["url"] = issuer
    setup.write()
    await to_thread.run_sync(setup.done)
    async with setup.gateway.browser() as browser:
        page = (await browser.http.get(setup.gateway.url)).text
    assert issuer.removeprefix("http://") in page
    setup.done("--cleanup")


def test_the_readmes_example_is_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "gateway.toml").write_text(block("toml"))
    (tmp_path / "tasks.openapi.json").write_text(block("json"))
    (tmp_path / ".env").write_text("CONTROL_SECRET=a-secret-of-the-test\n")
    assert CONSTRUCT.main(["--config", str(tmp_path / "gateway.toml"), "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert "would set up target GitHubTarget" in planned
    assert "would set up target Tasks" in planned
    assert set(read_api(json.loads(block("json"))).operations) == {"findTasks", "addTask"}
