"""Each finding is provoked on this machine: a wrong mode, a taken port, a drifted clock, a missing tool."""

import errno
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from workshop.cli.doctor import headline
from workshop.core import paths
from workshop.core.errors import PreflightError
from workshop.core.instance import Instance, Record
from workshop.core.ports import bind_loopback, free_port
from workshop.course import lessons
from workshop.course.doctor import Check, Finding, Machine, cluster, computer
from workshop.course.doctor.examine import before_up, examine, repair
from workshop.lab.tools.run import Runner


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path / "state"))
    (here / ".env").write_text("")
    (here / ".env").chmod(0o600)
    return Machine(Runner(), tmp_path / "state")


def found(check: Check, machine: Machine) -> dict[str, Finding]:
    return {finding.id: finding for finding in check(machine)}


def test_secrets_that_others_can_read_are_reported_and_the_file_is_mended(machine: Machine) -> None:
    Path(".env").chmod(0o644)
    assert list(computer.readers(machine)) == [], "there is nothing in it yet"
    Path(".env").write_text("OPENAI_API_KEY=not-a-real-key\n")
    findings = list(examine(machine, [computer.readers]))
    assert [(finding.severity, finding.fixable) for finding in findings] == [("warn", True)]
    assert "Other users can read" in before_up(machine)[0]
    assert repair(findings)
    assert Path(".env").stat().st_mode & 0o777 == 0o600
    assert list(computer.readers(machine)) == []


def test_a_damaged_env_file_fails_without_showing_its_line(machine: Machine) -> None:
    Path(".env").write_text("OPENAI_API_KEY='not-a-real-key\n")
    finding = found(computer.env_file, machine)["env-file"]
    assert finding.severity == "fail"
    assert "not-a-real-key" not in repr(finding)
    assert before_up(machine) == [], "`up` itself tells it"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_an_env_file_that_git_would_take_is_reported(machine: Machine) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", *words], check=True, capture_output=True)

    git("init")
    assert found(computer.git_ignored, machine)["env-git"].severity == "warn"
    Path(".gitignore").write_text(".env\n")
    assert found(computer.git_ignored, machine)["env-git"].severity == "ok"
    git("add", "--force", ".env")
    assert found(computer.git_ignored, machine)["env-git"].severity == "fail"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", {"oauth-app": "info", "model": "info"}),
        ("GITHUB_OAUTH_CLIENT_ID=abc\n", {"oauth-app": "warn", "model": "info"}),
        ("OPENAI_BASE_URL=http://localhost:1/v1\n", {"oauth-app": "info", "model": "fail"}),
        (
            "GITHUB_OAUTH_CLIENT_ID=a\nGITHUB_OAUTH_CLIENT_SECRET=b\nOPENAI_API_KEY=c\nWORKSHOP_MODEL=d\n",
            {"oauth-app": "ok", "model": "ok"},
        ),
    ],
)
def test_settings_are_reported_by_name(machine: Machine, text: str, told: dict[str, str]) -> None:
    Path(".env").write_text(text)
    assert {name: finding.severity for name, finding in found(computer.keys, machine).items()} == told


def test_a_taken_port_names_who_has_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    free, taken = free_port(), free_port()
    monkeypatch.setattr(computer, "_PORTS", {free: "workshop", taken: "github-remote"})
    listeners = bind_loopback(taken)
    findings = found(computer.ports, machine)
    for listener in listeners:
        listener.close()
    assert findings[f"port-{free}"].severity == "ok"
    assert findings[f"port-{taken}"].severity == "warn"
    assert f"pid {os.getpid()}" in findings[f"port-{taken}"].found


def test_a_state_directory_that_cannot_be_made_fails(machine: Machine) -> None:
    machine.home.write_text("a file is in the way")
    with pytest.raises(PreflightError, match="cannot be written"):
        before_up(machine)
    assert found(computer.state_directory, machine)["state-directory"].severity == "fail"


def test_a_state_directory_others_can_enter_is_mended(machine: Machine) -> None:
    machine.home.mkdir(mode=0o755)
    machine.home.chmod(0o755)
    assert repair(list(computer.state_directory(machine)))
    assert machine.home.stat().st_mode & 0o777 == 0o700
    assert before_up(machine) == []


def test_what_the_package_asks_for_is_installed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(computer.packages, machine)["packages"].severity == "ok"
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ["no-such-package>=1", "rich>=15"])
    assert found(computer.packages, machine)["packages"].found == "Not installed: no-such-package"


