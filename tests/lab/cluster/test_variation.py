"""The variation prefix-gateway on a cluster: ToolHive's gateway is applied, forwarded, shown and removed."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.lab.cluster.bench import WORKLOADS, Bench, running_bench, site_in
from tests.lab.cluster.test_kubernetes import NAMESPACE, Shared, running_shared
from tests.lab.kube.fake_cluster import TOOLHIVE
from tests.lab.kube.refused import Refusal
from workshop.core.console import Console
from workshop.core.errors import UsageError
from workshop.core.ports import bind_loopback, free_port
from workshop.core.settings import Settings
from workshop.course import environment
from workshop.course.connect import connection
from workshop.course.lessons import find_variation
from workshop.course.logs import chosen
from workshop.course.variation_run import Running, VariationPrograms
from workshop.lab.base import Choices, Program
from workshop.lab.cluster.record import VARIATION_LABEL, ClusterRecord, owner_labels
from workshop.lab.cluster.render import RenderedPart, Renderer
from workshop.lab.kube.connection import ForbiddenError
from workshop.lab.pins import pinned
from workshop.lab.tools.run import Runner

NAME, GITHUB, PORT = "prefix-gateway", "prefix-gateway-github", 18483
APPLIED = {
    ("VirtualMCPServer", NAME),
    ("MCPServer", "local"),
    ("MCPServerEntry", "github"),
    ("MCPExternalAuthConfig", "prefix-gateway-github"),
    ("MCPOIDCConfig", "prefix-gateway-oidc"),
    ("MCPGroup", NAME),
    ("Deployment", GITHUB),
    ("Service", GITHUB),
    *(("Secret", name) for name in (GITHUB, "prefix-gateway-hmac", "prefix-gateway-signing-key")),
    ("Secret", "prefix-gateway-oauth-client"),
}


def deploy(bench: Bench) -> Running:
    with Console(bench.shown, bench.shown).progress() as progress:
        return environment.deploy(find_variation(NAME), progress, Settings(), Runner())


def stop(bench: Bench) -> list[str]:
    with Console(bench.shown, bench.shown).progress() as progress:
        return list(environment.stop_variations(progress, Runner()))


def there(bench: Bench, namespace: str) -> set[tuple[str, str]]:
    """What of it is in the cluster, with the labels of the instance and of the variation."""
    found = {(kind, name): bench.cluster.get(kind, name, namespace) for kind, name in APPLIED}
    labels = {key: made["metadata"]["labels"] for key, made in found.items() if made}
    assert all(each[VARIATION_LABEL] == NAME for each in labels.values())
    assert all(owner_labels(each["workshop/instance"]).items() <= each.items() for each in labels.values())
    return set(labels)


def refuse_gateways(bench: Bench) -> None:
    """From now on the account may not list any kind of a gateway."""
    here = f"GET /apis/{TOOLHIVE}/namespaces/{NAMESPACE}"
    for kinds in ("virtualmcpservers", "mcpserverentries", "mcpgroups"):
        told = f'{kinds}.toolhive.stacklok.dev is forbidden: User "seat" cannot list resource "{kinds}"'
        bench.cluster.api.refusals.append(Refusal(f"{here}/{kinds}", 403, told))


def rendered(folder: Path, port: int) -> RenderedPart:
    deployment = find_variation(NAME).deployment()
    assert deployment
    choices = Choices("practice", ports={NAME: port, GITHUB: 18132})
    site = site_in(folder, ClusterRecord("kubernetes", "w1", "test", NAMESPACE))
    (part,) = Renderer(site).render([deployment], choices)
    return part


def test_the_manifests_get_the_practice_github_of_the_variation(tmp_path: Path) -> None:
    part = rendered(tmp_path, 4483)
    (gateway,), (entry,) = part.resources.of("VirtualMCPServer"), part.resources.of("MCPServerEntry")
    upstream = gateway.mapping("spec.authServerConfig.upstreamProviders.0.oauth2Config")
    assert entry.find("spec.remoteUrl") == f"http://{GITHUB}:18132/mcp/"
    assert upstream["authorizationEndpoint"] == "http://localhost:18132/login/oauth/authorize"
    assert upstream["tokenEndpoint"] == f"http://{GITHUB}:18132/login/oauth/access_token"
    assert upstream["insecureAllowHTTP"] is upstream["allowPrivateIPs"] is True
    (container,) = gateway.find("spec.podTemplateSpec.spec.containers")
    assert container["name"] == "vmcp"
    assert {"name": "INSECURE_DISABLE_URL_VALIDATION", "value": "true"} in container["env"]
    kinds = [item.kind for item in part.objects]
    assert kinds[0] == "MCPGroup"
    assert kinds[-1] == "VirtualMCPServer"
    assert {each.name: each.url for each in part.endpoints} == {
        NAME: "http://localhost:4483/mcp",
        GITHUB: "http://localhost:18132",
    }


def test_another_port_is_in_every_address_but_not_in_the_pods(tmp_path: Path) -> None:
    part = rendered(tmp_path, PORT)
    (gateway,), (oidc,) = part.resources.of("VirtualMCPServer"), part.resources.of("MCPOIDCConfig")
    origin = f"http://localhost:{PORT}"
    assert gateway.find("spec.authServerConfig.issuer") == oidc.find("spec.inline.issuer") == origin
    assert gateway.find("spec.incomingAuth.oidcConfigRef.audience") == f"{origin}/mcp"
    redirect = gateway.find("spec.authServerConfig.upstreamProviders.0.oauth2Config.redirectUri")
    assert redirect == f"{origin}/oauth/callback"
    assert oidc.find("spec.inline.jwksUrl") == "http://localhost:4483/.well-known/jwks.json"
    assert [(each.port, each.remote_port) for each in part.endpoints if each.name == NAME] == [(PORT, 4483)]


def test_a_part_may_not_have_the_kinds_of_a_gateway(tmp_path: Path) -> None:
    from workshop.toolhive.manifests import load

    folder = find_variation(NAME).directory / "toolhive"
    with pytest.raises(UsageError, match="Unknown kind"):
        load(folder)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    with running_shared(tmp_path_factory.mktemp("shared")) as made:
        made.up()
        yield made


def test_on_somebodys_cluster_it_comes_stays_over_an_up_and_goes_alone(shared: Shared) -> None:
    running = deploy(shared)
    assert set(running.started) == {NAME, GITHUB}
    assert running.headers("learner") == {}, "the gateway has the credential itself"
    assert running.agent_endpoints().urls["github-remote"] == running.url
    assert there(shared, NAMESPACE) == APPLIED
    assert connection("claude-code", NAME).variables == {}
    status = environment.status()
    assert {each.name: each.state for each in status.variations} == {NAME: "running", GITHUB: "running"}
    assert {each.detail for each in status.variations} == {"forward"}
    states = {each.name: each.state for each in status.workloads}
    assert states["VirtualMCPServer/prefix-gateway"] == states["MCPServer/local"] == "running"
    assert states["VirtualMCPServer/prefix-gateway"] == "running"
    assert {"prefix-gateway-1", "local-0"} <= {log.name for log in environment.logs()}
    assert [log.name for log in chosen(environment.logs(), NAME)] == [f"{NAME}-1", f"forward/{NAME}"]
    assert deploy(shared).started == []

    shared.up()
    assert there(shared, NAMESPACE) == APPLIED
    assert shared.cluster.kube.delete(TOOLHIVE, "MCPServerEntry", "github", NAMESPACE)
    assert NAME not in shared.alive()
    stopped = stop(shared)
    assert {NAME, GITHUB, f"VirtualMCPServer/{NAME}", f"MCPGroup/{NAME}", f"Secret/{GITHUB}"} <= set(stopped)
    assert there(shared, NAMESPACE) == set()
    assert shared.cluster.get("MCPRemoteProxy", "github-remote", NAMESPACE)
    assert shared.cluster.get("Secret", "github-oauth-client", NAMESPACE)
    assert shared.alive() == set(WORKLOADS)
    assert f"variation/{NAME}" not in shared.made()
    assert stop(shared) == []


def test_a_port_that_is_taken_after_its_choice_is_replaced(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, wanted = VariationPrograms.ports, free_port()

    def too_early(self: VariationPrograms, programs: Sequence[Program]) -> dict[str, int]:
        monkeypatch.setattr(VariationPrograms, "ports", chosen)
        return {**chosen(self, programs), NAME: wanted}

    shared.up()
    monkeypatch.setattr(VariationPrograms, "ports", too_early)
    with contextlib.ExitStack() as taken:
        for sock in bind_loopback(wanted):
            taken.enter_context(sock)
        running = deploy(shared)
    assert str(wanted) not in running.url
    assert set(running.started) == {NAME, GITHUB}
    stop(shared)


def test_what_somebody_else_made_under_its_name_stays(shared: Shared) -> None:
    theirs = {"apiVersion": TOOLHIVE, "kind": "VirtualMCPServer", "spec": {"replicas": 3}}
    shared.cluster.put({**theirs, "metadata": {"name": NAME, "namespace": NAMESPACE}})
    with pytest.raises(UsageError, match="was not created by this instance"):
        deploy(shared)
    stop(shared)
    found = shared.cluster.get("VirtualMCPServer", NAME, NAMESPACE)
    assert found
    assert found["spec"] == theirs["spec"]
    shared.cluster.drop("VirtualMCPServer", NAME, NAMESPACE)


def test_a_seat_that_may_not_see_gateways_is_told_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    with running_shared(tmp_path) as seat:
        seat.up()
        refuse_gateways(seat)
        with pytest.raises(ForbiddenError, match="may not list virtualmcpservers"):
            deploy(seat)
        assert there(seat, NAMESPACE) == set()
        assert stop(seat) == []
        states = {each.name: each.state for each in environment.status().workloads}
        assert states["MCPServer/workshop"] == states["MCPRemoteProxy/github-remote"] == "running"
        assert {"MCPServer/workshop", "MCPRemoteProxy/github-remote"} <= set(seat.teardown())
        assert seat.cluster.get("MCPServer", "workshop", NAMESPACE) is None


GATEWAYS = {("VirtualMCPServer", NAME), ("MCPServerEntry", "github"), ("MCPGroup", NAME)}


def test_a_seat_that_may_not_see_its_gateway_any_more_loses_sight_of_nothing_else(tmp_path: Path) -> None:
    with running_shared(tmp_path) as seat:
        seat.cluster.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        seat.up()
        deploy(seat)
        refuse_gateways(seat)
        rows = {each.name: each for each in environment.status().workloads}
        assert rows["gateways"].state == "not visible"
        assert "may not list virtualmcpservers" in rows["gateways"].detail
        assert rows["MCPServer/local"].state == rows["MCPServer/workshop"].state == "running"
        assert "local-0" in {log.name for log in environment.logs()}
        with pytest.raises(ForbiddenError, match="may not list virtualmcpservers") as caught:
            stop(seat)
        assert f"kubectl --namespace={NAMESPACE} delete virtualmcpserver,mcpserverentry," in caught.value.hint
        assert there(seat, NAMESPACE) == GATEWAYS, "the rest of the variation is gone"
        assert f"variation/{NAME}" in seat.made()
        told = seat.teardown()
        assert {"MCPServer/workshop", "MCPRemoteProxy/github-remote"} <= set(told)
        assert "The gateway of a variation may be left. The cluster's owner" in seat.shown.getvalue()
        assert seat.cluster.get("MCPServer", "workshop", NAMESPACE) is None
        assert not seat.directory.exists()


def test_teardown_removes_it_with_everything_else(shared: Shared) -> None:
    deploy(shared)
    told = shared.teardown()
    assert {NAME, GITHUB, f"VirtualMCPServer/{NAME}", "MCPServerEntry/github", f"MCPGroup/{NAME}"} <= set(
        told
    )
    assert there(shared, NAMESPACE) == set()


def test_on_kind_the_gateways_image_is_loaded_when_it_is_needed(tmp_path: Path) -> None:
    with running_bench(tmp_path) as bench:
        bench.up()
        assert pinned().vmcp not in bench.machine.held("node")
        deploy(bench)
        assert pinned().vmcp in bench.machine.held("node")
        assert there(bench, "toolhive-system") == APPLIED
        bench.teardown()
        assert bench.machine.held("clusters") == []
