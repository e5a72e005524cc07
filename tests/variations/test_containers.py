"""Each server from the example in *Use it for real*, in a container without rights, behind TLS.

The image is built here, so the packages must be installable. Skips without a Docker engine on this machine.
"""

import json
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

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
IMAGE = "workshop/serve:0.1.0"
_BUILD_SECONDS = 600
_RIGHTS = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")
# What the image's first lines and the README of elicitation ask for.
_HEAD = 'host = "0.0.0.0"\n'
_SET_UP = 'state = "/var/lib/workshop/construct-state.json"\noutput = "/var/lib/workshop/config.json"\n'
_CONSTRUCT = "/src/parts/04_remote_oauth/variations/elicitation/construct.py"
_LOOK = "{{(index .IPAM.Config 0).Gateway}}"


def docker(*words: str, seconds: float = 60) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, f"docker {words[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def outside() -> str:
    """The address of this machine at which containers reach it; skips where there is none."""
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    asked = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=60, check=False)
    if asked.returncode:
        pytest.skip(f"Docker does not answer: {asked.stderr.strip()}")
    address = docker("network", "inspect", "bridge", "--format", _LOOK)
    try:
        for sock in bind_at(address, free_port()):
            sock.close()
    except WorkshopError as error:
        pytest.skip(f"Docker's network is not this machine's: {error.what}")
    return address


@pytest.fixture(scope="module")
def image(outside: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image, from the files that its Dockerfile copies: not every builder reads its ignore file."""
    del outside
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
    docker(
        "build", *network, *words, "--tag", IMAGE, "--file", str(file), str(context), seconds=_BUILD_SECONDS
    )
    return IMAGE


@dataclass(frozen=True)
class InContainer(Served):
    """A server in the container `title`."""

    title: str


def contained(image: str, outside: str) -> Way:
    """In a container, with the configuration that the Dockerfile's first lines ask for."""

    @contextmanager
    def run(
        name: str, config: Path, port: int, environment: Mapping[str, str] | None = None
    ) -> Iterator[Served]:
        folder, title = config.parent, f"workshop-test-{secrets.token_hex(4)}"
        text = re.sub(r'^store = "', 'store = "/var/lib/workshop/', config.read_text(), flags=re.MULTILINE)
        head = _HEAD + _SET_UP * (name == "elicitation")
        (folder / "config.toml").write_text(head + text)
        ports = [port, *map(int, re.findall(r"^metrics_port = (\d+)", text, re.MULTILINE))]
        _let_everybody_read(folder)
        authority = (environment or {})["SSL_CERT_FILE"]
        proxy = (environment or {})["HTTPS_PROXY"].replace("127.0.0.1", outside)
        argv = [
            *("docker", "run", "--rm", f"--name={title}", *_RIGHTS),
            *(f"--publish=127.0.0.1:{each}:{each}" for each in ports),
            *(f"--volume={folder}:/etc/workshop:ro", "--volume=/var/lib/workshop"),
            *(f"--volume={authority}:/etc/authority.pem:ro", "--env=SSL_CERT_FILE=/etc/authority.pem"),
            *(f"--env=HTTPS_PROXY={proxy}", "--env=NO_PROXY=localhost", image, name),
        ]
        try:
            with running(argv, folder / f"{name}.log", port, {}, ends=0) as served:
                _has_no_rights(title)
                yield InContainer(served.port, served.log_file, title)
        finally:
            subprocess.run(["docker", "rm", "--force", "--volumes", title], capture_output=True, check=False)

    return Way(run, (outside,))


def _let_everybody_read(folder: Path) -> None:
    """As the container's user is another one than that of the test."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _has_no_rights(title: str) -> None:
    script = "id -u; grep -E '^(CapEff|NoNewPrivs)' /proc/1/status; touch /etc/workshop/x /src/x /x"
    asked = ["docker", "exec", title, "sh", "-c", script]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["1000", "CapEff:", "0" * 16, "NoNewPrivs:", "1"]
    assert done.stderr.count("Read-only file system") == 3


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


def test_the_worker(image: str, outside: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = "https://worker.example.com/mcp"
    with worker_world(tmp_path, contained(image, outside)) as world:
        (me,) = visitor(tmp_path, world.edge.environment, url, "get_user_info", "{}")
        assert json.loads(me["text"])["login"] == "learner"
        token = the_token(tmp_path, url)
        answer = ask_fastmcp(request, url, token, world.edge, {}, "get_github_repos", limit=2)
        assert len(json.loads(str(answer["text"]))["repositories"]) == 2
        answers_where_it_should(Contained(url, world.server, world.metrics_port, world.edge))


def test_the_elicitation_gateway(
    image: str, outside: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = "https://gateway.example.com/mcp"
    with elicitation_world(tmp_path, contained(image, outside)) as world:
        assert isinstance(world.server, InContainer)
        words = ("python", _CONSTRUCT, "--config", "/etc/workshop/config.toml")
        assert "Tasks" in docker("exec", world.server.title, *words)
        profile = "GitHubTarget___getUserProfile"
        (me,) = world.visit(profile, "{}")
        assert json.loads(me["text"])["username"] == "learner"
        answer = ask_fastmcp(request, url, the_token(tmp_path, url), world.edge, {}, profile)
        assert json.loads(str(answer["text"]))["username"] == "learner"
        answers_where_it_should(Contained(url, world.server, world.metrics_port, world.edge))


async def test_the_resource_server(
    image: str,
    outside: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    with tools_site(folder, contained(image, outside)) as site:
        assert "42" in await by_our_agent(site, tmp_path, monkeypatch, {}, "add", a=40, b=2)
        answer = ask_fastmcp(request, site.url, site.token(), site.internet, {}, "shout", text="gpx")
        assert answer == {"names": ["add", "shout"], "text": "GPX"}
        answers_where_it_should(Contained(site.url, site.server, site.metrics_port, site.internet))


async def test_the_gateway_with_prefixes(
    image: str,
    outside: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    folder, github = tmp_path / "site", Upstream(("get_me", "search"), refused="revoked")
    folder.mkdir()
    with gateway_site(folder, github, contained(image, outside)) as site:
        mine = {"x-github-pat": "github_pat_of_lea"}
        assert "of_lea" in await by_our_agent(site, tmp_path, monkeypatch, mine, "github_get_me")
        answer = ask_fastmcp(
            request, site.url, site.token(), site.internet, mine, "words_reverse", text="gpx"
        )
        assert answer == {"names": ["github_get_me", "github_search", "words_reverse"], "text": "xpg"}
        answers_where_it_should(Contained(site.url, site.server, site.metrics_port, site.internet))
