"""Helm's commands: a home of their own, and healed before they go on."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.lab.tools.fakes import FakeTools
from workshop.core.errors import PreflightError, WorkshopError
from workshop.lab.tools.clusters import Access, Helm, Release
from workshop.lab.tools.run import Runner

AT = Access(Path("/state/kubeconfig"), "kind-workshop")
FLAGS = ["--kubeconfig", "/state/kubeconfig", "--kube-context", "kind-workshop"]
CHART = "oci://ghcr.io/stacklok/toolhive/toolhive-operator"


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    return Helm(Runner(), tmp_path / "helm")


def history(status: str, revision: int = 1) -> str:
    return json.dumps([{"revision": revision, "status": status, "chart": "toolhive-operator-0.63.0"}])


def pending(seconds_ago: float) -> str:
    """A history as Helm 3 prints it, of an install that has not come to its end."""
    updated = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    told = {"revision": 1, "status": "pending-install", "chart": "toolhive-operator-0.63.0"}
    return json.dumps([{**told, "updated": f"{updated:%Y-%m-%dT%H:%M:%S.%f}789Z"}])


def upgrade(
    helm: Helm, chart: str = CHART, patience: float = 0.0, note: Callable[[str], None] = lambda _: None
) -> None:
    values = [Path("/c/a.yaml"), Path("/c/b.yaml")]
    given = {"version": "0.63.0", "values": values, "at": AT, "seconds": 90.0}
    helm.upgrade("op", chart, "ns", **given, patience=patience, note=note)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "version"), [("v3.10.0", (3, 10, 0)), ("v3.22", (3, 22, 0)), ("v4.3.1", (4, 3, 1))]
)
def test_versions_in_range_serve(
    fakes: FakeTools, helm: Helm, told: str, version: tuple[int, int, int]
) -> None:
    fakes.on("helm", "version", stdout=told)
    assert helm.examine() == version


@pytest.mark.parametrize("told", ["v3.9.4", "v2.17.0", "v5.0.0", "<no value>"])
def test_other_versions_are_refused(fakes: FakeTools, helm: Helm, told: str) -> None:
    fakes.on("helm", "version", stdout=told)
    with pytest.raises(PreflightError) as caught:
        helm.examine()
    assert told in caught.value.what


def test_nothing_of_the_persons_helm_is_used(
    fakes: FakeTools, helm: Helm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = ("HELM_KUBETOKEN", "HELM_NAMESPACE", "HELM_REGISTRY_CONFIG", "HELM_DRIVER")
    for name in foreign:
        monkeypatch.setenv(name, "theirs")
    fakes.on("helm", "version", stdout="v3.22.0")
    helm.examine()
    (call,) = fakes.calls()
    assert not [name for name in foreign if name in call.env]
    home = tmp_path / "helm"
    assert call.env["HELM_CONFIG_HOME"] == str(home / "config")
    assert call.env["DOCKER_CONFIG"] == str(home / "config" / "registry")
    logins = json.loads((home / "config" / "registry" / "config.json").read_text())
    assert list(logins["auths"].values()) == [{}]


def test_a_chart_is_fetched_once(fakes: FakeTools, helm: Helm, tmp_path: Path) -> None:
    folder = tmp_path / "charts"
    writes = "open(argv[argv.index('--destination') + 1] + '/toolhive-operator-0.63.0.tgz', 'w').write('x')"
    fakes.on("helm", "pull", does=writes)
    archive = helm.pull(CHART, "0.63.0", folder)
    assert archive == folder / "toolhive-operator-0.63.0.tgz"
    assert helm.pull(CHART, "0.63.0", folder) == archive
    assert fakes.argvs() == [["helm", "pull", CHART, "--version", "0.63.0", "--destination", str(folder)]]


def test_a_chart_that_is_here_already_is_not_fetched(fakes: FakeTools, helm: Helm, tmp_path: Path) -> None:
    assert helm.pull("/bundle/op.tgz", "0.63.0", tmp_path) == Path("/bundle/op.tgz")
    assert fakes.calls() == []


def test_a_ca_file_is_trusted_where_a_registry_is_asked(fakes: FakeTools, tmp_path: Path) -> None:
    helm = Helm(Runner(), tmp_path, ca_file=Path("/ca.pem"))
    given = {"version": "1", "at": AT, "values": ()}
    assert helm.pull_argv(CHART, "1", tmp_path)[-2:] == ["--ca-file", "/ca.pem"]
    assert "--ca-file" in helm.upgrade_argv("op", CHART, "ns", **given)  # type: ignore[arg-type]
    assert "--ca-file" not in helm.upgrade_argv("op", "/c.tgz", "ns", **given)  # type: ignore[arg-type]


def test_a_chart_is_fetched_through_the_proxy_and_a_cluster_is_asked_without(
    fakes: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    helm = Helm(Runner(), tmp_path, proxy={"HTTPS_PROXY": "http://proxy.example:3128"})
    fakes.on("helm", "pull")
    fakes.on("helm", "history", stdout=history("deployed"))
    helm.pull(CHART, "0.63.0", tmp_path / "charts")
    helm.status("op", "ns", AT)
    pulled, asked = fakes.calls()
    assert pulled.env["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert "HTTPS_PROXY" not in asked.env


def test_the_status_is_that_of_the_last_revision(fakes: FakeTools, helm: Helm) -> None:
    fakes.on("helm", "history", stdout=history("deployed", 3))
    found = helm.status("op", "ns", AT)
    assert found == Release("deployed", 3, "toolhive-operator-0.63.0")
    (argv,) = fakes.argvs()
    assert argv == ["helm", "history", "op", "--namespace", "ns", "--max", "1", "--output", "json", *FLAGS]


def test_no_release_is_none_and_no_answer_is_an_error(fakes: FakeTools, helm: Helm) -> None:
    fakes.on("helm", "history", stderr="Error: release: not found\n", code=1)
    assert helm.status("op", "ns", AT) is None
    fakes.on("helm", "history", stderr="Error: Kubernetes cluster unreachable: dial tcp\n", code=1)
    with pytest.raises(WorkshopError, match="helm history op"):
        helm.status("op", "ns", AT)
    fakes.on("helm", "history", stdout="[]")
    with pytest.raises(WorkshopError, match="unexpected"):
        helm.status("op", "ns", AT)


def test_an_install_neither_waits_nor_rolls_back(fakes: FakeTools, helm: Helm) -> None:
    fakes.on("helm", "history", stderr="Error: release: not found\n", code=1)
    fakes.on("helm", "upgrade")
    upgrade(helm)
    assert fakes.argvs()[-1] == [
        *("helm", "upgrade", "op", CHART, "--install", "--namespace", "ns", "--create-namespace"),
        *(
            "--version",
            "0.63.0",
            "--values",
            "/c/a.yaml",
            "--values",
            "/c/b.yaml",
            *FLAGS,
            "--timeout",
            "90s",
        ),
    ]


def test_a_local_chart_is_installed_without_a_version(fakes: FakeTools, helm: Helm) -> None:
    fakes.on("helm", stdout=history("deployed"))
    upgrade(helm, "/bundle/op.tgz")
    assert "--version" not in fakes.argvs()[-1]


@pytest.mark.parametrize(
    ("status", "healed"),
    [
        (
            "pending-install",
            ["helm", "uninstall", "op", "--namespace", "ns", *FLAGS, "--wait", "--timeout", "120s"],
        ),
        (
            "uninstalling",
            ["helm", "uninstall", "op", "--namespace", "ns", *FLAGS, "--wait", "--timeout", "120s"],
        ),
        ("pending-upgrade", ["helm", "rollback", "op", "--namespace", "ns", *FLAGS]),
        ("pending-rollback", ["helm", "rollback", "op", "--namespace", "ns", *FLAGS]),
    ],
)
def test_an_interrupted_operation_is_healed_first(
    fakes: FakeTools, helm: Helm, status: str, healed: list[str]
) -> None:
    fakes.on("helm")
    fakes.on("helm", "history", stdout=history(status, 2))
    upgrade(helm)
    assert [argv[1] for argv in fakes.argvs()] == ["history", healed[1], "upgrade"]
    assert fakes.argvs()[1] == healed


def test_what_somebody_else_is_still_at_work_on_is_left_alone(fakes: FakeTools, tmp_path: Path) -> None:
    """Shared with others, a pending operation counts as interrupted only once it is old."""
    helm = Helm(Runner(), tmp_path / "helm", look_seconds=0.01)
    fakes.on("helm")
    fakes.on("helm", "history", stdout=history("deployed"))
    fakes.on("helm", "history", stdout=pending(seconds_ago=5), times=2)
    told: list[str] = []
    upgrade(helm, patience=86_400, note=told.append)
    assert [argv[1] for argv in fakes.argvs()] == ["history", "history", "history", "upgrade"]
    assert told == ["op is pending-install, by another Helm command: waiting up to 86400 s"] * 2


def test_what_has_been_pending_for_too_long_is_healed(fakes: FakeTools, helm: Helm) -> None:
    fakes.on("helm")
    fakes.on("helm", "history", stdout=pending(seconds_ago=90_000))
    upgrade(helm, patience=86_400)
    assert [argv[1] for argv in fakes.argvs()] == ["history", "uninstall", "upgrade"]


@pytest.mark.parametrize("status", ["deployed", "failed", "superseded"])
def test_a_settled_release_is_upgraded_as_it_is(fakes: FakeTools, helm: Helm, status: str) -> None:
    fakes.on("helm", stdout=history(status))
    upgrade(helm)
    assert [argv[1] for argv in fakes.argvs()] == ["history", "upgrade"]


def test_uninstalling_what_is_not_there_is_no_error(fakes: FakeTools, helm: Helm) -> None:
    fakes.on("helm", "uninstall", stdout='release "op" uninstalled')
    assert helm.uninstall("op", "ns", AT) is True
    said = "Error: uninstall: Release not loaded: op: release: not found\n"
    fakes.on("helm", "uninstall", stderr=said, code=1)
    assert helm.uninstall("op", "ns", AT) is False
    fakes.on("helm", "uninstall", stderr="Error: connection refused\n", code=1)
    with pytest.raises(WorkshopError, match="helm uninstall op"):
        helm.uninstall("op", "ns", AT)
