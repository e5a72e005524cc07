"""A real Helm: nobody's login is sent to a public registry, and interrupted releases are healed.

Helm is taken from the PATH or from where `go install` puts it (`helm`, `helm3`). The tests with a cluster run
where WORKSHOP_TEST_KUBECONFIG names one whose API server answers; no node is needed.
"""

import base64
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.lab.tools.fakes import FakeTools
from tests.lab.tools.oci_registry import Registry, chart_archive, registry
from tests.lab.tools.real import real_program
from tests.lab.tools.waiting import until
from workshop.core.errors import WorkshopError
from workshop.lab.tools.clusters import Access, Helm
from workshop.lab.tools.run import Runner

CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: demo}\ndata: {word: '{{ .Values.word }}'}\n"
NEVER_DONE = """
---
apiVersion: batch/v1
kind: Job
metadata: {name: never, annotations: {"helm.sh/hook": "pre-install,pre-upgrade"}}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: never, image: registry.invalid/never}]}
"""


@pytest.fixture(params=["helm", "helm3"])
def program(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each version of Helm that is here, as `helm` on the PATH."""
    found = real_program(request.param)
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "helm").symlink_to(found)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return found


@pytest.fixture
def oci(tmp_path: Path) -> Iterator[Registry]:
    folder = tmp_path / "registry"
    folder.mkdir()
    with registry(folder) as found:
        yield found


@pytest.fixture
def cluster() -> Access:
    path = os.environ.get("WORKSHOP_TEST_KUBECONFIG")
    if not path:
        pytest.skip("WORKSHOP_TEST_KUBECONFIG names no cluster")
    return Access(Path(path))


@pytest.fixture
def namespace(cluster: Access) -> Iterator[str]:
    name = f"workshop-test-{uuid4().hex[:8]}"
    yield name
    argv = ["kubectl", *cluster.flags("--context"), "delete", "namespace", name, "--ignore-not-found"]
    subprocess.run([*argv, "--wait=false"], check=False, capture_output=True)


def test_a_real_helm_is_in_range(program: str, tmp_path: Path) -> None:
    assert Helm(Runner(), tmp_path).examine()[0] in {3, 4}


def test_a_public_chart_is_pulled_although_stale_logins_lie_about(
    program: str, oci: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = {oci.host: {"auth": base64.b64encode(b"me:stale").decode()}}
    home = tmp_path / "home"
    for folder in (home / ".docker", home / ".config" / "helm" / "registry"):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"auths": login}))
    monkeypatch.setenv("HOME", str(home))
    keychain = FakeTools(tmp_path / "keychain", monkeypatch, alone=False)
    for name in ("pass", "docker-credential-pass", "docker-credential-secretservice"):
        stored = {"ServerURL": oci.host, "Username": "me", "Secret": "stale"}
        keychain.on(name, stdout=json.dumps(stored))
    archive = Helm(Runner(), tmp_path / "helm", oci.ca_file).pull(oci.chart, "0.1.0", tmp_path / "charts")
    assert archive.read_bytes() == (tmp_path / "registry" / "demo.tgz").read_bytes()
    assert oci.logins == []
    assert keychain.calls() == []


def test_a_registry_with_a_foreign_certificate_is_reported_with_a_hint(
    program: str, oci: Registry, tmp_path: Path
) -> None:
    with pytest.raises(WorkshopError) as caught:
        Helm(Runner(), tmp_path / "helm").pull(oci.chart, "0.1.0", tmp_path / "charts")
    assert "ca-file" in caught.value.hint


def test_a_version_that_does_not_exist_fails(program: str, tmp_path: Path) -> None:
    with pytest.raises(WorkshopError, match="helm pull"):
        Helm(Runner(), tmp_path / "helm").pull("oci://127.0.0.1:1/none", "9.9.9", tmp_path)


def test_a_cluster_out_of_reach_is_an_error_and_not_an_absent_release(program: str, tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n"
        "contexts: [{name: c, context: {cluster: c}}]\n"
    )
    with pytest.raises(WorkshopError, match="helm history"):
        Helm(Runner(), tmp_path / "helm").status("demo", "default", Access(config))


def test_a_release_is_installed_upgraded_and_uninstalled(
    program: str, cluster: Access, namespace: str, tmp_path: Path
) -> None:
    helm = Helm(Runner(), tmp_path / "helm")
    values = tmp_path / "values.yaml"
    values.write_text("word: ours\n")
    chart = str(chart_archive(tmp_path / "demo.tgz", CONFIG_MAP))
    assert helm.status("demo", namespace, cluster) is None
    for revision in (1, 2):
        helm.upgrade("demo", chart, namespace, version="0.1.0", values=[values], at=cluster, seconds=60)
        found = helm.status("demo", namespace, cluster)
        assert found is not None
        assert (found.status, found.revision, found.chart) == ("deployed", revision, "demo-0.1.0")
    assert helm.uninstall("demo", namespace, cluster) is True
    assert helm.uninstall("demo", namespace, cluster) is False
    assert helm.status("demo", namespace, cluster) is None


@pytest.mark.parametrize("installed", [False, True], ids=["install", "upgrade"])
def test_an_operation_that_was_killed_is_healed(
    program: str, cluster: Access, namespace: str, tmp_path: Path, *, installed: bool
) -> None:
    helm = Helm(Runner(), tmp_path / "helm")
    good = str(chart_archive(tmp_path / "good.tgz", CONFIG_MAP))
    stuck = str(chart_archive(tmp_path / "stuck.tgz", CONFIG_MAP + NEVER_DONE, "0.2.0"))
    if installed:
        helm.upgrade("demo", good, namespace, version="", values=[], at=cluster, seconds=60)
    argv = helm.upgrade_argv("demo", stuck, namespace, version="", values=[], at=cluster)
    env = {**os.environ, **{name: value for name, value in helm.environment().items() if value}}
    process = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pending = "pending-upgrade" if installed else "pending-install"
    until(lambda: (found := helm.status("demo", namespace, cluster)) is not None and found.status == pending)
    process.send_signal(signal.SIGKILL)
    process.wait()
    helm.upgrade("demo", good, namespace, version="", values=[], at=cluster, seconds=60)
    found = helm.status("demo", namespace, cluster)
    assert found is not None
    assert (found.status, found.chart) == ("deployed", "demo-0.1.0")
