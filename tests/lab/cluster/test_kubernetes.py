"""The Kubernetes backend on somebody's cluster: only what carries our label is made, changed or removed."""

import errno
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.cluster.bench import IMAGES, WORKLOADS, Bench, running_bench
from tests.lab.cluster.fake_operator import install_operator
from tests.lab.kube.fake_cluster import TOOLHIVE, FakeCluster
from workshop.core.console import Step
from workshop.core.errors import CredentialsError, PreflightError, UsageError, WorkshopError
from workshop.course import environment
from workshop.course.environment import UpReport
from workshop.course.logs import chosen
from workshop.lab.cluster import checks as cluster_checks
from workshop.lab.cluster import record
from workshop.lab.cluster.operator import Operator
from workshop.lab.cluster.readiness import OPERATOR
from workshop.lab.cluster.record import ClusterFile
from workshop.lab.pins import pinned

NAMESPACE = "team-a"
FOREIGN = {
    "apiVersion": "toolhive.stacklok.dev/v1beta1",
    "kind": "MCPServer",
    "metadata": {"name": "workshop", "namespace": NAMESPACE, "labels": {"owner": "somebody"}},
    "spec": {"image": "their/own:1"},
}


class Shared(Bench):
    """A cluster that was there before, with the operator in it."""

    def up(self, **changes: object) -> UpReport:
        given = {"backend": "kubernetes", "context": "lab", "namespace": NAMESPACE, **changes}
        return super().up(**given)


