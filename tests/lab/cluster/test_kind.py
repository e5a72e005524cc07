"""The kind backend from nothing to nothing, on fake tools that remember and an API that operates."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.lab.cluster.bench import IMAGES, LOADING, WORKLOADS, Bench, running_bench
from tests.lab.kube.refused import Refusal
from tests.lab.tools.waiting import until
from workshop.core.console import Console, Step
from workshop.core.errors import PreflightError, UsageError, WorkshopError
from workshop.core.instance import Instance
from workshop.core.ports import bind_loopback
from workshop.core.settings import Settings
from workshop.course import environment
from workshop.course.lessons import find_lessons
from workshop.lab import process
from workshop.lab.cluster import workloads as cluster_steps
from workshop.lab.cluster.images import Images
from workshop.lab.cluster.readiness import wait_operator, wait_workload
from workshop.lab.cluster.record import ClusterFile, new_id
from workshop.lab.kube.client import Kube
from workshop.lab.pins import pinned
from workshop.lab.tools.clusters import Kind


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with running_bench(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A bench whose instance is up, for all tests that leave it as it is."""
    with running_bench(tmp_path_factory.mktemp("kept")) as made:
        made.first = made.up()
        yield made


@pytest.fixture
def up(kept: Bench) -> Iterator[Bench]:
    kept.shown.seek(0)
    kept.shown.truncate()
    yield kept
    kept.cluster.api.refusals.clear()
    assert kept.alive() == set(WORKLOADS)


def test_up_makes_everything_and_a_second_up_only_the_secrets(up: Bench) -> None:
    assert up.first
    assert set(up.first.started) == set(WORKLOADS)
    assert up.alive() == set(WORKLOADS)
    assert up.machine.held("clusters") == ["workshop"]
    assert up.machine.held("releases") == ["toolhive-operator", "toolhive-operator-crds"]
    assert set(IMAGES.values()) <= set(up.machine.held("node"))
    before = up.cluster.get("Secret", "github-remote-signing-key")
    again = up.up()
    after = up.cluster.get("Secret", "github-remote-signing-key")
    assert list(again.started) == []
    assert set(again.kept) == set(WORKLOADS)
    for once in ("create", "upgrade", "pull"):
        assert all(up.machine.calls(once).count(call) == 1 for call in up.machine.calls(once)), once
    assert len(up.machine.calls("import")) == 2, "the operator's images, then the workshop's"
    assert before
    assert after
    assert before["metadata"]["uid"] != after["metadata"]["uid"], "deleted and made anew"
    assert before["data"] == after["data"], "keys last as long as the instance: nobody is signed out"


def test_what_needs_no_image_of_the_workshop_starts_while_these_are_loaded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Images.load

    def is_there(kind: str, name: str) -> Callable[[], bool]:
        return lambda: bench.cluster.get(kind, name) is not None

    def loading(
        images: Images, kind: Kind, names: Sequence[str], note: Callable[[str], None]
    ) -> tuple[str, ...]:
        if "mcp_server" in names:
            assert set(bench.machine.held("node")) >= {pinned().operator, pinned().proxy_runner}
            until(is_there("MCPRemoteProxy", "github-remote"))
            assert not is_there("MCPServer", "workshop")(), "its pod would try to pull the image"
        return load(images, kind, names, note)

    def waiting(kube: Kube, namespace: str, seconds: float, line: Step, *, replace_stuck: bool) -> None:
        until(is_there("MCPServer", "workshop"))
        wait_operator(kube, namespace, seconds, line, replace_stuck=replace_stuck)

    monkeypatch.setattr(Images, "load", loading)
    monkeypatch.setattr("workshop.lab.cluster.operator.wait_operator", waiting)
    assert set(bench.up().started) == set(WORKLOADS)


def test_where_the_time_went_is_in_the_report(up: Bench) -> None:
    assert up.first
    times = {time.name: time for time in up.first.steps}
    assert {"cluster", "load-operator", "apply-3", "apply-3-images", "ready-workshop"} <= set(times)
    assert times["preflight"].waited_for == ""
    assert times["ready-workshop"].waited_for in {"apply-3-images", "operator-ready"}
    again = {time.name: time for time in up.up().steps}
    assert again["cluster"].kept


