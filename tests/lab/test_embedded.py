"""Manifests become processes; a changed manifest changes only the process it describes."""

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workshop.core.console import Console
from workshop.core.errors import CredentialsError, UsageError, WorkshopError
from workshop.core.paths import parts_dir
from workshop.core.ports import free_port
from workshop.course.lessons import find_lessons
from workshop.lab import process
from workshop.lab.base import Applied, Choices, Deployment
from workshop.lab.embedded import EmbeddedBackend

WORKLOADS = ("workshop", "github-remote", "practice-github")
ALL = {"workshop-0", *WORKLOADS}


class Site:
    """A copy of the parts that a test may change, and an embedded backend to apply them to."""

    def __init__(self, root: Path) -> None:
        self.parts = root / "parts"
        shutil.copytree(parts_dir(), self.parts)
        self.directory = root / "instance"
        self.backend = EmbeddedBackend(self.directory)
        self.choices = Choices("practice", ports={name: free_port() for name in WORKLOADS})

    def deployments(self) -> list[Deployment]:
        return [found for lesson in find_lessons(self.parts) if (found := lesson.deployment())]

    def apply(self, choices: Choices | None = None) -> Applied:
        with Console(io.StringIO(), io.StringIO()).progress() as progress:
            return self.backend.apply(self.deployments(), choices or self.choices, progress)

    def teardown(self) -> list[str]:
        with Console(io.StringIO(), io.StringIO()).progress() as progress:
            return list(self.backend.teardown(progress))

    def change(self, path: str, old: str, new: str) -> None:
        file = self.parts / path
        text = file.read_text("utf-8")
        assert old in text
        file.write_text(text.replace(old, new), "utf-8")

    def auth(self) -> dict[str, Any]:
        """The gateway's configuration of its authorization server."""
        config = json.loads((self.directory / "workloads/github-remote/config.json").read_text("utf-8"))
        auth: dict[str, Any] = config["auth"]
        return auth

    def alive(self) -> set[str]:
        states = process.read_states(self.directory / "workloads")
        return {name for name, state in states.items() if process.find(state)}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.teardown()


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Applied]]:
    made = Site(tmp_path_factory.mktemp("running"))
    try:
        yield made, made.apply()
    finally:
        made.teardown()


@pytest.fixture
def running(first: tuple[Site, Applied]) -> Iterator[Site]:
    """A site whose programs run; each test leaves all of them running, whatever it changed."""
    site, _ = first
    yield site
    assert site.alive() == ALL


def test_applying_the_same_manifests_again_starts_nothing(first: tuple[Site, Applied]) -> None:
    site, applied = first
    assert set(applied.started) == ALL
    assert set(applied.endpoints) == set(WORKLOADS)
    again = site.apply()
    assert list(again.started) == []
    assert set(again.kept) == set(applied.started)
    assert again.endpoints == applied.endpoints


@pytest.mark.parametrize(
    ("path", "old", "new", "restarted"),
    [
        ("03_toolhive/toolhive/tools.yaml", "as the operator", "as the owner", {"workshop"}),
        (
            "04_remote_oauth/toolhive/auth.yaml",
            "accessTokenLifespan: 1h",
            "accessTokenLifespan: 2h",
            {"github-remote"},
        ),
        ("02_local_mcp/data.json", "Plan day hikes", "Plan long hikes", {"workshop-0"}),
        ("03_toolhive/toolhive/workshop.yaml", "cpu: 50m", "cpu: 60m", set()),
    ],
)
def test_a_changed_file_restarts_only_what_it_describes(
    running: Site, path: str, old: str, new: str, restarted: set[str]
) -> None:
    running.change(path, old, new)
    assert set(running.apply().started) == restarted


def test_a_secret_manifest_reaches_the_server_and_only_it_restarts_on_change(running: Site) -> None:
    site = running
    secret = site.parts / "03_toolhive" / "toolhive" / "secret.yaml"
    secret.write_text("apiVersion: v1\nkind: Secret\nmetadata: {name: mine}\nstringData: {level: DEBUG}\n")
    site.change(
        "03_toolhive/toolhive/workshop.yaml",
        "  proxyPort: 8080",
        "  secrets: [{name: mine, key: level, targetEnvName: LOG_LEVEL}]\n  proxyPort: 8080",
    )
    site.apply()
    server = process.find(process.read_states(site.directory / "workloads")["workshop-0"])
    assert server is not None
    assert server.environ()["LOG_LEVEL"] == "DEBUG"
    site.change("03_toolhive/toolhive/secret.yaml", "DEBUG", "INFO")
    assert set(site.apply().started) == {"workshop-0"}


