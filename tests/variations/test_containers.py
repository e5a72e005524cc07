"""Each server from the example in *Use it for real*, in a container and in a pod, without rights, behind TLS.

The image is built here, so the packages must be installable. Skips without a Docker engine on this machine;
the pods' tests skip without kind and kubectl too.
"""

import json
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.variations.edge import Edge
from tests.variations.prefix_gateway import Upstream
from tests.variations.real import Served, Way, running, visitor
from tests.variations.real_elicitation import real_world as elicitation_world
from tests.variations.test_deployment import DOCKERFILE
from tests.variations.test_deployment import FOLDER as VARIATIONS
from tests.variations.test_for_real import ask_fastmcp, by_our_agent, gateway_site, tools_site
from tests.variations.test_worker_real import real_world as worker_world
from workshop.agent.token_store import TokenStore
from workshop.core.errors import WorkshopError
from workshop.core.paths import checkout_dir
from workshop.core.ports import bind_at, free_port
from workshop.lab.cluster.recipes import Recipe, build_arguments, build_network
from workshop.lab.pins import Pins

pytestmark = [pytest.mark.kind, pytest.mark.timeout(900)]
IMAGE, AUTHORITY = "workshop/serve:0.1.0", "/etc/authority.pem"
_BUILD_SECONDS = 600
_RIGHTS = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")
# What the image's first lines and the README of elicitation ask for.
_HEAD = 'host = "0.0.0.0"\n'
_SET_UP = 'state = "/var/lib/workshop/construct-state.json"\noutput = "/var/lib/workshop/config.json"\n'
_CONSTRUCT = "/src/parts/04_remote_oauth/variations/elicitation/construct.py"
_GATEWAYS = "{{range .IPAM.Config}}{{.Gateway}} {{end}}"
_NO_RIGHTS = "id -u; grep -E '^(CapEff|NoNewPrivs)' /proc/1/status; touch /etc/workshop/x /src/x /x; true"


def call(*argv: str, seconds: float = 60, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds, input=given, check=False)
    assert done.returncode == 0, f"{argv[:3]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done