def test_what_is_applied_carries_our_label_images_and_ports(up: Bench) -> None:
    server = up.cluster.get("MCPServer", "workshop")
    proxy = up.cluster.get("MCPRemoteProxy", "github-remote")
    assert server
    assert proxy
    record = ClusterFile(up.directory).read()
    assert record
    for body in (server, proxy, up.cluster.get("Secret", "github-remote-hmac")):
        assert body
        assert body["metadata"]["labels"]["workshop/instance"] == record.id
    assert server["spec"]["image"] == IMAGES["mcp-server"]
    assert proxy["spec"]["proxyPort"] == up.ports["github-remote"]
    assert proxy["spec"]["remoteUrl"] == f"http://practice-github:{up.ports['practice-github']}/mcp/"


def test_a_bundle_that_is_not_there_makes_nothing(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no bundle"):
        bench.up(bundle=tmp_path / "none.bundle")
    assert bench.machine.held("clusters") == []
    assert not bench.directory.exists() or ClusterFile(bench.directory).read() is None


def test_no_id_of_an_instance_reads_as_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _bytes: "123e4567")
    assert not new_id()[0].isdigit()  # kubectl would refuse it as a label's value


STEPS = {
    "the engine": "docker info",
    "the node's image": "docker pull kindest/node:v1.35.8",
    "an image": "docker pull lab/mcp-server:1",
    "the cluster": "kind create",
    "loading": LOADING,
    "a chart": "helm pull",
    "the definitions": "helm upgrade toolhive-operator-crds",
    "the operator": "helm upgrade toolhive-operator",
}


