"""A room is created, extended, renewed and removed; what belongs to others stays as it is."""

import base64
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.lab.cluster.fake_operator import install_operator
from tests.lab.cluster.fake_tools import FakeMachine
from tests.lab.kube.fake_cluster import TOOLHIVE, FakeCluster, running_cluster
from tests.lab.kube.refused import Refusal
from tests.lab.room.bench import Facilitator, at_home
from tests.lab.room.fake_room import KINDS, RoomEmulator
from tests.lab.room.rooms import node
from workshop.core.errors import CredentialsError, DeadlineError, PreflightError, UsageError
from workshop.core.seats import record_key
from workshop.core.settings import Setting, Settings
from workshop.lab.kube.connection import ForbiddenError, UnreachableError
from workshop.lab.kube.objects import annotations_of, name_of
from workshop.lab.room import record, seat_file
from workshop.lab.room.objects import LOGIN_ROLE, PERSON, RECORD, RECORD_SECRET, TOKEN_UNTIL

ALL = (("v1", "Namespace"), ("v1", "Secret"), ("v1", "ConfigMap"), ("v1", "Service"), *KINDS)
ALL += (("apps/v1", "Deployment"), ("coordination.k8s.io/v1", "Lease"), (TOOLHIVE, "MCPServer"))
IN_A_SEAT = {
    "ServiceAccount/seat",
    "Role/workshop-seat",
    "RoleBinding/workshop-seat",
    "ResourceQuota/workshop-seat",
    "LimitRange/workshop-seat",
    "NetworkPolicy/workshop-seat",
    "Service/practice-github",
    "Secret/github-oauth-client",
    "Secret/github-remote-hmac",
    "Secret/github-remote-signing-key",
}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    with running_cluster(tmp_path, RoomEmulator) as made:
        text = made.kubeconfig.read_text().replace(
            '"name": "test", "context"', '"name": "CONTEXT", "context"'
        )
        FakeMachine.install(tmp_path, monkeypatch, text)
        install_operator(made)
        made.put(node("one"))
        made.kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "toolhive-system"}})
        yield made


@pytest.fixture
def facilitator(cluster: FakeCluster, tmp_path: Path) -> Iterator[Facilitator]:
    with at_home(tmp_path, cluster.kubeconfig):
        yield Facilitator(tmp_path / "first", "lab")


def everything(cluster: FakeCluster) -> dict[str, Any]:
    """Each object of the cluster, with what somebody applied."""
    found = [one for kind in ALL for one in cluster.kube.list(*kind)]
    for one in found:
        one.pop("status", None)
        one["metadata"].pop("resourceVersion", "")  # a real API server keeps it when nothing changes
    return {f"{one['kind']} {one['metadata'].get('namespace')}/{name_of(one)}": one for one in found}


def within(cluster: FakeCluster, namespace: str) -> set[str]:
    found = [one for kind in ALL[1:] for one in cluster.kube.list(*kind, namespace)]
    return {f"{one['kind']}/{name_of(one)}" for one in found}


def test_each_seat_has_its_objects_and_a_private_file(facilitator: Facilitator, cluster: FakeCluster) -> None:
    report = facilitator.create("monday", 3, people=["Ada", "", "Grace"], hours=2)
    assert [seat.namespace for seat in report.seats] == ["monday-01", "monday-02", "monday-03"]
    assert [seat.person for seat in report.seats] == ["Ada", "", "Grace"]
    for seat in report.seats:
        assert within(cluster, seat.namespace) == IN_A_SEAT
        assert stat.S_IMODE(Path(seat.file).stat().st_mode) == 0o600
    space = cluster.kube.get("v1", "Namespace", "monday-01")
    assert annotations_of(space)[PERSON] == "Ada"
    assert annotations_of(space)[TOKEN_UNTIL] == report.seats[0].until == "2100-01-01T00:00:00Z"
    secret = cluster.kube.get("v1", "Secret", RECORD_SECRET[0], "monday")
    assert secret
    file = seat_file.read(Path(report.seats[0].file))
    assert file.about.images
    assert file.about.images.mcp_server == "lab/mcp-server:1"
    assert file.about.practice
    assert (file.about.practice.user, file.about.practice.namespace) == ("seat-01", "monday")
    assert file.about.practice.record_key == record_key(stored(cluster, *RECORD_SECRET), "seat-01")


def stored(cluster: FakeCluster, name: str, key: str, namespace: str = "monday") -> str:
    found = cluster.kube.get("v1", "Secret", name, namespace) or {}
    return base64.b64decode(found["data"][key]).decode()


