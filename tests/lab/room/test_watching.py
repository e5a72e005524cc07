"""`room status`, `room exec` and `room create --plan` as a facilitator types them."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Workshop, workshop
from tests.lab.cluster.workloads import pod
from tests.lab.kube.fake_cluster import FakeCluster
from tests.lab.kube.refused import connection_lost
from tests.lab.room.bench import Facilitator
from tests.lab.room.rooms import config_map, node, put_room, within
from tests.lab.room.test_room import cluster, facilitator
from workshop.cli import room_status
from workshop.lab.room.objects import ROOM, SEAT

__all__ = ["cluster", "facilitator", "workshop"]
PULL = ("ErrImagePull", 'failed to pull image "ghcr.io/x/y:1": manifest unknown')


@pytest.fixture
def monday(workshop: Workshop, facilitator: Facilitator, cluster: FakeCluster) -> Workshop:
    """A room of three seats, the second of which is broken."""
    del facilitator  # whose kubeconfig the commands read
    put_room(cluster, 3)
    cluster.put(within(pod(ready=False, waiting=PULL), "monday-02"))
    data = {"part": "4", "passed": "1", "checks": "4/it_was_run", "at": "2026-11-21T08:00:00+00:00"}
    cluster.put(config_map("workshop-progress", "monday-01", data, {ROOM: "monday", SEAT: "01"}))
    return lambda *words: workshop(*words, "--context", "lab")


def test_status_shows_the_sum_what_is_wrong_and_each_seat(monday: Workshop) -> None:
    outcome = monday("room", "status", "monday")
    assert outcome.code == 0
    assert "Room monday: 3 seats, 1 in part 4, 2 not started; 1 checks passed; 1 needs help" in outcome.out
    assert "✗ Seat 02 (Person 2): ErrImagePull: failed to pull image" in outcome.out
    assert "→ There is no such image: check its name and tag in the manifest or the override" in outcome.out
    rows = [line.split() for line in outcome.out.splitlines() if re.match(r"0[123] ", line)]
    assert [row[0] for row in rows] == ["01", "02", "03"]
    assert rows[0][1:5] == ["Person", "1", "4", "1"]
    assert rows[1][-4:] == ["0", "of", "1", "✗"]


def test_status_as_json_has_each_seat_with_its_problems(monday: Workshop) -> None:
    outcome = monday("room", "status", "monday", "--json")
    assert outcome.code == 0
    data = json.loads(outcome.out)["data"]
    assert [seat["passed"] for seat in data["seats"]] == [1, 0, 0]
    assert data["seats"][0]["checks"] == ["4/it_was_run"]
    assert [len(seat["problems"]) for seat in data["seats"]] == [0, 1, 0]
    assert set(data["seats"][1]["problems"][0]) == {"what", "fix"}


def test_a_room_that_does_not_exist_and_options_that_exclude_each_other(monday: Workshop) -> None:
    outcome = monday("room", "status", "friday")
    assert (outcome.code, "There is no room `friday` on this cluster" in outcome.err) == (2, True)
    outcome = monday("room", "status", "monday", "--watch", "--page")
    assert (outcome.code, "exclude each other" in outcome.err) == (2, True)
    assert len(outcome.err.splitlines()) <= 6


def test_status_without_an_answering_api_server_is_an_error_of_ours(
    monday: Workshop, cluster: FakeCluster
) -> None:
    cluster.api.refusals.append(connection_lost("GET /api/v1/pods", times=1000))
    outcome = monday("room", "status", "monday")
    assert outcome.code == 5
    assert "API server does not answer" in outcome.err
    assert "`kubectl --context lab get nodes` asks it" in outcome.err
    assert "workshop up" not in outcome.err
    assert "Traceback" not in outcome.err


def test_watch_shows_what_changes_and_outlives_an_api_server_that_is_away(
    monday: Workshop, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pause of the watch is where the cluster changes; the third ends it as Ctrl-C does."""
    changes: list[Callable[[], object]] = [
        lambda: cluster.api.refusals.append(connection_lost("GET /api/v1/pods", times=6)),
        cluster.api.refusals.clear,
        lambda: cluster.put(within(pod(), "monday-02")),
    ]

    def pause(_idle: object) -> None:
        if not changes:
            raise KeyboardInterrupt
        changes.pop(0)()

    monkeypatch.setattr(room_status, "_pause", pause)
    outcome = monday("room", "status", "monday", "--watch")
    assert outcome.code == 130
    sums = re.findall(r"(1 needs help|nothing is wrong)", outcome.out)
    assert sums == ["1 needs help", "1 needs help", "nothing is wrong"]
    assert "Traceback" not in outcome.err