@pytest.mark.parametrize("command", STEPS.values(), ids=STEPS.keys())
def test_a_first_up_that_fails_anywhere_takes_back_what_it_made(
    bench: Bench, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if command == STEPS["the node's image"]:
        monkeypatch.setenv("WORKSHOP_NODE_IMAGE", "kindest/node:v1.35.8")
    bench.machine.fail(command)
    with pytest.raises(WorkshopError) as caught:
        bench.up()
    assert bench.machine.held("clusters") == []
    assert bench.alive() == set()
    assert not bench.directory.exists()
    assert str(bench.directory) not in caught.value.hint, "no hint names what is removed"
    assert Instance.load().record is None


def test_a_forward_that_fails_leaves_the_cluster_and_the_log_that_the_error_names(bench: Bench) -> None:
    bench.machine.fail("kubectl port-forward")
    with pytest.raises(WorkshopError, match="The forward to") as caught:
        bench.up(limits=replace(bench.limits, forward=0.5))
    (log,) = [Path(word) for word in caught.value.hint.split("`") if word.endswith("log.txt")]
    assert log.is_file()
    assert bench.machine.held("clusters") == ["workshop"]
    assert "Left in place: cluster" in bench.shown.getvalue()
    bench.machine.fail()
    assert set(bench.up().started) <= set(WORKLOADS)
    assert len(bench.machine.calls("kind", "create")) == 1


def test_a_port_is_held_from_the_start_until_its_forward_takes_it_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = wait_workload

    def take_the_port(*given: Any) -> None:
        with pytest.raises(PreflightError, match="already in use"):
            bind_loopback(bench.ports["github-remote"])
        waited(*given)

    monkeypatch.setattr(cluster_steps, "wait_workload", take_the_port)
    bench.up()
    assert bench.alive() == set(WORKLOADS)
    states = process.read_states(bench.directory / "workloads")
    assert all(process.is_healthy(state) for state in states.values()), "the forward itself has its port"


def test_two_workloads_on_one_port_are_refused_before_anything_is_made(bench: Bench) -> None:
    with pytest.raises(UsageError, match="both use port"):
        bench.up(ports={**bench.ports, "workshop": bench.ports["github-remote"]})
    assert bench.machine.calls("create") == []


def test_a_kept_failure_goes_on_from_there(bench: Bench) -> None:
    bench.machine.fail(STEPS["the operator"])
    with pytest.raises(WorkshopError, match="failed"):
        bench.up(keep=True)
    assert bench.machine.held("clusters") == ["workshop"]
    assert "Run the same command again to resume" in bench.shown.getvalue()
    bench.machine.fail()
    assert set(bench.up(backend=None).started) == set(WORKLOADS)
    assert len(bench.machine.calls("kind", "create")) == 1


def test_a_changed_configuration_is_reported_for_the_workload_it_changes(up: Bench) -> None:
    config = up.cluster.get("MCPToolConfig", "workshop-tools")
    assert config
    up.cluster.put({**config, "spec": {}, "metadata": {**config["metadata"], "generation": 7}})
    assert list(up.up().started) == ["workshop"]


def test_a_later_up_that_fails_leaves_everything_that_runs(up: Bench) -> None:
    up.cluster.api.refusals.append(Refusal("PATCH /apis/toolhive", 422, "spec.image: no such thing"))
    with pytest.raises(UsageError, match="refused to apply"):
        up.up()
    assert up.machine.held("clusters") == ["workshop"]
    assert up.alive() == set(WORKLOADS)


def test_a_refused_manifest_is_reported_in_the_apis_own_words_and_taken_back(bench: Bench) -> None:
    bench.cluster.api.refusals.append(Refusal("PATCH /apis/toolhive", 422, "spec.image: no such thing"))
    with pytest.raises(UsageError) as caught:
        bench.up()
    assert "spec.image: no such thing" in caught.value.why
    assert bench.machine.held("clusters") == []


def test_an_older_toolhive_gets_the_manifests_without_the_fields_it_does_not_know(bench: Bench) -> None:
    """As a real API server answers a server-side apply, here with the CRDs of ToolHive 0.44.0."""
    field = ".spec.embeddedAuthServer.registrationRateLimit"
    told = f"failed to create typed patch object (toolhive-system/github-remote-auth; x): {field}: field not"
    path = "/apis/toolhive.stacklok.dev/v1beta1/namespaces/toolhive-system/mcpexternalauthconfigs"
    bench.cluster.api.refusals.append(Refusal(f"PATCH {path}", 500, f"{told} declared in schema", 1))
    bench.up()
    auth = bench.cluster.get("MCPExternalAuthConfig", "github-remote-auth")
    assert auth
    assert "registrationRateLimit" not in auth["spec"]["embeddedAuthServer"]
    assert auth["spec"]["embeddedAuthServer"]["storage"] == {"type": "memory"}
    assert "without registrationRateLimit: this cluster's ToolHive is older" in bench.shown.getvalue()


def test_ctrl_c_takes_back_what_was_made(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    pressed = threading.Lock()

    def press(_kube: object, _workload: object, _seconds: float, line: Step) -> None:
        if pressed.acquire(blocking=False):
            os.kill(os.getpid(), signal.SIGINT)
        while True:
            line.note("waiting, as long as nothing stops it")
            time.sleep(0.01)

    monkeypatch.setattr("workshop.lab.cluster.workloads.wait_workload", press)
    with pytest.raises(KeyboardInterrupt):
        bench.up()
    assert bench.machine.held("clusters") == []
    assert bench.alive() == set()
    assert not bench.directory.exists()


def test_a_cluster_of_that_name_that_is_not_ours_is_refused(bench: Bench) -> None:
    bench.machine.add("clusters", "workshop")
    with pytest.raises(PreflightError, match="left alone") as caught:
        bench.up()
    assert "kind delete cluster --name workshop" in caught.value.hint
    assert bench.machine.held("clusters") == ["workshop"]
    bench.half_up(cluster_name="mine")
    assert bench.machine.held("clusters") == ["mine", "workshop"]


def test_a_taken_port_is_refused_before_anything_is_made(bench: Bench) -> None:
    taken = bind_loopback(bench.ports["workshop"])
    try:
        with pytest.raises(PreflightError, match=f"Port {bench.ports['workshop']}"):
            bench.up()
    finally:
        for sock in taken:
            sock.close()
    assert bench.machine.calls("create") == []
    assert not bench.directory.exists()


def test_another_backend_is_refused_while_this_one_is_up(up: Bench) -> None:
    with pytest.raises(PreflightError, match="The kind backend is up") as caught:
        up.up(backend="embedded", overrides={})
    assert "teardown" in caught.value.hint


def test_status_tells_cluster_operator_workloads_and_forwards(up: Bench) -> None:
    report = environment.status()
    states = {item.name: item.state for item in report.workloads}
    assert set(states.values()) == {"running"}
    assert {"cluster", "operator", "MCPServer/workshop", "MCPRemoteProxy/github-remote", *WORKLOADS} <= set(
        states
    )
    assert report.backend == "kind"


def test_one_part_is_applied_and_forwarded_by_itself(up: Bench) -> None:
    (lesson,) = [found for found in find_lessons() if found.number == 4]
    with Console(up.shown, up.shown).progress() as progress:
        applied = environment.submit(lesson, progress, Settings.load())
        forwarded = environment.forward(lesson, progress, Settings.load())
    assert "MCPRemoteProxy/github-remote" in applied.kept
    (command,) = applied.commands
    assert command.startswith(
        f"kubectl --kubeconfig {up.directory}/kubeconfig --context kind-workshop apply "
    )
    assert (up.directory / "manifests" / "part-4.yaml").is_file()
    assert "kind: Secret" not in (up.directory / "manifests" / "part-4.yaml").read_text()
    assert forwarded.commands[0].endswith(f":{up.ports['github-remote']}")


def test_teardown_deletes_the_cluster_even_when_it_does_not_answer(bench: Bench) -> None:
    bench.half_up()
    bench.cluster.api.refusals.append(Refusal("", 503, "the server is down"))
    bench.teardown()
    assert bench.machine.held("clusters") == []


def test_teardown_without_docker_says_to_start_it(bench: Bench) -> None:
    bench.half_up()
    bench.machine.add("stopped", "docker")
    with pytest.raises(WorkshopError) as caught:
        bench.teardown()
    assert caught.value.hint == "Docker does not answer: start it, then run this command again"
    (bench.machine.folder / "stopped" / "docker").unlink()


def test_teardown_leaves_a_cluster_whose_node_is_not_ours(bench: Bench) -> None:
    bench.half_up()
    (bench.machine.folder / "kubeadm.conf").write_text('node-labels: "workshop/instance=another"')
    told = bench.teardown()
    assert "cluster workshop" not in told
    assert bench.machine.held("clusters") == ["workshop"]
    assert "`kind delete cluster --name workshop`" in bench.shown.getvalue()
    assert bench.alive() == set()


def test_teardown_removes_in_order_and_no_command_ever_carried_a_secret(kept: Bench) -> None:
    secret = (kept.directory / "secrets" / "github-oauth-client" / "client-secret").read_text()
    kept.cluster.api.seen.clear()
    told = kept.teardown()
    deleted = [line for line in kept.cluster.api.seen if line.startswith("DELETE")]
    places = [
        next(index for index, line in enumerate(deleted) if f"/{plural}/" in line)
        for plural in ("mcpremoteproxies", "mcpservers", "mcpexternalauthconfigs", "secrets", "deployments")
    ]
    assert places == sorted(places)
    assert kept.machine.calls("helm", "uninstall", "toolhive-operator")
    assert kept.machine.held("clusters") == []
    assert "cluster workshop" in told
    assert kept.alive() == set()
    assert not kept.directory.exists()
    assert kept.teardown() == []
    assert secret not in json.dumps(kept.machine.calls())
    for call in kept.machine.calls():
        if call[0] in {"helm", "kubectl"} and not {"version", "pull"} & set(call):
            assert str(kept.directory / "kubeconfig") in call or "port-forward" in call, call
        if call[0] == "kind" and {"create", "delete", "export"} & set(call):
            assert str(kept.directory / "kubeconfig") in call, call
