"""kubectl's commands, each against one named cluster."""

import json
from pathlib import Path

import pytest

from tests.lab.tools.fakes import FakeTools
from workshop.core.errors import PreflightError
from workshop.lab.tools.clusters import Access, Kubectl, skew_note
from workshop.lab.tools.run import Runner

AT = Access(Path("/state/kubeconfig"), "kind-workshop")
FLAGS = ["--kubeconfig", "/state/kubeconfig", "--context", "kind-workshop"]


def test_the_version_is_the_clients(fakes: FakeTools) -> None:
    told = {"clientVersion": {"gitVersion": "v1.32.4-dispatcher"}, "kustomizeVersion": "v5.5.0"}
    fakes.on("kubectl", "version", "--client", stdout=json.dumps(told))
    assert Kubectl(Runner()).examine() == (1, 32, 4)


@pytest.mark.parametrize("told", ['{"clientVersion": {"gitVersion": "v1.19.3"}}', "Client: what?", "{}"])
def test_a_client_that_is_too_old_or_unknown_is_refused(fakes: FakeTools, told: str) -> None:
    fakes.on("kubectl", "version", stdout=told)
    with pytest.raises(PreflightError, match="This version of kubectl does not work here"):
        Kubectl(Runner()).examine()


def test_a_command_names_kubeconfig_and_context() -> None:
    assert Kubectl.argv(AT, "get", "pods") == ["kubectl", *FLAGS, "get", "pods"]
    bare = Access(Path("/state/kubeconfig"))
    assert Kubectl.argv(bare, "version") == ["kubectl", "--kubeconfig", "/state/kubeconfig", "version"]


def test_a_port_forward_is_the_command_a_person_would_type() -> None:
    argv = Kubectl(Runner()).port_forward_argv(AT, "toolhive-system", "service/x", 8080, 80)
    assert argv == [
        "kubectl",
        *FLAGS,
        "--namespace",
        "toolhive-system",
        "port-forward",
        "service/x",
        "8080:80",
    ]


def test_a_manifest_is_fed_as_input(fakes: FakeTools) -> None:
    fakes.on("kubectl", "apply", reads=True)
    Runner().run(Kubectl.argv(AT, "apply", "--filename", "-"), seconds=60, stdin=b"kind: Pod")
    (call,) = fakes.calls()
    assert (call.argv, call.stdin) == (["kubectl", *FLAGS, "apply", "--filename", "-"], "kind: Pod")


@pytest.mark.parametrize(
    ("client", "server", "noted"),
    [
        ((1, 34, 1), (1, 34, 3), False),
        ((1, 33, 0), (1, 34, 3), False),
        ((1, 32, 4), (1, 34, 3), True),
        ((1, 36, 0), (1, 34, 0), True),
    ],
)
def test_a_skew_of_more_than_one_minor_version_is_noted(
    client: tuple[int, int, int],
    server: tuple[int, int, int],
    noted: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    assert bool(skew_note(client, server)) is noted