def test_the_plan_shows_what_fits_and_refuses_what_does_not(monday: Workshop, cluster: FakeCluster) -> None:
    cluster.put(node("one", cpu="16", memory="64Gi"))
    outcome = monday("room", "create", "monday", "--plan", "--seats", "30")
    assert outcome.code == 0
    assert "30 seats on 2 nodes, which have space for 35" in outcome.out
    assert "API calls: " in outcome.out
    assert "workshop room create monday --seats 30 --context lab" in outcome.err
    before = len(cluster.kube.list("v1", "Namespace"))
    outcome = monday("room", "create", "monday", "--plan", "--seats", "1000")
    assert outcome.code == 3
    assert "Error: 1000 seats do not fit on this cluster: it has space for 35" in outcome.err
    assert "add 27 nodes like the largest" in outcome.err
    assert len(outcome.err.splitlines()) <= 6
    assert "Enough for" in outcome.out
    outcome = monday("room", "create", "monday", "--plan", "--seats", "1000", "--json")
    assert json.loads(outcome.out)["error"]["code"] == "preflight"
    assert len(cluster.kube.list("v1", "Namespace")) == before


def test_exec_runs_a_command_as_the_seat_and_passes_its_exit_code_on(
    workshop: Workshop, facilitator: Facilitator, monkeypatch: pytest.MonkeyPatch
) -> None:
    facilitator.create("monday", 2)
    ran: list[tuple[list[str], dict[str, str], bool]] = []

    def run(argv: list[str], *, env: dict[str, str], stdout: None, check: bool) -> object:
        home = Path(env["WORKSHOP_HOME"])
        private = (home / "default" / "seat.kubeconfig").stat().st_mode & 0o777 == 0o600
        ran.append((argv, env, private and stdout is None))
        return type("Done", (), {"returncode": 6, "check": check})

    monkeypatch.setattr("workshop.lab.room.execute.subprocess.run", run)
    monkeypatch.setenv("WORKSHOP_INSTANCE", "another")
    outcome = workshop("room", "exec", "monday", "02", "--context", "lab", "--", "status", "--json")
    assert outcome.code == 6
    ((argv, env, private),) = ran
    assert argv[1:] == ["-m", "workshop", "status", "--json"]
    assert private
    assert env["KUBECONFIG"].startswith(env["WORKSHOP_HOME"])
    assert not Path(env["WORKSHOP_HOME"]).exists(), "nothing is left behind"
    assert {name for name in env if name.startswith("WORKSHOP_")} == {
        "WORKSHOP_HOME",
        "WORKSHOP_SHARE_PROGRESS",
    }

    outcome = workshop("room", "exec", "monday", "99", "--", "status")
    assert (outcome.code, "has no seat `99`" in outcome.err) == (2, True)
    outcome = workshop("room", "exec", "monday", "02", "--", "part", "4", "check")
    assert outcome.code == 3
    assert "Seat 02 does not run `github-remote`" in outcome.err
    assert "`workshop up` first" in outcome.err
    assert len(ran) == 1


def test_remove_names_what_went_and_what_stays(workshop: Workshop, facilitator: Facilitator) -> None:
    facilitator.create("monday", 1)
    outcome = workshop("room", "remove", "monday", "--context", "lab")
    assert outcome.out.splitlines()[0] == "Removed room `monday`: 2 namespaces, 0 objects of ToolHive"
    assert "definitions (CRDs) stay, because others may use them; see `kubectl get crd`" in outcome.out
    again = workshop("room", "remove", "monday", "--context", "lab")
    assert again.out == "There is no room `monday` on this cluster\n"