@contextmanager
def running_shared(folder: Path) -> Iterator[Shared]:
    with running_bench(folder, young=False) as bench, pytest.MonkeyPatch.context() as patch:
        seat = Shared(folder / "state", bench.machine, bench.cluster)
        patch.setattr(cluster_checks, "_ask", seat.ask)
        yield seat


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    with running_shared(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    with running_shared(tmp_path_factory.mktemp("shared")) as made:
        made.up()
        yield made


@pytest.fixture
def up(running: Shared) -> Iterator[Shared]:
    """An instance that is up, for the tests that leave it as it is."""
    yield running
    assert running.alive() == set(WORKLOADS)


def test_up_brings_the_parts_into_the_namespace_and_uses_the_operator_that_is_there(shared: Shared) -> None:
    report = shared.up()
    assert set(report.started) == {"workshop", "github-remote", "practice-github"}
    server = shared.cluster.get("MCPServer", "workshop", NAMESPACE)
    assert server
    assert server["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "workshop"
    assert shared.machine.calls("helm", "upgrade") == []
    assert shared.machine.calls("kind") == []
    assert shared.machine.calls("docker") == []
    told = shared.teardown()
    assert f"namespace/{NAMESPACE}" in told
    assert "operator" not in told
    assert shared.machine.calls("helm", "uninstall") == []
    assert shared.cluster.get("MCPServer", "workshop", NAMESPACE) is None
    assert shared.cluster.get("Deployment", "toolhive-operator", "toolhive-system")


def test_an_operator_of_another_version_is_used_and_reported(shared: Shared) -> None:
    operator = shared.cluster.get("Deployment", "toolhive-operator", "toolhive-system")
    assert operator
    image = "registry.example/toolhive/operator:v0.44.0"
    operator["spec"]["template"]["spec"] = {"containers": [{"name": "manager", "image": image}]}
    shared.cluster.put(operator)
    shared.up()
    told = f"ToolHive 0.44.0 runs, but this workshop is made for {pinned().toolhive_version}"
    assert told in shared.shown.getvalue()
    (row,) = [item for item in environment.status().workloads if item.name == "operator"]
    assert row.state == "running"
    assert told in row.detail
    assert "`workshop up --install-operator`" in row.detail


def installing(cluster: FakeCluster) -> Callable[..., None]:
    """What Helm does with the operator's chart: a Deployment appears."""

    def upgrade(_operator: Operator, release: str, _line: Step, *, first: bool) -> None:
        if release == OPERATOR:
            install_operator(cluster, young=True)

    return upgrade


def test_an_absent_operator_is_installed_and_removed_again(shared: Shared) -> None:
    shared.cluster.drop("Deployment", "toolhive-operator", "toolhive-system")
    shared.machine.fail("kubectl port-forward")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Operator, "_upgrade", installing(shared.cluster))
        with pytest.raises(Exception, match="forward"):
            shared.up(keep=True, limits=replace(shared.limits, forward=0.5))
    assert "operator" in shared.made()
    shared.machine.add("releases", "toolhive-operator")
    assert "operator" in shared.teardown()
    assert shared.machine.held("releases") == []


def test_what_a_failed_up_made_goes_before_the_operator_does(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared.cluster.drop("Deployment", "toolhive-operator", "toolhive-system")
    shared.cluster.api.finalizing |= {"mcpremoteproxies", "mcptoolconfigs"}
    left: list[object] = []

    def never_ready(*_given: object) -> None:
        raise WorkshopError("It cannot become ready")

    def remove(_operator: Operator, _note: object) -> list[str]:
        left.append(shared.cluster.get("MCPRemoteProxy", "github-remote", NAMESPACE))
        left.append(shared.cluster.get("MCPToolConfig", "workshop-tools", NAMESPACE))
        return []

    monkeypatch.setattr(Operator, "_upgrade", installing(shared.cluster))
    monkeypatch.setattr(Operator, "release", remove)
    monkeypatch.setattr("workshop.lab.cluster.workloads.wait_workload", never_ready)
    shared.limits = replace(shared.limits, gone=0.2)
    with pytest.raises(WorkshopError, match="cannot become ready"):
        shared.up()
    assert left
    assert not any(left)


def test_an_operator_of_ours_that_others_have_come_to_need_stays(shared: Shared) -> None:
    shared.up()
    ClusterFile(shared.directory).creating("operator")
    ClusterFile(shared.directory).creating("namespace/toolhive-system")
    shared.machine.add("releases", "toolhive-operator")
    shared.cluster.put({**FOREIGN, "metadata": {"name": "theirs", "namespace": "team-b"}})
    told = shared.teardown()
    assert "operator" not in told
    assert "namespace/toolhive-system" not in told
    assert shared.machine.held("releases") == ["toolhive-operator"]
    assert "it stays: still needed in team-b" in shared.shown.getvalue()


def test_finalizers_that_stick_are_reported_and_cleared_for_what_is_ours(shared: Shared) -> None:
    shared.up()
    shared.cluster.api.finalizing.add("mcpremoteproxies")
    shared.limits = replace(shared.limits, removed=0.2)
    told = shared.teardown()
    assert "MCPRemoteProxy/github-remote" in told
    assert "its finalizers are cleared" in shared.shown.getvalue()
    assert shared.cluster.get("MCPRemoteProxy", "github-remote", NAMESPACE) is None


def test_what_is_still_being_deleted_is_seen_off_and_made_anew(shared: Shared) -> None:
    shared.up()
    before = shared.cluster.get("MCPToolConfig", "workshop-tools", NAMESPACE)
    shared.cluster.api.finalizing.add("mcptoolconfigs")
    assert shared.cluster.kube.delete(TOOLHIVE, "MCPToolConfig", "workshop-tools", NAMESPACE)
    shared.limits = replace(shared.limits, gone=0)
    shared.up()
    after = shared.cluster.get("MCPToolConfig", "workshop-tools", NAMESPACE)
    assert before
    assert after
    assert "deletionTimestamp" not in after["metadata"]
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    shared.cluster.api.finalizing.clear()


def test_an_operator_that_is_being_deleted_does_not_count(shared: Shared) -> None:
    gone = shared.cluster.get("Deployment", "toolhive-operator", "toolhive-system")
    assert gone
    marks = {"namespace": "another", "deletionTimestamp": "2026-11-21T08:00:00Z"}
    shared.cluster.put({**gone, "metadata": {**gone["metadata"], **marks}})
    listed = shared.cluster.kube.list("apps/v1", "Deployment")
    assert [item["metadata"]["namespace"] for item in listed] == ["another", "toolhive-system"], (
        "it comes first"
    )
    shared.up()
    (operator,) = (row for row in environment.status().workloads if row.name == "operator")
    assert operator.state == "running"


def test_a_first_up_that_was_taken_back_is_followed_by_a_first_one(shared: Shared) -> None:
    shared.cluster.drop("Deployment", "toolhive-operator", "toolhive-system")
    for _ in range(2):
        shared.machine.fail("helm upgrade toolhive-operator")
        with pytest.raises(WorkshopError, match="helm upgrade"):
            shared.up()
        assert not shared.directory.exists(), "its definitions alone are no reason to remember it"
        shared.machine.fail()


def test_what_somebody_else_made_under_our_name_is_left_alone(shared: Shared) -> None:
    shared.cluster.put(FOREIGN)
    with pytest.raises(UsageError, match="was not created by this instance"):
        shared.up()
    found = shared.cluster.get("MCPServer", "workshop", NAMESPACE)
    assert found
    assert found["spec"] == FOREIGN["spec"]
    assert "labels" in found["metadata"]
    assert "workshop/instance" not in found["metadata"]["labels"]


@pytest.mark.parametrize(
    "server", ["https://api.prod.example", "https://prd-3.example", "https://x.example/live"]
)
def test_a_context_that_looks_like_production_takes_a_yes(shared: Shared, server: str) -> None:
    path = shared.machine.folder / "kubeconfig"
    text = path.read_text()
    real = text.split('"server": "')[1].split('"')[0]
    path.write_text(text.replace(real, server))
    with pytest.raises(CredentialsError, match="looks like production"):
        shared.up()
    assert not shared.directory.exists()
    path.write_text(text)


@pytest.mark.parametrize("name", ["reproduction", "delivery", "product-lab", "alive"])
def test_a_name_that_only_holds_the_letters_does_not(name: str) -> None:
    from workshop.lab.cluster.kubernetes import looks_like_production

    assert not looks_like_production(name)


def test_images_that_the_cluster_cannot_pull_are_refused_with_the_options_name(shared: Shared) -> None:
    with pytest.raises(UsageError) as caught:
        shared.up(overrides={"practice": IMAGES["practice"]})
    assert "--override=mcp-server=REGISTRY/NAME:TAG" in caught.value.hint


def test_a_context_has_to_be_named_and_to_exist(shared: Shared) -> None:
    with pytest.raises(UsageError, match="needs `--context"):
        shared.up(context=None)
    with pytest.raises(UsageError, match="no context `other`"):
        shared.up(context="other")


def test_what_is_for_kind_is_refused_here(shared: Shared) -> None:
    with pytest.raises(UsageError, match="`--cluster-name` does not apply to the kubernetes backend"):
        shared.up(cluster_name="mine")


def test_the_persons_kubeconfig_is_read_only(up: Shared) -> None:
    path = up.machine.folder / "kubeconfig"
    path.chmod(0o444)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    own = up.directory / "kubeconfig"
    own.unlink()
    up.up()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert own.stat().st_mode & 0o777 == 0o600
    assert environment.status().backend == "kubernetes"


def test_another_namespace_needs_a_teardown_first(up: Shared) -> None:
    with pytest.raises(UsageError, match=f"namespace `{NAMESPACE}`"):
        up.up(namespace="team-b")
    with pytest.raises(PreflightError, match="The kubernetes backend is up"):
        up.up(backend="kind")


def test_status_sees_that_mcp_requests_fail(up: Shared) -> None:
    up.machine.add("deaf", "all")
    try:
        found = {item.name: item for item in environment.status().workloads}
    finally:
        (up.machine.folder / "deaf" / "all").unlink()
    assert found["workshop"].state == "unhealthy"
    assert "MCP requests fail with 503" in found["workshop"].detail
    assert found["practice-github"].state == "running"


def test_each_container_and_each_forward_of_ours_has_a_log(up: Shared) -> None:
    logs = environment.logs()
    names = {log.name for log in logs}
    assert {"workshop-1", "workshop-0", "github-remote-1", "practice-github-1"} <= names
    assert {"forward/workshop", "forward/github-remote", "forward/practice-github"} <= names
    assert {log.name for log in chosen(logs, "workshop")} == {"workshop-1", "workshop-0", "forward/workshop"}
    up.cluster.api.logs = {("workshop-0", False): "one\ntwo"}
    (server,) = chosen(logs, "workshop-0")
    assert list(server.last(1)) == ["two"]


def test_a_full_disk_does_not_keep_teardown_from_its_end(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    shared.up()
    monkeypatch.setattr(record, "write_private", full)
    assert f"namespace/{NAMESPACE}" in shared.teardown()
    assert shared.cluster.get("MCPServer", "workshop", NAMESPACE) is None
    assert not shared.directory.exists()