def test_a_broken_manifest_changes_nothing_that_runs(running: Site) -> None:
    manifest = "04_remote_oauth/toolhive/github-remote.yaml"
    running.change(manifest, "proxyPort: 8080", "proxyPort: 8081")
    with pytest.raises(UsageError, match="is not the port of the issuer"):
        running.apply()
    assert running.alive() == ALL
    running.change(manifest, "proxyPort: 8081", "proxyPort: 8080")


def test_a_failed_start_stops_what_this_apply_started_and_nothing_else(running: Site) -> None:
    program, broken = "def main() -> None:\n", "def main() -> None:\n    sys.exit('broken')\n"
    running.change("02_local_mcp/server.py", program, broken)
    with pytest.raises(WorkshopError, match="`workshop-0` exited while it was starting"):
        running.apply()
    assert running.alive() == {"workshop", "github-remote", "practice-github"}
    running.change("02_local_mcp/server.py", broken, program)
    assert "workshop-0" in running.apply().started


def test_two_workloads_cannot_have_one_port(site: Site) -> None:
    port = free_port()
    choices = Choices("practice", ports=dict.fromkeys(WORKLOADS, port))
    with pytest.raises(UsageError, match=f"both use port {port}"):
        site.apply(choices)
    assert site.alive() == set()


def test_a_workload_cannot_take_the_port_of_another_that_runs(running: Site) -> None:
    taken = running.choices.ports["workshop"]
    choices = Choices("practice", ports={**running.choices.ports, "github-remote": taken})
    with pytest.raises(UsageError, match=f"both use port {taken}"):
        running.apply(choices)
    assert "workshop" in running.alive()


def test_the_manifest_decides_about_documents_scopes_and_registrations(running: Site) -> None:
    auth = running.auth()
    assert (auth["cimd"], auth["baseline_scopes"]) == (None, [])
    settings = (
        "storage: {type: memory, maxDCRClients: 50}",
        "cimd: {enabled: false, cacheFallbackTtl: 1m, cacheMaxSize: 9}",
        "baselineClientScopes: [openid, offline_access]",
    )
    running.change("04_remote_oauth/toolhive/auth.yaml", "storage: {type: memory}", "\n    ".join(settings))
    assert set(running.apply().started) == {"github-remote"}
    auth = running.auth()
    assert auth["cimd"] == {"enabled": False, "cache_seconds": 60, "cache_size": 9}
    assert auth["baseline_scopes"] == ["openid", "offline_access"]
    assert auth["registrations"] == {"max_tokens": 60, "refill_seconds": 60, "max_clients": 50}


def test_github_without_a_secret_is_refused(site: Site) -> None:
    with pytest.raises(CredentialsError, match="GITHUB_OAUTH_CLIENT_SECRET"):
        site.apply(Choices("github", ports=site.choices.ports))


def test_a_server_gives_way_when_its_port_is_asked_for_by_name(running: Site) -> None:
    wanted = process.read_states(running.directory / "workloads")["workshop-0"].port
    running.choices = Choices("practice", ports={**running.choices.ports, "practice-github": wanted})
    running.apply()
    states = process.read_states(running.directory / "workloads")
    assert states["practice-github"].port == wanted
    assert states["workshop-0"].port != wanted
    assert running.alive() == ALL


def test_a_workload_that_is_no_longer_wanted_is_stopped_when_pruning(running: Site) -> None:
    part = running.parts / "04_remote_oauth"
    away = part.rename(running.parts.parent / "away")
    running.apply()
    assert "github-remote" in running.alive(), "one part alone does not decide about the others"
    with Console(io.StringIO(), io.StringIO()).progress() as progress:
        running.backend.apply(running.deployments(), running.choices, progress, prune=True)
    assert running.alive() == {"workshop", "workshop-0"}
    away.rename(part)
    assert set(running.apply().started) == {"github-remote", "practice-github"}


def test_teardown_stops_everything_and_can_be_repeated(first: tuple[Site, Applied]) -> None:
    site, _ = first  # the last test here: nothing runs afterwards
    assert len(site.teardown()) == 4
    assert not site.directory.exists()
    assert site.teardown() == []