def test_the_practice_github_has_a_user_for_each_seat_and_each_seat_its_secret(
    facilitator: Facilitator, cluster: FakeCluster
) -> None:
    facilitator.create("monday", 2)
    deployment = cluster.get("Deployment", "practice-github", "monday")
    assert deployment
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["--seats", "2"]
    assert container["image"] == "lab/practice:1"
    secret = stored(cluster, "practice-github", "client-secret")
    for seat in ("monday-01", "monday-02"):
        assert stored(cluster, "github-oauth-client", "client-secret", seat) == secret
    keys = {stored(cluster, "github-remote-hmac", "hmac-secret", seat) for seat in ("monday-01", "monday-02")}
    assert len(keys) == 2
    bindings = cluster.kube.list("rbac.authorization.k8s.io/v1", "RoleBinding", "monday")
    assert [name_of(one) for one in bindings] == [f"{LOGIN_ROLE}-01", f"{LOGIN_ROLE}-02"]


def test_with_the_real_github_there_is_no_practice_github(
    facilitator: Facilitator, cluster: FakeCluster
) -> None:
    settings = Settings(Setting("Ov23made"), Setting("made-up-secret"))
    report = facilitator.create("monday", 1, upstream="github", settings=settings)
    assert within(cluster, "monday-01") == IN_A_SEAT - {"Service/practice-github"}
    assert cluster.get("Deployment", "practice-github", "monday") is None
    assert stored(cluster, "github-oauth-client", "client-secret", "monday-01") == "made-up-secret"
    about = seat_file.read(Path(report.seats[0].file)).about
    assert (about.practice, about.github_client_id) == (None, "Ov23made")


def test_without_its_oauth_app_a_room_at_github_is_refused_before_any_change(
    facilitator: Facilitator, cluster: FakeCluster
) -> None:
    before = everything(cluster)
    with pytest.raises(CredentialsError, match="GITHUB_OAUTH_CLIENT_SECRET is not set") as refused:
        facilitator.create("monday", 1, upstream="github")
    assert "`--upstream practice` needs neither" in refused.value.hint
    settings = Settings(github_client_secret=Setting("made-up-secret"))
    with pytest.raises(CredentialsError, match="GITHUB_OAUTH_CLIENT_ID is not set"):
        facilitator.create("monday", 1, upstream="github", settings=settings)
    assert everything(cluster) == before


def test_a_second_create_changes_nothing_and_sends_few_requests(
    facilitator: Facilitator, cluster: FakeCluster
) -> None:
    first = facilitator.create("monday", 4)
    files = {seat.file: Path(seat.file).read_bytes() for seat in first.seats}
    before, seen = everything(cluster), len(cluster.api.seen)
    second = facilitator.create("monday")
    writes = [line for line in cluster.api.seen[seen:] if not line.startswith("GET")]
    assert [seat.made for seat in second.seats] == [0, 0, 0, 0]
    assert everything(cluster) == before
    assert {seat.file: Path(seat.file).read_bytes() for seat in second.seats} == files
    assert [line for line in writes if "monday-0" in line] == []


def test_more_seats_extend_the_room_and_fewer_are_refused(
    facilitator: Facilitator, cluster: FakeCluster
) -> None:
    facilitator.create("monday", 1, people=["Ada"])
    report = facilitator.create("monday", 3)
    assert [bool(seat.made) for seat in report.seats] == [False, True, True]
    assert report.seats[0].person == "Ada"
    with pytest.raises(UsageError, match="Room `monday` has 3 seats already"):
        facilitator.create("monday", 2)


def test_what_somebody_deleted_is_made_again(facilitator: Facilitator, cluster: FakeCluster) -> None:
    facilitator.create("monday", 2)
    cluster.kube.delete("v1", "Namespace", "monday-02")
    cluster.kube.delete("v1", "ResourceQuota", "workshop-seat", "monday-01")
    (facilitator.folder / "monday-seats" / "monday-01.kubeconfig").unlink()
    report = facilitator.create("monday")
    assert [seat.made for seat in report.seats] == [1, 11]
    for seat in report.seats:
        assert within(cluster, seat.namespace) == IN_A_SEAT
        assert seat_file.read(Path(seat.file)).about.seat == seat.seat


def test_the_secrets_that_an_attendee_has_made_again_are_left_alone(
    facilitator: Facilitator, cluster: FakeCluster
) -> None:
    facilitator.create("monday", 1)
    name = "github-remote-hmac"
    old = cluster.kube.get("v1", "Secret", name, "monday-01")
    assert old
    labels = {"workshop/room": "monday", "workshop/seat": "01", "workshop/instance": "w1"}
    cluster.kube.delete("v1", "Secret", name, "monday-01")
    metadata = {"name": name, "namespace": "monday-01", "labels": labels}
    cluster.kube.create({**old, "metadata": metadata, "data": {"hmac-secret": "bWluZQ=="}})
    facilitator.create("monday")
    found = cluster.kube.get("v1", "Secret", name, "monday-01")
    assert found
    assert found["data"] == {"hmac-secret": "bWluZQ=="}