def gateway_of(network: str) -> str:
    """The address of this machine at which the containers of a network reach it; skips where it has none."""
    found = call("docker", "network", "inspect", network, "--format", _GATEWAYS).stdout.split()
    address = next(each for each in found if "." in each)
    try:
        for sock in bind_at(address, free_port()):
            sock.close()
    except WorkshopError as error:
        pytest.skip(f"Docker's network is not this machine's: {error.what}")
    return address


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image, from the files that its Dockerfile copies: not every builder reads its ignore file."""
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    asked = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=60, check=False)
    if asked.returncode:
        pytest.skip(f"Docker does not answer: {asked.stderr.strip()}")
    root, context = checkout_dir(), tmp_path_factory.mktemp("context")
    assert root is not None
    for name in " ".join(re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE)).split():
        if (root / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".env")
            shutil.copytree(root / name, context / name, ignore=ignored)
        else:
            shutil.copy2(root / name, context / name)
    pins, file = Pins.load(), VARIATIONS / "Dockerfile"
    arguments = build_arguments(Recipe(IMAGE, pins.python, file, {}, "PYTHON_IMAGE"), pins)
    words = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    network = [f"--network={build_network()}"] if build_network() else []
    words += [f"--tag={IMAGE}", f"--file={file}", str(context)]
    call("docker", "build", *network, *words, seconds=_BUILD_SECONDS)
    return IMAGE


@pytest.fixture(scope="module")
def kubectl(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """The beginning of a kubectl command for a new cluster whose node has the image."""
    absent = [name for name in ("kind", "kubectl") if shutil.which(name) is None]
    if absent:
        pytest.skip(f"{', '.join(absent)} not installed")
    folder, name = tmp_path_factory.mktemp("cluster"), f"workshop-test-{secrets.token_hex(4)}"
    words = (f"--name={name}", f"--kubeconfig={folder / 'kubeconfig'}")
    node = f"--image={Pins.load().node_image}"
    try:
        call("kind", "create", "cluster", *words, node, "--wait=300s", seconds=_BUILD_SECONDS)
        call("docker", "save", image, f"--output={folder / 'image.tar'}", seconds=_BUILD_SECONDS)
        call("kind", "load", "image-archive", str(folder / "image.tar"), words[0], seconds=_BUILD_SECONDS)
        yield ("kubectl", f"--kubeconfig={folder / 'kubeconfig'}")
    finally:
        subprocess.run(["kind", "delete", "cluster", *words], capture_output=True, check=False)


@dataclass(frozen=True)
class Inside(Served):
    """A server in a container or a pod: `enter` runs a command in it, and `logs` prints what it wrote."""

    enter: tuple[str, ...]
    logs: tuple[str, ...] = ()

    @property
    def log(self) -> str:
        return call(*self.logs).stdout if self.logs else super().log

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return call(*self.enter, *words)

    def has_no_rights(self) -> None:
        done = self.run("sh", "-c", _NO_RIGHTS)
        assert done.stdout.split() == ["1000", "CapEff:", "0" * 16, "NoNewPrivs:", "1"]
        assert done.stderr.count("Read-only file system") == 3


def for_containers(name: str, config: Path) -> str:
    """The configuration with the changes that the first lines of the Dockerfile ask for."""
    text = re.sub(r'^store = "', 'store = "/var/lib/workshop/', config.read_text(), flags=re.MULTILINE)
    return _HEAD + _SET_UP * (name == "elicitation") + text


def in_container(image: str) -> Way:
    """By `docker run`, as the first lines of the Dockerfile have it."""
    outside = gateway_of("bridge")

    @contextmanager
    def run(
        name: str, config: Path, port: int, environment: Mapping[str, str] | None = None
    ) -> Iterator[Served]:
        folder, title = config.parent, f"workshop-test-{secrets.token_hex(4)}"
        text = for_containers(name, config)
        (folder / "config.toml").write_text(text)
        ports = [port, *map(int, re.findall(r"^metrics_port = (\d+)", text, re.MULTILINE))]
        for path in (folder, *folder.rglob("*")):  # the container's user is another one
            path.chmod(0o755 if path.is_dir() else 0o644)
        given = environment or {}
        argv = [
            *("docker", "run", "--rm", f"--name={title}", *_RIGHTS),
            *(f"--publish=127.0.0.1:{each}:{each}" for each in ports),
            *(f"--volume={folder}:/etc/workshop:ro", "--volume=/var/lib/workshop"),
            *(f"--volume={given['SSL_CERT_FILE']}:{AUTHORITY}:ro", f"--env=SSL_CERT_FILE={AUTHORITY}"),
            *(f"--env=HTTPS_PROXY={given['HTTPS_PROXY'].replace('127.0.0.1', outside)}", image, name),
        ]
        try:
            with running(argv, folder / f"{name}.log", port, {}, ends=0) as served:
                found = Inside(served.port, served.log_file, ("docker", "exec", title))
                found.has_no_rights()
                yield found
        finally:
            subprocess.run(["docker", "rm", "--force", "--volumes", title], capture_output=True, check=False)

    return Way(run, (outside,))


def in_pod(kubectl: tuple[str, ...]) -> Way:
    """By `kubernetes.yaml`, as its first lines have it, and a port-forward."""
    outside = gateway_of("kind")

    @contextmanager
    def run(
        name: str, config: Path, port: int, environment: Mapping[str, str] | None = None
    ) -> Iterator[Served]:
        folder, text = config.parent, for_containers(name, config)
        text = re.sub(r"^port = \d+", "port = 8000", text, flags=re.MULTILINE)
        text = text.replace(f"localhost:{port}", "localhost:8000")  # `control` of elicitation
        text, (metrics,) = _with_metrics(text)
        (folder / "config.toml").write_text(text.replace('"secrets/signing-key.pem"', '"signing-key.pem"'))
        shutil.copy((environment or {})["SSL_CERT_FILE"], folder / "authority.pem")
        plain = [folder / "config.toml", folder / "authority.pem", *folder.glob("*.py")]
        plain += folder.glob("tasks.openapi.json")
        hidden = [path for path in (folder / ".env", folder / "secrets" / "signing-key.pem") if path.exists()]
        call(*kubectl, "create", "configmap", f"{name}-config", *(f"--from-file={path}" for path in plain))
        if hidden:
            files = [f"--from-file={path}" for path in hidden]
            call(*kubectl, "create", "secret", "generic", f"{name}-secrets", *files)
        proxy = (environment or {})["HTTPS_PROXY"].replace("127.0.0.1", outside)
        call(*kubectl, "apply", "--filename=-", given=_manifest(name, proxy))
        watch = (*kubectl, "logs", f"deployment/{name}")
        try:
            call(*kubectl, "rollout", "status", f"deployment/{name}", "--timeout=300s", seconds=310)
            with (
                _forwarded(kubectl, f"deployment/{name}", metrics, 9000, folder / "metrics.log", "/metrics"),
                _forwarded(kubectl, f"service/{name}", port, 80, folder / f"{name}.log", "/health") as served,
            ):
                enter = (*kubectl, "exec", f"deployment/{name}", "--")
                found = Inside(served.port, served.log_file, enter, watch)
                found.has_no_rights()
                yield found
                restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}"
                asked = (*kubectl, "get", "pods", f"--selector=app={name}", f"--output={restarts}")
                assert call(*asked).stdout == "0", "both probes pass"
        finally:
            kinds = "deployment,service,configmap,secret"
            names = (name, f"{name}-config", f"{name}-secrets")
            subprocess.run(
                [*kubectl, "delete", kinds, *names, "--ignore-not-found"], capture_output=True, check=False
            )

    return Way(run, (outside,))


def _with_metrics(text: str) -> tuple[str, list[int]]:
    found = [int(each) for each in re.findall(r"^metrics_port = (\d+)", text, re.MULTILINE)]
    return re.sub(r"^metrics_port = \d+", "metrics_port = 9000", text, flags=re.MULTILINE), found


def _manifest(name: str, proxy: str) -> str:
    """The manifest of a variation, with what its pod needs for the test's internet."""
    deployment, service = yaml.safe_load_all(
        (VARIATIONS / "kubernetes.yaml").read_text("utf-8").replace("NAME", name)
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    variables = {"HTTPS_PROXY": proxy, "SSL_CERT_FILE": "/etc/workshop/authority.pem"}
    container["env"] = [{"name": key, "value": value} for key, value in variables.items()]
    return yaml.safe_dump_all([deployment, service])


def _forwarded(
    kubectl: tuple[str, ...], target: str, port: int, remote: int, log: Path, path: str
) -> AbstractContextManager[Served]:
    argv = [*kubectl, "port-forward", "--address=127.0.0.1", target, f"{port}:{remote}"]
    return running(argv, log, port, {}, ready=path)


@pytest.fixture(params=["container", "pod"])
def way(request: pytest.FixtureRequest, image: str) -> Way:
    """How the server of a test runs."""
    return in_container(image) if request.param == "container" else in_pod(request.getfixturevalue("kubectl"))


@dataclass(frozen=True)
class Contained:
    """A variation that runs in a container: its address, its metrics' port, and the test's internet."""

    url: str
    server: Served
    metrics_port: int
    internet: Edge


def answers_where_it_should(found: Contained) -> None:
    """`/health` under any host name, the metrics on their own port only, and a log of JSON lines."""
    assert found.server.get("/health", host="10.0.0.7").status_code == 200
    assert found.server.get("/health", host="localhost").status_code == 200
    assert found.server.metrics(found.metrics_port)['workshop_logins_total{outcome="allowed"}'] >= 1
    assert "workshop_requests" not in found.server.get("/metrics").text
    lines = found.server.log.splitlines()
    assert any(json.loads(line).get("path") == "/mcp" for line in lines)
    assert not re.search(r"github_pat_|eyJ", found.server.log)


def the_token(folder: Path, url: str) -> str:
    """Token 1 of our agent's login."""
    (login,) = [each for each in TokenStore(folder / "logins").all() if each.resource == url]
    assert login.tokens is not None
    return login.tokens.access_token


def test_the_worker(way: Way, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = "https://worker.example.com/mcp"
    with worker_world(tmp_path, way) as world:
        (me,) = visitor(tmp_path, world.edge.environment, url, "get_user_info", "{}")
        assert json.loads(me["text"])["login"] == "learner"
        token = the_token(tmp_path, url)
        answer = ask_fastmcp(request, url, token, world.edge, {}, "get_github_repos", limit=2)
        assert len(json.loads(str(answer["text"]))["repositories"]) == 2
        answers_where_it_should(Contained(url, world.server, world.metrics_port, world.edge))


def test_the_elicitation_gateway(way: Way, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = "https://gateway.example.com/mcp"
    with elicitation_world(tmp_path, way) as world:
        assert isinstance(world.server, Inside)
        done = world.server.run("python", _CONSTRUCT, "--config", "/etc/workshop/config.toml")
        assert "Tasks" in done.stdout
        profile = "GitHubTarget___getUserProfile"
        (me,) = world.visit(profile, "{}")
        assert json.loads(me["text"])["username"] == "learner"
        answer = ask_fastmcp(request, url, the_token(tmp_path, url), world.edge, {}, profile)
        assert json.loads(str(answer["text"]))["username"] == "learner"
        answers_where_it_should(Contained(url, world.server, world.metrics_port, world.edge))


async def test_the_resource_server(
    way: Way,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    with tools_site(folder, way) as site:
        assert "42" in await by_our_agent(site, tmp_path, monkeypatch, {}, "add", a=40, b=2)
        answer = ask_fastmcp(request, site.url, site.token(), site.internet, {}, "shout", text="gpx")
        assert answer == {"names": ["add", "shout"], "text": "GPX"}
        answers_where_it_should(Contained(site.url, site.server, site.metrics_port, site.internet))


async def test_the_gateway_with_prefixes(
    way: Way,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    folder, github = tmp_path / "site", Upstream(("get_me", "search"), refused="revoked")
    folder.mkdir()
    with gateway_site(folder, github, way) as site:
        mine = {"x-github-pat": "github_pat_of_lea"}
        assert "of_lea" in await by_our_agent(site, tmp_path, monkeypatch, mine, "github_get_me")
        answer = ask_fastmcp(
            request, site.url, site.token(), site.internet, mine, "words_reverse", text="gpx"
        )
        assert answer == {"names": ["github_get_me", "github_search", "words_reverse"], "text": "xpg"}
        answers_where_it_should(Contained(site.url, site.server, site.metrics_port, site.internet))
