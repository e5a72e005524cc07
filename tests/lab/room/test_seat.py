"""A joined instance runs the parts in its seat: with the seat's rights, secrets and practice GitHub alone."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Workshop, workshop
from tests.lab.cluster.bench import WORKLOADS
from tests.lab.kube.fake_cluster import TOOLHIVE
from tests.lab.kube.refused import Refusal
from tests.lab.room.attendee import LABELS, SPACE, Attendee, attendee, room_in, seat_at
from workshop.core.console import Console
from workshop.core.errors import CredentialsError, PreflightError, UsageError, WorkshopError
from workshop.core.instance import Instance
from workshop.core.redaction import known_secrets
from workshop.core.settings import Settings
from workshop.course import environment
from workshop.course.lessons import find_lessons, find_variation
from workshop.lab.base import SEAT_FILE, Choices, ClusterChoices
from workshop.lab.choose import backend_for, seat_of
from workshop.lab.cluster.seats import rights_in, seat_rules
from workshop.lab.kube.connection import ForbiddenError
from workshop.lab.room import seat_file
from workshop.lab.room.seat import SeatBackend, join, require_access
from workshop.lab.tools.run import Runner
from workshop.toolhive.secrets import SecretFiles

__all__ = ["attendee", "workshop"]


def test_from_join_to_teardown_the_seat_gives_and_keeps_what_the_room_made(
    attendee: Attendee, tmp_path: Path
) -> None:
    values = room_in(attendee.cluster, tmp_path / "made-by-the-room")
    before, asked = attendee.objects(), len(attendee.cluster.api.seen)
    attendee.join()
    assert environment.status().backend == "kubernetes"
    report = attendee.up()
    assert (
        report.reason
        == "Kubernetes backend (seat 07 of room `monday`), the room's practice GitHub as seat-07"
    )
    assert set(report.endpoints) == set(WORKLOADS)
    _holds_the_rooms_choices(attendee, values)
    assert attendee.up().started == []
    assert attendee.machine.calls("helm") == []
    assert attendee.machine.calls("docker") == []
    names = {item.name: item.state for item in environment.status().workloads}
    assert names["MCPServer/workshop"] == "running"
    seat = seat_of(attendee.directory)
    assert seat
    assert seat.about.practice
    assert {seat.token, seat.about.practice.record_key} <= set(known_secrets(None)), "a report hides them"
    steps = environment.by_hand(find_lessons()[3], Settings())
    assert [step.command for step in steps if "secret" in step.command] == []
    assert any("--namespace monday port-forward svc/practice-github" in step.command for step in steps)
    attendee.teardown()
    assert attendee.objects() == before
    assert [path.name for path in attendee.directory.iterdir()] == [SEAT_FILE]
    assert set(attendee.up().started) >= {"workshop", "github-remote"}, "the seat can be used again"
    since = attendee.cluster.api.seen[asked:]
    assert [line for line in since if "/secrets" in line and not line.startswith("GET ")] == []


def _holds_the_rooms_choices(attendee: Attendee, values: Mapping[str, bytes]) -> None:
    """What `up` applied and forwarded, and where the values of the secrets are from."""
    for kind, name in (("MCPServer", "workshop"), ("MCPRemoteProxy", "github-remote")):
        labels = (attendee.cluster.get(kind, name, SPACE) or {})["metadata"]["labels"]
        assert LABELS.items() <= labels.items()
        assert labels["workshop/instance"].startswith("w")
    assert attendee.cluster.get("Deployment", "practice-github", SPACE) is None
    oauth = _upstream(attendee)
    port = attendee.ports["practice-github"]
    assert oauth["additionalAuthorizationParams"] == {"login": "seat-07"}
    assert oauth["authorizationEndpoint"] == f"http://localhost:{port}/login/oauth/authorize"
    assert oauth["tokenEndpoint"] == "http://practice-github:8090/login/oauth/access_token"
    files = SecretFiles(attendee.directory / "secrets")
    assert {name: files.path(*name.split("/")).read_bytes() for name in values} == values
    config = json.loads((attendee.directory / "workloads" / "practice-github" / "config.json").read_text())
    assert (config["namespace"], config["remote_port"]) == ("monday", 8090)
    assert config["kubeconfig"] == str(attendee.directory / SEAT_FILE)
    server = json.loads((attendee.directory / "workloads" / "workshop" / "config.json").read_text())
    assert server["namespace"] == SPACE
    assert (attendee.directory / SEAT_FILE).stat().st_mode & 0o777 == 0o600


def test_a_seat_of_a_room_at_github_needs_no_env_file(attendee: Attendee, tmp_path: Path) -> None:
    room_in(attendee.cluster, tmp_path / "made-by-the-room")
    attendee.give(practice=None, github_client_id="Ov23made")
    attendee.join()
    report = attendee.up()
    assert report.reason == "Kubernetes backend (seat 07 of room `monday`), GitHub upstream"
    assert _upstream(attendee)["clientId"] == "Ov23made"
    assert _upstream(attendee)["tokenEndpoint"] == "https://github.com/login/oauth/access_token"
    assert "practice-github" not in report.endpoints
    path = SecretFiles(attendee.directory / "secrets").path("github-oauth-client", "client-secret")
    assert path.read_text() == "the room's app secret"
    assert attendee.up().started == []


def _upstream(attendee: Attendee) -> Mapping[str, Any]:
    (auth,) = attendee.cluster.kube.list(TOOLHIVE, "MCPExternalAuthConfig", SPACE)
    (provider,) = auth["spec"]["embeddedAuthServer"]["upstreamProviders"]
    oauth: Mapping[str, Any] = provider["oauth2Config"]
    return oauth


def test_a_first_up_that_fails_leaves_the_seat_file(attendee: Attendee, tmp_path: Path) -> None:
    room_in(attendee.cluster, tmp_path / "made-by-the-room")
    before = attendee.objects()
    attendee.join()
    start = f"PATCH /apis/{TOOLHIVE}/namespaces/{SPACE}/mcpservers"
    attendee.cluster.api.refusals.append(Refusal(start, 422, "exceeded quota: seat", times=9))
    with pytest.raises(WorkshopError, match="refused"):
        attendee.up()
    assert attendee.objects() == before
    assert seat_of(attendee.directory)


def test_a_secret_that_is_missing_is_named(attendee: Attendee) -> None:
    attendee.join()
    with pytest.raises(UsageError, match="has no `") as caught:
        attendee.up()
    assert "workshop room create monday" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"context": "other"}, "--context"),
        ({"namespace": "monday-08"}, "--namespace"),
        ({"install_operator": True}, "--install-operator"),
        ({"cluster_name": "mine"}, "--cluster-name"),
        ({"overrides": {"practice": "mine:1"}}, "--override"),
        ({"bundle": Path("x.bundle")}, "--bundle"),
        ({"until": "operator"}, "--until"),
        ({"backend": "kind"}, "--backend kind"),
        ({"backend": "embedded"}, "--backend embedded"),
        ({"upstream": "github"}, "--upstream github"),
    ],
)
def test_what_the_room_has_decided_is_refused_by_name_before_anything_is_tried(
    attendee: Attendee, options: dict[str, object], named: str
) -> None:
    attendee.join()
    asked = len(attendee.cluster.api.seen)
    with pytest.raises(UsageError) as caught:
        attendee.up(**options)
    assert caught.value.what == f"`{named}` does not apply to a seat of a room"
    assert len(attendee.cluster.api.seen) == asked


def test_a_variation_of_the_cluster_is_refused_before_anything_is_tried(attendee: Attendee) -> None:
    attendee.join()
    asked = len(attendee.cluster.api.seen)
    deployment = find_variation("prefix-gateway").deployment()
    assert deployment
    backend = backend_for("kubernetes", attendee.directory)
    with Console(attendee.shown, attendee.shown).progress() as progress:
        with pytest.raises(UsageError, match="`prefix-gateway` does not run in a seat") as caught:
            backend.apply([deployment], Choices("practice"), progress)
        assert backend.withdraw(progress) == ()
    assert "workshop --instance own part 4 run --variation prefix-gateway" in caught.value.hint
    assert len(attendee.cluster.api.seen) == asked


def test_each_missing_right_is_named_before_any_change(attendee: Attendee) -> None:
    seat = attendee.join()
    kube, api = attendee.cluster.kube, attendee.cluster.api
    everything = rights_in(seat_rules(alone=False))
    for absent in everything:
        api.rules = [
            {"apiGroups": [right.group], "resources": [right.resource], "verbs": [right.verb]}
            for right in everything
            if right != absent
        ]
        with pytest.raises(ForbiddenError) as caught:
            require_access(seat, kube)
        assert f"{absent.verb} {absent.resource}" in caught.value.why
        assert "workshop room create monday" in caught.value.hint
    assert [line for line in api.seen if not line.startswith(("GET ", "POST /apis/authorization"))] == []


def test_an_expired_token_names_what_the_facilitator_has_to_do(attendee: Attendee) -> None:
    attendee.join()
    attendee.give(hours=-1)
    for use in (attendee.join, lambda: _replaced(attendee)):
        with pytest.raises(CredentialsError, match="does not accept the token of seat 07") as caught:
            use()
        assert "It ended at " in caught.value.why
        assert "workshop room renew monday" in caught.value.hint
    (row,) = environment.status().workloads
    assert (row.state, "workshop room renew monday" in row.detail) == ("unhealthy", True)
    attendee.give()
    assert attendee.join().expires, "a newer file of the same seat replaces the old one"


def _replaced(attendee: Attendee) -> None:
    """`up` with a seat file that has expired since it was joined."""
    (attendee.directory / SEAT_FILE).write_bytes(attendee.file.read_bytes())
    attendee.up()


def test_a_refused_token_and_a_silent_cluster_are_our_errors(attendee: Attendee) -> None:
    attendee.cluster.api.refusals.append(Refusal("GET /version", 401, "Unauthorized", times=1))
    with pytest.raises(CredentialsError, match="token of seat 07") as refused:
        attendee.join()
    assert "the room was removed" in refused.value.why
    attendee.give(server="http://127.0.0.1:1")
    with pytest.raises(PreflightError, match="cluster of room `monday` does not answer") as silent:
        attendee.join()
    assert "facilitator" in silent.value.hint
    assert not attendee.directory.exists()


def test_whoever_has_a_seat_asks_the_facilitator_about_a_cluster_that_is_silent(attendee: Attendee) -> None:
    attendee.join()
    seat_file.write(attendee.directory / SEAT_FILE, seat_at("http://127.0.0.1:1"))
    backend = SeatBackend(attendee.directory, Runner(), ClusterChoices())
    with pytest.raises(PreflightError, match="cluster of room `monday` does not answer") as silent:
        backend.logs()
    assert "facilitator" in silent.value.hint
    seat_file.write(attendee.directory / SEAT_FILE, seat_at(attendee.server))


def test_a_cluster_without_toolhive_is_not_joined(attendee: Attendee) -> None:
    attendee.cluster.api.undefined.add(TOOLHIVE)
    with pytest.raises(PreflightError, match="ToolHive's definitions are missing"):
        attendee.join()


def test_an_instance_has_one_seat(attendee: Attendee) -> None:
    attendee.join()
    attendee.give(namespace="monday-08", seat="08")
    with pytest.raises(PreflightError, match="cannot be seat 08") as caught:
        attendee.join()
    assert caught.value.why == "It is seat 07 of room `monday`"
    assert "workshop --instance monday-08 join FILE" in caught.value.hint
    seat = seat_of(attendee.directory)
    assert seat
    assert seat.about.seat == "07"


def test_a_seat_that_is_joined_twice_runs_once_and_the_last_up_decides_the_ports(
    attendee: Attendee, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_in(attendee.cluster, tmp_path / "made-by-the-room")
    attendee.join()
    attendee.up()
    once = attendee.objects()
    second = Attendee(tmp_path / "second", attendee)
    with monkeypatch.context() as patch:
        patch.setenv("WORKSHOP_HOME", str(tmp_path / "second"))
        second.join()
        second.up()
        assert [each.split()[0] for each in second.objects()] == [each.split()[0] for each in once]
        assert issuer_of(attendee).endswith(f":{second.ports['github-remote']}")
        second.teardown()
    assert {"workshop", "github-remote"} <= set(attendee.up().started), "their pods are gone, and made again"
    assert issuer_of(attendee).endswith(f":{attendee.ports['github-remote']}")
    assert attendee.objects() == once


def issuer_of(attendee: Attendee) -> str:
    (auth,) = attendee.cluster.kube.list(TOOLHIVE, "MCPExternalAuthConfig", SPACE)
    return str(auth["spec"]["embeddedAuthServer"]["issuer"])


def test_an_instance_that_runs_without_a_room_does_not_join(attendee: Attendee) -> None:
    with pytest.raises(PreflightError, match="cannot be seat 07") as caught:
        join(attendee.file, attendee.directory, "embedded", Runner())
    assert caught.value.why == "It runs on the embedded backend"
    assert "workshop teardown" in caught.value.hint


def test_the_command_warns_of_a_file_that_others_can_read_and_never_shows_the_token(
    attendee: Attendee, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORKSHOP_BACKEND")
    monkeypatch.setenv("WORKSHOP_INSTANCE", "seven")
    quiet = workshop("join", str(attendee.file))
    assert (quiet.code, "Others on this machine" in quiet.err) == (0, False), quiet.err
    assert "You have seat 07 of room monday" in quiet.out
    assert "practice user is seat-07" in quiet.out
    attendee.file.chmod(0o644)
    warned = workshop("join", str(attendee.file), "--json")
    assert f"chmod 600 {attendee.file}" in warned.err
    data = json.loads(warned.out)["data"]
    assert (data["room"], data["practice"]) == ("monday", {"user": "seat-07", "namespace": "monday"})
    for secret in (seat_file.read(attendee.file).token, "k" * 64):
        assert secret not in quiet.out + quiet.err + warned.out + warned.err
    assert "workshop --instance rehearsal rehearse" in workshop("rehearse").err
    left = workshop("join", "--leave")
    assert (left.code, "has no seat any more" in left.out) == (0, True)
    assert not Instance.locate().directory.exists()
    assert workshop("join", "--leave").code == 2


@pytest.mark.parametrize("words", [(), ("x", "--leave"), ("/absent/file",), (os.devnull,)])
def test_the_command_without_a_usable_file_ends_in_a_few_lines(
    workshop: Workshop, words: tuple[str, ...]
) -> None:
    outcome = workshop("join", *words)
    assert outcome.code == 2
    assert 1 < len(outcome.err.strip().splitlines()) <= 6