@pytest.mark.parametrize(
    "breaks_at", ["POST /api/v1/namespaces", "PATCH /apis/apps", "POST /api/v1/namespaces/monday-02"]
)
def test_what_the_end_of_the_api_server_interrupted_is_completed_by_the_next_call(
    facilitator: Facilitator, cluster: FakeCluster, breaks_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    cluster.api.refusals.append(Refusal(breaks_at, 0, ""))
    with pytest.raises(UnreachableError) as caught:
        facilitator.create("monday", 2)
    assert "Run the same command again" in caught.value.hint
    cluster.api.refusals.clear()
    report = facilitator.create("monday", 2)
    for seat in report.seats:
        assert within(cluster, seat.namespace) == IN_A_SEAT


def test_remove_leaves_the_cluster_as_it_was(facilitator: Facilitator, cluster: FakeCluster) -> None:
    before = everything(cluster)
    facilitator.create("monday", 3)
    report = facilitator.remove("monday")
    assert everything(cluster) == before
    assert set(report.namespaces) == {"monday", "monday-01", "monday-02", "monday-03"}
    assert facilitator.remove("monday").namespaces == ()
    assert not (record.rooms_dir() / "monday").exists()


def test_remove_touches_neither_another_room_nor_a_stranger(
    facilitator: Facilitator, cluster: FakeCluster
) -> None:
    stranger = {"name": "monday-99", "labels": {"workshop/room": "monday", "workshop/seat": "99"}}
    cluster.kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": stranger})
    server = {"name": "workshop", "namespace": "monday-99", "labels": {"workshop/room": "monday"}}
    cluster.kube.apply(
        {"apiVersion": TOOLHIVE, "kind": "MCPServer", "metadata": server, "spec": {"image": "their:1"}}
    )
    facilitator.create("tuesday", 2)
    before = everything(cluster)
    facilitator.create("monday", 2)
    facilitator.remove("monday")
    assert everything(cluster) == before


def test_what_a_seat_runs_goes_before_its_namespace(facilitator: Facilitator, cluster: FakeCluster) -> None:
    facilitator.create("monday", 2)
    for seat in ("monday-01", "monday-02"):
        metadata = {"name": "workshop", "namespace": seat}
        spec = {"image": "lab/mcp-server:1"}
        cluster.kube.apply({"apiVersion": TOOLHIVE, "kind": "MCPServer", "metadata": metadata, "spec": spec})
    cluster.drop("Deployment", "toolhive-operator", "toolhive-system")
    cluster.api.finalizing.add("mcpservers")
    seen = len(cluster.api.seen)
    report = facilitator.remove("monday")
    assert list(report.objects) == ["MCPServer/workshop in monday-01", "MCPServer/workshop in monday-02"]
    lines = [line for line in cluster.api.seen[seen:] if line.startswith(("DELETE", "PATCH /apis/toolhive"))]
    of_spaces = [number for number, line in enumerate(lines) if line.split("?")[0].endswith(("-01", "-02"))]
    of_servers = [number for number, line in enumerate(lines) if "mcpservers" in line]
    assert max(of_servers) < min(of_spaces)
    assert cluster.kube.list(TOOLHIVE, "MCPServer") == []


def test_an_interrupted_removal_is_completed_by_the_next_call(
    facilitator: Facilitator, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(cluster)
    facilitator.create("monday", 2)
    with monkeypatch.context() as patch:
        patch.setattr("time.sleep", lambda _: None)
        cluster.api.refusals.append(Refusal("DELETE /api/v1/namespaces/monday?", 0, ""))
        cluster.api.refusals.append(Refusal("DELETE /api/v1/namespaces/monday", 0, "", times=0))
        cluster.kube.delete("v1", "Namespace", "monday-01")
        cluster.api.refusals[-1].times = 100
        with pytest.raises(UnreachableError, match="does not answer") as caught:
            facilitator.remove("monday")
    assert "it removes what is left" in caught.value.hint
    cluster.api.refusals.clear()
    assert facilitator.remove("monday").namespaces
    assert everything(cluster) == before


def test_a_room_whose_own_namespace_is_gone_can_be_removed(
    facilitator: Facilitator, cluster: FakeCluster
) -> None:
    before = everything(cluster)
    facilitator.create("monday", 2)
    cluster.kube.delete("v1", "Namespace", "monday")
    assert list(facilitator.remove("monday").namespaces) == ["monday-01", "monday-02"]
    assert everything(cluster) == before


@pytest.mark.parametrize("taken", ["monday", "monday-02"])
def test_a_namespace_of_somebody_else_is_refused_before_any_change(
    facilitator: Facilitator, cluster: FakeCluster, taken: str
) -> None:
    cluster.kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": taken}})
    before = everything(cluster)
    with pytest.raises(UsageError, match=f"Namespace `{taken}` exists, and is not") as caught:
        facilitator.create("monday", 2)
    assert "Choose another name for the room" in caught.value.hint
    assert everything(cluster) == before
    assert left_of_monday(facilitator) == []
    if taken == "monday":
        with pytest.raises(UsageError, match="is not a room's"):
            facilitator.remove("monday")


def test_new_seats_that_do_not_fit_are_refused_and_nothing_is_left_behind(
    facilitator: Facilitator, cluster: FakeCluster
) -> None:
    cluster.put(node("one", cpu="1"))
    before = everything(cluster)
    with pytest.raises(
        PreflightError, match="20 seats do not fit on this cluster: it has space for 5"
    ) as caught:
        facilitator.create("monday", 20)
    assert "When all are up, they request 60 pods, 3 cores" in caught.value.why
    assert "--yes` if not all are up at once" in caught.value.hint
    assert everything(cluster) == before
    assert left_of_monday(facilitator) == []
    facilitator.create("monday", 20, anyway=True)
    cluster.kube.delete("v1", "Namespace", "monday-07")
    assert facilitator.create("monday").seats[6].made > 0, "a room that is there is repaired"
    with pytest.raises(PreflightError, match="21 seats do not fit"):
        facilitator.create("monday", 21)


def left_of_monday(facilitator: Facilitator) -> list[Path]:
    """What there is of room `monday` on this machine."""
    places = [record.rooms_dir() / "monday", facilitator.folder / "monday-seats"]
    return [place for place in places if place.exists()]


def test_all_rights_that_are_missing_are_named_before_any_change(
    facilitator: Facilitator, cluster: FakeCluster
) -> None:
    before = everything(cluster)
    cluster.api.rules = [{"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["*"]}]
    with pytest.raises(ForbiddenError, match="lacks rights that a room needs") as caught:
        facilitator.create("monday", 2)
    assert left_of_monday(facilitator) == []
    for resource in ("namespaces", "serviceaccounts/token", "rolebindings", "networkpolicies"):
        assert resource in caught.value.why
    assert everything(cluster) == before


def test_an_unknown_context_is_reported(facilitator: Facilitator) -> None:
    facilitator.context = ""
    with pytest.raises(UsageError, match="does not know the cluster of room `monday`"):
        facilitator.create("monday", 1)


def test_a_context_that_looks_like_production_is_asked_for(
    facilitator: Facilitator, cluster: FakeCluster, tmp_path: Path
) -> None:
    path, server = tmp_path / "made" / "kubeconfig", cluster.kubeconfig.read_text().split('"server": "')[1]
    path.write_text(path.read_text().replace(server.split('"')[0], "https://api.prod.test"))
    with pytest.raises(CredentialsError, match="looks like production"):
        facilitator.create("monday", 1)


@pytest.mark.parametrize("name", ["Monday", "-a", "a-", "1st", "", "a" * 41, "a.b", "../a"])
def test_a_name_that_cannot_begin_a_namespaces_name_is_refused(facilitator: Facilitator, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a room"):
        facilitator.create(name, 1)


def test_two_facilitators_take_turns_and_make_one_room(
    facilitator: Facilitator, cluster: FakeCluster, tmp_path: Path
) -> None:
    other = Facilitator(tmp_path / "second", "lab")
    reports: dict[str, Any] = {}
    started = threading.Barrier(2)

    def create(name: str, who: Facilitator) -> None:
        started.wait(60)
        reports[name] = who.create("monday", 3)

    people = {"first": facilitator, "second": other}
    threads = [threading.Thread(target=create, args=each_one) for each_one in people.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert reports["first"].id == reports["second"].id
    made = [sum(seat.made for seat in report.seats) for report in reports.values()]
    assert sorted(made) == [0, 36]
    for seat in ("monday-01", "monday-02", "monday-03"):
        assert within(cluster, seat) == IN_A_SEAT
    assert cluster.kube.list("coordination.k8s.io/v1", "Lease") == []


def test_a_room_that_another_facilitator_changes_is_waited_for_and_then_named(
    facilitator: Facilitator, cluster: FakeCluster
) -> None:
    facilitator.create("monday", 1)
    spec = {"holderIdentity": "monday/other", "leaseDurationSeconds": 3600}
    metadata = {"name": RECORD, "namespace": "monday"}
    cluster.put({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec})
    facilitator.limits = replace(facilitator.limits, ready=0.2)
    with pytest.raises(DeadlineError, match="`monday/other` has been changing room `monday`"):
        facilitator.create("monday")
