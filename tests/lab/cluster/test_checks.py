"""Before the agent runs on a cluster: what is forwarded, and what the operator told the proxy to do."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.cluster.bench import site_in
from tests.lab.cluster.fake_operator import OperatedEmulator
from tests.lab.kube.fake_cluster import NAMESPACE, FakeCluster, running_cluster
from workshop.core.console import Console
from workshop.core.errors import WorkshopError
from workshop.course.lessons import find_lessons
from workshop.lab.base import Choices
from workshop.lab.cluster import checks as cluster_checks
from workshop.lab.cluster.checks import check_token_swap
from workshop.lab.cluster.endpoint_checks import CheckResult, ProxyContract
from workshop.lab.cluster.record import Cluster, ClusterRecord
from workshop.lab.cluster.render import RenderedPart, Renderer
from workshop.lab.tools.clusters import Access

SWAP = {"type": "upstreamswap", "parameters": {"config": {"provider_name": "github"}}}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with running_cluster(tmp_path, OperatedEmulator) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, cluster: FakeCluster) -> Cluster:
    record = ClusterRecord("kind", "w1", "workshop", NAMESPACE)
    return site_in(tmp_path / "home", record, at=Access(cluster.kubeconfig, "test"))


@pytest.fixture
def part(site: Cluster) -> RenderedPart:
    (deployment,) = [found for each in find_lessons() if each.number == 4 and (found := each.deployment())]
    (rendered,) = Renderer(site).render([deployment], Choices("practice"))
    return rendered


def check(part: RenderedPart, site: Cluster, monkeypatch: pytest.MonkeyPatch) -> str:
    """Check part 4 where all that goes over HTTP is well: `endpoints` has its own tests."""
    monkeypatch.setattr(cluster_checks, "before_login", _nothing_wrong)
    shown = io.StringIO()
    with Console(shown, shown).progress() as progress, progress.step("Check github-remote") as line:
        cluster_checks.check_before(part, "github-remote", site, _no_new_pods, line)
    return shown.getvalue()


async def _nothing_wrong(_contract: ProxyContract) -> list[CheckResult]:
    return []


def _no_new_pods() -> None:
    pytest.fail("new pods do not change what the operator told the proxy")


@pytest.mark.parametrize("middlewares", [[], [{"type": "auth"}]])
def test_a_proxy_that_was_not_told_to_swap_tokens_is_refused_before_anybody_logs_in(
    part: RenderedPart,
    site: Cluster,
    cluster: FakeCluster,
    monkeypatch: pytest.MonkeyPatch,
    middlewares: list[object],
) -> None:
    put(cluster, middlewares)
    with pytest.raises(WorkshopError, match="`github-remote` fails the check `token-swap`") as caught:
        check(part, site, monkeypatch)
    assert "#6681" in caught.value.hint


def test_a_proxy_that_swaps_tokens_passes(
    part: RenderedPart, site: Cluster, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(cluster, [{"type": "auth"}, SWAP])
    assert "Check github-remote · 1 checks passed" in check(part, site, monkeypatch)


def test_a_proxy_without_a_route_to_its_pods_yet_is_asked_again_and_keeps_its_pods(
    part: RenderedPart, site: Cluster, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(cluster, [SWAP])
    refusals = [WorkshopError("`x` fails the check `tools`", why="502: Bad Gateway") for _ in range(3)]

    def ask(*_: object) -> list[CheckResult]:
        if refusals:
            raise refusals.pop()
        return [CheckResult("tools", passed=True, found="all")]

    monkeypatch.setattr(cluster_checks, "_ask", ask)
    assert "Check github-remote · 2 checks passed" in check(part, site, monkeypatch)
    assert not refusals


def put(cluster: FakeCluster, middlewares: list[object]) -> None:
    metadata = {"name": "github-remote-runconfig", "namespace": NAMESPACE}
    data = {"runconfig.json": json.dumps({"middleware_configs": middlewares})}
    cluster.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


SWAP = {"type": "upstreamswap", "parameters": {"config": {"provider_name": "github"}}}
AUTH = {"type": "auth", "parameters": {"oidc_config": {}}}


def runconfig(*middlewares: Any) -> str:
    return json.dumps({"name": "github-remote", "middleware_configs": list(middlewares)})


@pytest.mark.parametrize("strategy", [None, "", "replace"])
def test_a_swap_for_the_upstream_passes(strategy: str | None) -> None:
    swap = {
        "type": "upstreamswap",
        "parameters": {"config": {"provider_name": "github", "header_strategy": strategy}},
    }
    assert check_token_swap(runconfig(AUTH, swap), "github").passed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"middleware_configs": null}',
        runconfig(),
        runconfig(AUTH),
        runconfig("upstreamswap"),
        runconfig({"type": "upstreamswap"}),
        runconfig({"type": "upstreamswap", "parameters": {"config": {"provider_name": "gitlab"}}}),
        runconfig(
            {
                "type": "upstreamswap",
                "parameters": {"config": {"provider_name": "github", "header_strategy": "custom"}},
            }
        ),
        runconfig(SWAP, {"type": "upstreamswap", "parameters": {}}),
    ],
)
def test_anything_else_names_the_known_defect(text: str) -> None:
    result = check_token_swap(text, "github")
    assert not result.passed
    assert "upstreamswap" in result.found
    assert "#6681" in result.hint
