"""Set up and taken back: ended at any moment, run twice, run in a changed world, and always cleaned."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.variations.construction import NAMES, ORDER, TOLD, Setup, begun, gateway, killed, setup
from tests.variations.elicitation import PROFILE, told
from workshop.core.ports import free_port

__all__ = ["gateway", "setup"]  # fixtures


async def test_without_it_there_are_no_tools_and_with_it_there_are(setup: Setup) -> None:
    assert await setup.tools() == []
    lines = setup.done()
    assert [line.split()[:2] for line in lines[:-1]] == [["✓", kind] for kind in ORDER]
    assert PROFILE in await setup.tools()
    assert json.loads(setup.output.read_text()).keys() == TOLD
    for file in (setup.state, setup.output):
        assert file.stat().st_mode & 0o777 == 0o600
    secret = setup.gateway.running.secret("client-secret").decode()
    assert secret not in setup.state.read_text() + setup.output.read_text() + "".join(lines)


async def test_its_files_are_beside_the_configuration(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / "config.json", tmp_path / "construct-state.json"]
    for key in ("state", "output"):
        del setup.config[key]
    setup.write()
    monkeypatch.chdir(setup.gateway.running.directory)
    setup.done()
    assert [file.is_file() for file in files] == [True, True]
    setup.done("--cleanup")
    assert [file.exists() for file in files] == [False, False]


async def test_what_exists_already_is_no_error_and_stays(setup: Setup) -> None:
    setup.done()
    before = setup.output.read_text()
    lines = setup.done()
    assert lines[:-1] == [f"· {kind} {name} already exists" for kind, name in NAMES]
    assert setup.output.read_text() == before


async def test_the_last_goes_first_and_nothing_is_left(setup: Setup) -> None:
    setup.done()
    lines = setup.done("--cleanup")
    assert [line.split()[:2] for line in lines] == [["✓", kind] for kind in reversed(ORDER)]
    assert await setup.tools() == []
    assert not setup.state.exists()
    assert not setup.output.exists()
    assert setup.done("--cleanup") == ["· nothing was set up"]


@pytest.mark.parametrize("passes_it_on", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
async def test_ended_at_any_step_it_can_be_cleaned(setup: Setup, number: int, *, passes_it_on: bool) -> None:
    killed(setup, number, passes_it_on=passes_it_on)
    assert begun(setup) == ORDER[:number]
    assert not setup.output.exists()
    lines = setup.done("--cleanup")
    assert lines[0].startswith("✓" if passes_it_on else "·")
    assert len(lines) == number
    for kind, name in NAMES:
        assert setup.control("DELETE", f"{kind}/{name}").json() == {"outcome": "absent"}


@pytest.mark.parametrize("passes_it_on", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
async def test_ended_while_it_cleans_it_goes_on_where_it_was(
    setup: Setup, number: int, *, passes_it_on: bool
) -> None:
    setup.done()
    killed(setup, number, "--cleanup", passes_it_on=passes_it_on)
    assert begun(setup) == ORDER[: 5 - number]
    setup.done("--cleanup")
    assert not setup.state.exists()
    assert await setup.tools() == []


async def test_ended_half_way_it_can_be_finished(setup: Setup) -> None:
    killed(setup, 3, passes_it_on=True)
    lines = setup.done()
    assert [line[0] for line in lines] == ["·", "·", "·", "✓", "✓"]
    assert PROFILE in await setup.tools()


async def test_a_lost_state_is_found_again(setup: Setup) -> None:
    setup.done()
    setup.state.unlink()
    assert all("already exists" in line for line in setup.done()[:-1])
    setup.done("--cleanup")
    assert await setup.tools() == []


async def test_what_changed_is_brought_up_to_date(setup: Setup) -> None:
    setup.done()
    setup.write(provider={"client_id": "another-oauth-app"})
    lines = setup.done()
    assert [line[0] for line in lines] == ["·", "✓", "·", "·", "✓"]


async def test_the_grants_go_with_the_target(setup: Setup) -> None:
    setup.done()
    async with setup.gateway.browser() as browser, setup.gateway.asking() as asking:
        asking.then = browser.open
        assert told(await asking.client.call_tool(PROFILE))["status"] == "success"
        setup.done("--cleanup")
        setup.done()
        await asking.ask()


async def test_a_grant_is_not_sent_to_another_api(setup: Setup) -> None:
    setup.done()
    async with setup.gateway.browser() as browser, setup.gateway.asking() as asking:
        asking.then = browser.open
        assert told(await asking.client.call_tool(PROFILE))["status"] == "success"
        setup.write(github=f"http://localhost:{free_port()}")
        setup.done()
        await asking.ask()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("workload-identity/other", {}, 400),
        ("workload-identity/other", {"allowed_return_urls": "all"}, 400),
        ("workload-identity/other", {"allowed_return_urls": [], "more": 1}, 400),
        ("oauth2-provider/other", {"callback_url": "http://evil.example/"}, 400),
        ("gateway/other", {"issuer": "http://evil.example", "audience": "x"}, 400),
        (
            "target/other",
            {"gateway": "x", "provider": "x", "identity": "x", "scopes": [], "description": {}},
            409,
        ),
        ("target/other", [], 400),
        ("target/other", None, 400),
        ("role/other", {}, 404),
    ],
)
async def test_the_control_plane_takes_nothing_that_cannot_work(
    setup: Setup, path: str, body: object, status: int
) -> None:
    assert setup.control("PUT", path, body).status_code == status


async def test_what_is_needed_stays_and_what_is_not_allowed_is_refused(setup: Setup) -> None:
    setup.done()
    assert setup.control("DELETE", "oauth2-provider/github-provider").status_code == 409
    nowhere = {"allowed_return_urls": ["http://localhost:1/elsewhere"]}
    assert setup.control("PUT", "workload-identity/mcp-workload", nowhere).json()["outcome"] == "updated"
    assert await setup.tools() == []  # the target's callback may not be returned to any more


@pytest.mark.parametrize(
    ("changes", "code", "what"),
    [
        ({"control": f"http://localhost:{free_port()}"}, 5, "does not answer"),
        ({"issuer": "http://localhost:1"}, 1, "refused the gateway"),
        ({"provider": {"client_secret_file": "/nowhere"}}, 1, "refused the oauth2-provider"),
        ({"url": ""}, 1, "refused the"),
        ({"control_file": __file__}, 2, "must be one line of printable ASCII"),
        ({"control_file": "/nowhere/at/all"}, 2, "/nowhere/at/all: No such file or directory"),
    ],
)
async def test_what_goes_wrong_is_reported_and_can_be_cleaned(
    setup: Setup, changes: dict[str, Any], code: int, what: str
) -> None:
    setup.write(**changes)
    returned, _, complained = setup.run()
    assert returned == code
    assert complained.startswith("Error: ")
    assert what in complained
    setup.write()
    setup.done("--cleanup")


async def test_another_control_secret_is_refused(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "another").write_text("not-the-gateways-secret\n")
    setup.write(control_file="another")
    code, _, complained = setup.run()
    assert (code, "The control secret is needed" in complained) == (1, True)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"state": 1}'])
async def test_a_configuration_that_is_none_is_reported(setup: Setup, text: str) -> None:
    setup.path.write_text(text)
    code, _, complained = setup.run()
    assert (code, complained[:7]) == (2, "Error: ")


@pytest.mark.parametrize("text", ["", "[]", '{"begun": [1]}'])
async def test_a_state_that_is_none_is_reported(setup: Setup, text: str) -> None:
    setup.state.write_text(text)
    code, _, complained = setup.run("--cleanup")
    assert (code, complained[:7]) == (2, "Error: ")


async def test_a_dry_run_shows_each_step_and_changes_nothing(setup: Setup) -> None:
    assert setup.done("--dry-run", "--cleanup") == ["· nothing was set up"]
    planned = setup.done("--dry-run")
    assert planned == [f"· would set up {kind} {name}" for kind, name in NAMES] + [
        "· would write config.json"
    ]
    assert not setup.state.exists()
    assert not setup.output.exists()
    assert await setup.tools() == []
    setup.done()
    before = setup.state.read_text()
    assert all("again, because it was begun before" in line for line in setup.done("--dry-run")[:-1])
    removed = setup.done("--dry-run", "--cleanup")
    assert removed == [f"· would delete {kind} {name}" for kind, name in reversed(NAMES)]
    assert setup.state.read_text() == before
    assert PROFILE in await setup.tools()
