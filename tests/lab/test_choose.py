"""Which backend `up` takes, and the reason it gives."""

from pathlib import Path

import pytest

from tests.lab.cluster.fake_tools import FakeMachine
from workshop.core.errors import PreflightError, UsageError
from workshop.lab.base import ClusterChoices
from workshop.lab.choose import check_options, choose, existing_backend, forgotten_cluster
from workshop.lab.cluster.record import ClusterFile, ClusterRecord
from workshop.lab.tools.run import Runner


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    """A machine with all four programs, and Docker running; nothing else is on its PATH."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    made = FakeMachine.install(tmp_path, monkeypatch, "{}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return made


def test_kind_is_taken_where_docker_answers_and_the_tools_are_here(machine: FakeMachine) -> None:
    assert choose(None, None, Runner()).summary == "Kind backend (Docker answers)"


@pytest.mark.parametrize(
    ("absent", "told"),
    [
        (["kind"], "kind is not installed"),
        (["kind", "helm"], "kind and helm are not installed"),
        (["kind", "helm", "kubectl"], "kind, helm and kubectl are not installed"),
        (["docker"], "docker is not installed"),
    ],
)
def test_the_embedded_backend_is_taken_where_a_tool_is_missing(
    machine: FakeMachine, absent: list[str], told: str
) -> None:
    for name in absent:
        (machine.folder.parent / "bin" / name).unlink()
    assert choose(None, None, Runner()).summary == f"Embedded backend ({told})"


def test_the_embedded_backend_is_taken_where_docker_does_not_run(machine: FakeMachine) -> None:
    machine.add("stopped", "docker")
    told = choose(None, None, Runner()).summary
    assert told == "Embedded backend (Docker is installed, but its engine is not running)"


def test_what_is_asked_for_or_up_is_taken_without_a_look(machine: FakeMachine) -> None:
    assert choose("embedded", None, Runner()).summary == "Embedded backend (as requested)"
    assert choose(None, "embedded", Runner()).summary == "Embedded backend (as before)"
    assert choose("kind", "kind", Runner()).name == "kind"
    assert machine.calls() == []


def test_another_backend_than_the_one_that_is_up_asks_for_a_teardown() -> None:
    with pytest.raises(PreflightError, match="The embedded backend is up") as caught:
        choose("kind", "embedded", Runner())
    assert caught.value.hint == "Run `workshop teardown`, then `workshop up --backend kind`"


@pytest.mark.parametrize(
    ("backend", "choices", "option"),
    [
        ("embedded", ClusterChoices(keep=True), "--keep"),
        ("embedded", ClusterChoices(bundle=Path("b")), "--bundle"),
        ("embedded", ClusterChoices(context="x"), "--context"),
        ("kind", ClusterChoices(namespace="x"), "--namespace"),
        ("kind", ClusterChoices(install_operator=True), "--install-operator"),
        ("kubernetes", ClusterChoices(bundle=Path("b")), "--bundle"),
    ],
)
def test_an_option_of_another_backend_is_refused_by_name(
    backend: str, choices: ClusterChoices, option: str
) -> None:
    with pytest.raises(UsageError, match=f"`{option}` does not apply to the {backend} backend"):
        check_options(backend, choices)  # type: ignore[arg-type]  # the parameters are backends' names


def test_a_cluster_whose_first_up_has_not_finished_is_gone_on_with(tmp_path: Path) -> None:
    assert existing_backend(tmp_path, None) is None
    ClusterFile(tmp_path).write(ClusterRecord("kind", "ab12", "workshop", "toolhive-system"))
    assert existing_backend(tmp_path, None) == "kind"
    assert existing_backend(tmp_path, "embedded") == "embedded"


def test_a_cluster_whose_state_is_lost_is_named_with_its_command(machine: FakeMachine) -> None:
    assert forgotten_cluster(Runner()) == ""
    machine.add("clusters", "workshop")
    assert forgotten_cluster(Runner()) == "kind delete cluster --name workshop"
    machine.fail("kind get")
    assert forgotten_cluster(Runner()) == ""


def test_what_was_made_is_on_disk_before_it_is_made_and_forgotten_after(tmp_path: Path) -> None:
    file = ClusterFile(tmp_path)
    file.write(ClusterRecord("kind", "ab12", "workshop", "toolhive-system"))
    file.creating("cluster")
    file.creating("cluster")
    file.installed("cluster", "node:1")
    known = ClusterFile(tmp_path).read()
    assert known
    assert known.made == ("cluster",)
    assert known.installed == {"cluster": "node:1"}
    file.removed("cluster")
    known = file.read()
    assert known
    assert (known.made, known.installed) == ((), {})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"backend": "kind", "strange": 1}', "\x00"])
def test_a_damaged_record_of_a_cluster_is_refused_with_the_way_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "cluster.json").write_text(text)
    with pytest.raises(UsageError, match="record of the cluster") as caught:
        ClusterFile(tmp_path).read()
    assert "teardown" in caught.value.hint