@pytest.mark.parametrize(("wanted", "severity"), [(False, "info"), (True, "fail")])
def test_missing_cluster_tools_matter_only_when_a_cluster_is_wanted(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, wanted: bool, severity: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    looked = Machine(machine.runner, machine.home, cluster=wanted)
    findings = {**found(cluster.engine, looked), **found(cluster.tools, looked)}
    assert {name: finding.severity for name, finding in findings.items()} == dict.fromkeys(
        ("docker-absent", "kind", "kubectl", "helm"), severity
    )
    assert all(finding.remedy for finding in findings.values())


@pytest.mark.parametrize(("minor", "told"), [(30, True), (34, False)])
def test_a_kubectl_far_from_the_clusters_version_is_reported(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, minor: int, told: bool
) -> None:
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    version = json.dumps({"clientVersion": {"gitVersion": f"v1.{minor}.1"}})
    program.write_text(f"#!/bin/sh\necho '{version}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    findings = found(cluster.tools, machine)
    assert findings["kubectl"].found == f"kubectl 1.{minor}.1"
    assert ("kubectl-skew" in findings) is told


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A `docker` that answers these words with these texts."""

    def answer(**texts: str) -> None:
        info = {"OperatingSystem": "Debian", "Architecture": "x86_64", "MemTotal": 8 << 30, "NCPU": 4}
        answers = {
            "version": json.dumps({"Server": {"Version": "28.2.2", "ApiVersion": "1.50", "Arch": "amd64"}}),
            "info": json.dumps(info),
            "context": json.dumps({"Name": "default", "Endpoints": {}}),
            "time": datetime.now(UTC).isoformat(),
            "network": "[]",
            **texts,
        }
        program = tmp_path / "bin" / "docker"
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            f"#!{sys.executable}\nimport sys\nanswers = {answers!r}\n"
            "words = sys.argv[1:]\n"
            "key = 'time' if 'SystemTime' in words[-1] else words[0]\n"
            "print('bridge0' if words[:2] == ['network', 'ls'] else answers[key])\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    return answer


def test_a_drifted_clock_fails(machine: Machine, docker: Callable[..., None]) -> None:
    docker()
    assert found(cluster.clock, machine)["clock"].severity == "ok"
    docker(time=(datetime.now(UTC) - timedelta(hours=2)).isoformat())
    assert found(cluster.clock, machine)["clock"].severity == "fail"


def test_an_engine_that_answers_is_described(machine: Machine, docker: Callable[..., None]) -> None:
    docker()
    assert found(cluster.engine, machine)["docker"].found.endswith("linux/amd64, 4 CPUs, 8.0 GiB")


def test_a_network_that_overlaps_a_vpn_is_reported(
    machine: Machine, docker: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    docker(network=json.dumps([{"Name": "kind", "IPAM": {"Config": [{"Subnet": "172.18.0.0/16"}]}}]))
    own = next(
        iter(
            cluster._docker_networks(
                json.dumps([{"Name": "x", "IPAM": {"Config": [{"Subnet": "172.18.4.0/24"}]}}])
            )
        )
    )[1]
    monkeypatch.setattr(cluster, "_own_networks", lambda: iter([("tun0", own)]))
    assert "overlaps `tun0`" in found(cluster.subnets, machine)["subnets"].found
    monkeypatch.setattr(cluster, "_own_networks", lambda: iter(()))
    assert found(cluster.subnets, machine) == {}


def test_a_proxy_that_swallows_localhost_is_reported(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "https_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    assert found(computer.proxy, machine)["proxy"].severity == "warn"
    monkeypatch.setenv("NO_PROXY", "example.org, localhost")
    assert found(computer.proxy, machine)["proxy"].severity == "ok"


@pytest.fixture
def tls_port(tmp_path: Path) -> Iterator[int]:
    """A server whose certificate nobody here believes: what a proxy that opens TLS looks like."""
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1",
         "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("openssl cannot make a certificate here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    port = free_port()
    listeners = bind_loopback(port)

    def answer(listener: socket.socket) -> None:
        try:
            with listener.accept()[0] as plain, context.wrap_socket(plain, server_side=True):
                pass
        except OSError:
            return

    threads = [threading.Thread(target=answer, args=(listener,), daemon=True) for listener in listeners]
    for thread in threads:
        thread.start()
    yield port
    for listener in listeners:
        listener.close()


def test_the_registry_is_asked_only_online_and_its_certificate_is_judged(
    machine: Machine, tls_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_REGISTRY_MIRROR", f"https://localhost:{tls_port}")
    assert found(computer.registry, machine) == {}
    online = Machine(machine.runner, machine.home, online=True)
    assert found(computer.registry, online)["registry-tls"].severity == "fail"
    silent = free_port()
    monkeypatch.setenv("WORKSHOP_REGISTRY_MIRROR", f"https://localhost:{silent}")
    finding = found(computer.registry, online)["registry"]
    assert finding.severity == "info"
    assert finding.found == f"localhost:{silent} does not answer: {os.strerror(errno.ECONNREFUSED)}"


def test_it_reports_whether_a_proxy_reads_documents_about_clients(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = tmp_path / "parts"
    shutil.copytree(paths.parts_dir() / "04_remote_oauth", parts / "04_remote_oauth")
    monkeypatch.setattr(lessons, "parts_dir", lambda: parts)
    assert found(computer.client_documents, machine) == {}, "nothing is up"
    Instance.load().save(Record("embedded", "practice"))
    finding = found(computer.client_documents, machine)["client-documents"]
    assert (finding.severity, finding.found) == (
        "info",
        "Clients of part 4 register; `cimd` in the manifest decides",
    )
    manifest = parts / "04_remote_oauth" / "toolhive" / "auth.yaml"
    enabled = manifest.read_text("utf-8").replace("storage: {type: memory}", "cimd: {enabled: true}")
    manifest.write_text(enabled, encoding="utf-8")
    assert "needs the internet" in found(computer.client_documents, machine)["client-documents"].found


def test_a_check_that_breaks_is_a_finding_too(machine: Machine) -> None:
    def broken(_: Machine) -> Iterator[Finding]:
        raise OSError("no such device")
        yield

    assert [(one.id, one.severity) for one in examine(machine, [broken])] == [("broken", "info")]


def test_the_command_tells_a_person_and_a_program_the_same(machine: Machine) -> None:
    Path(".env").write_text("=\n")
    done = subprocess.run(
        [sys.executable, "-m", "workshop", "doctor", "--json"], capture_output=True, text=True, check=False
    )
    told = json.loads(done.stdout)
    assert (done.returncode, told["command"], told["status"]) == (3, "doctor", "error")
    assert {one["id"]: one["severity"] for one in told["data"]["findings"]}["env-file"] == "fail"
    Path(".env").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "workshop", "doctor"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.startswith("Ready: ")) == (0, True)


def test_all_is_advised_only_to_those_who_have_not_typed_it() -> None:
    advice = "; `--all` shows each"
    assert headline(["ok", "warn"], show_all=False) == f"Ready: 2 checks, 1 with a warning{advice}"
    assert headline(["ok", "warn"], show_all=True) == "Ready: 2 checks, 1 with a warning"


@pytest.mark.parametrize(("encoding", "severity"), [("utf-8", "ok"), ("iso8859-15", "warn")])
def test_the_encoding_is_that_of_the_real_terminal(
    encoding: str, severity: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Progress puts a stand-in in the place of stderr, which has no encoding."""
    from rich.console import Console
    from rich.file_proxy import FileProxy

    monkeypatch.setenv("COLUMNS", "100")
    controller, terminal = os.openpty()
    with os.fdopen(terminal, "w", encoding=encoding) as real:
        monkeypatch.setattr(sys, "__stderr__", real)
        monkeypatch.setattr(sys, "stderr", FileProxy(Console(file=real), real))
        finding = found(computer.terminal, machine)["terminal"]
    os.close(controller)
    assert finding.severity == severity
    assert encoding in finding.found


def test_localhost_and_each_variable_of_the_network_are_judged(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found(computer.localhost, machine)["localhost"].severity == "ok"
    monkeypatch.setenv("ALL_PROXY", "socks://proxy")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    findings = found(computer.variables, machine)
    assert findings["all-proxy"].severity == findings["ssl-cert-file"].severity == "warn"
    monkeypatch.setattr("workshop.course.doctor.computer.localhost_problem", lambda: "`localhost` leads away")
    assert found(computer.localhost, machine)["localhost"].severity == "fail"
    Path(".env").write_text("OPENAI_APIKEY=not-shown\n")
    (unknown,) = computer.unknown_keys(machine)
    assert unknown.remedy == "Did you mean OPENAI_API_KEY?"
    assert "not-shown" not in repr(unknown)
