"""The elicitation gateway as somebody would run it: its README's example, public names, TLS in front."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import cache
from tests.variations.real_elicitation import SECRET, URL, World, real_world
from tests.variations.test_worker_real import by_fastmcp

__all__ = ["cache"]  # a fixture
pytestmark = pytest.mark.timeout(400)
ME, MINE = "GitHubTarget___getUserProfile", "get_user_repos"
ADD, FIND = "Tasks___addTask", "Tasks___findTasks"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with real_world(tmp_path_factory.mktemp("real")) as found:
        yield found


def test_the_readmes_example_is_set_up_by_the_same_file(world: World) -> None:
    planned = world.construct("--dry-run")
    assert planned.returncode == 0, planned.stderr
    done = world.construct()
    assert done.returncode == 0, done.stderr
    assert [line.split()[1:3] for line in done.stdout.splitlines()[:-1]] == [
        ["workload-identity", "mcp-workload"],
        ["oauth2-provider", "github"],
        ["oauth2-provider", "accounts"],
        ["gateway", "elicitation-gateway"],
        ["target", "GitHubTarget"],
        ["target", "Tasks"],
    ]
    output = json.loads((world.folder / "config.json").read_text())
    assert output["oauth_callback_url"] == f"{URL}/oauth/callback"
    assert output["gateway_url"] == f"{URL}/mcp"
    secrets = (world.folder / ".env").read_text().split()
    written = done.stdout + (world.folder / "config.json").read_text() + world.server.log
    assert not [line for line in secrets if line.partition("=")[2] in written]


def test_the_home_page_names_each_target_and_its_account(world: World) -> None:
    page = world.server.get("/", host="gateway.example.com").text
    for shown in (f"{URL}/mcp", "GitHubTarget", "api.github.com", "GitHub", "Tasks", "tasks.example.com"):
        assert shown in page
    assert "Example accounts" in page
    assert "accounts.example.com" in page


def test_our_agent_connects_two_accounts_and_uses_both_apis(world: World) -> None:
    task = {"list": "home", "body": {"title": "Water the plants", "tag": "green"}}
    me, mine, added, found = world.visit(
        *(ME, "{}", MINE, '{"per_page": 3}'),
        *(ADD, json.dumps(task), FIND, '{"list": "home", "tag": ["green"]}'),
    )
    assert json.loads(me["text"])["username"] == "learner"
    assert json.loads(mine["text"])["total_count"] == 4
    assert json.loads(added["text"]) == {"status": "success", **task["body"]}  # type: ignore[dict-item]
    assert json.loads(found["text"])["items"] == [task["body"]]
    assert {"github.com", "api.github.com", "accounts.example.com", "tasks.example.com"} <= set(
        world.edge.asked
    )
    assert SECRET not in world.server.log


def test_a_token_that_the_api_refuses_is_renewed_without_asking_the_person(world: World) -> None:
    refused = world.tasks.tokens[-1]
    world.tasks.refused.add(refused)
    before = world.server.log.count("/connect")
    (found,) = world.visit(FIND, '{"list": "home"}')
    assert json.loads(found["text"])["total_count"] == 1
    assert world.tasks.tokens[-2] == refused
    assert world.tasks.tokens[-1] not in world.tasks.refused
    assert world.server.log.count("/connect") == before


def test_health_and_metrics_answer_where_they_should(world: World) -> None:
    assert world.server.get("/health", host="10.0.0.7").status_code == 200
    samples = world.server.metrics(world.metrics_port)
    assert samples['workshop_logins_total{outcome="allowed"}'] == 2
    for name in ("GitHubTarget", "Tasks"):
        assert samples[f'workshop_upstream_seconds_count{{upstream="{name}"}}'] > 0


def test_fastmcps_client_uses_it(cache: Path, world: World, tmp_path: Path) -> None:
    """It does not know URL elicitation; our agent has connected the account before."""
    answer = by_fastmcp(cache, tmp_path / "client", world.edge.environment, f"{URL}/mcp", ME)
    assert all("learner" in text for text in answer["texts"])  # type: ignore[attr-defined]
    assert answer["renewed"]


def test_the_cleanup_removes_everything_and_the_tools_with_it(world: World) -> None:
    done = world.construct("--cleanup")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 6
    page = world.server.get("/", host="gateway.example.com").text
    assert "Nothing is set up yet" in page
    assert not (world.folder / "config.json").exists()
