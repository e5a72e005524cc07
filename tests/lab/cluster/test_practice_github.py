"""The practice GitHub's manifests: what the pod finds in its Secret really runs, and the probes agree."""

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from kubernetes import client
from pydantic import BaseModel, ValidationError

from workshop.core.paths import cluster_dir
from workshop.core.ports import free_port
from workshop.lab.cluster.render import practice_manifests
from workshop.lab.deployments import practice_config
from workshop.lab.pins import pinned
from workshop.toolhive.manifests import Resource, Resources

SECRET = "a secret of the practice app"
Make = Callable[..., Resources]


@pytest.fixture
def make() -> Make:
    def manifests(
        image: str = "workshop/practice-github:0.1.0",
        port: int = 8090,
        client_secret: str = SECRET,
        issuer: str = "http://localhost:8080",
    ) -> Resources:
        auth = Resource(
            "MCPExternalAuthConfig", "a", {"spec": {"embeddedAuthServer": {"issuer": issuer}}}, ""
        )
        return practice_manifests(
            image, "seat-1", practice_config(auth, port, "client-secret"), client_secret
        )

    return manifests


def one(resources: Resources, kind: str) -> Resource:
    (found,) = resources.of(kind)
    return found


def container(resources: Resources) -> Any:
    return one(resources, "Deployment").find("spec.template.spec.containers.0")


def test_service_pod_and_secret_find_each_other(make: Make) -> None:
    resources = make(port=9292, image="mirror.example/practice:1")
    deployment, service = one(resources, "Deployment"), one(resources, "Service")
    labels = deployment.mapping("spec.template.metadata.labels")
    assert deployment.mapping("spec.selector.matchLabels").items() <= labels.items()
    assert service.mapping("spec.selector").items() <= labels.items()
    assert service.find("spec.ports.0.port") == container(resources)["ports"][0]["containerPort"] == 9292
    assert service.find("spec.ports.0.targetPort") == container(resources)["ports"][0]["name"]
    assert container(resources)["image"] == "mirror.example/practice:1"
    assert deployment.find("spec.template.spec.volumes.0.secret.secretName") == one(resources, "Secret").name
    assert {resource.find("metadata.namespace") for resource in resources.all} == {"seat-1"}


def test_the_file_by_itself_names_the_pinned_image_and_namespace() -> None:
    deployment, service = yaml.safe_load_all(
        (cluster_dir() / "practice" / "practice-github.yaml").read_text()
    )
    (inside,) = deployment["spec"]["template"]["spec"]["containers"]
    assert inside["image"] == pinned().practice
    assert {body["metadata"]["namespace"] for body in (deployment, service)} == {pinned().namespace}


def test_the_pod_may_do_nothing_it_does_not_need(make: Make) -> None:
    pod = one(make(), "Deployment").mapping("spec.template.spec")
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsUser"] == 1000
    assert pod["securityContext"]["runAsNonRoot"] is True
    inside = container(make())["securityContext"]
    assert inside["readOnlyRootFilesystem"] is True
    assert inside["capabilities"] == {"drop": ["ALL"]}


def test_another_secret_makes_another_pod_and_the_same_one_does_not(make: Make) -> None:
    def template(**changes: str) -> object:
        return one(make(**changes), "Deployment").find("spec.template")

    assert template() == template()
    assert template() != template(client_secret="another")
    assert template() != template(issuer="http://localhost:8088")
    assert SECRET not in str(template())


@pytest.fixture
def pod(make: Make, tmp_path: Path) -> Iterator[tuple[Resources, str]]:
    """The program of the image, with the Secret's files where the volume would have them."""
    port = free_port()
    resources = make(port=port)
    for name, text in one(resources, "Secret").mapping("stringData").items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "workshop.servers.practice", "--config", str(tmp_path / "config.json")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        yield resources, f"http://127.0.0.1:{port}"
        process.terminate()


def test_the_probes_find_what_the_secret_starts(pod: tuple[Resources, str]) -> None:
    resources, url = pod
    for probe in ("readinessProbe", "livenessProbe"):
        asked = container(resources)[probe]["httpGet"]
        headers = {item["name"]: item["value"] for item in asked["httpHeaders"]}
        assert get(f"{url}{asked['path']}", headers).status_code == 200
    service = one(resources, "Service")
    host = f"{service.name}:{service.find('spec.ports.0.port')}"
    assert get(f"{url}/user", {"Host": host}).status_code == 401
    assert get(f"{url}/user", {"Host": "10.244.0.7"}).status_code == 421, "why the probes send a Host"


def get(url: str, headers: dict[str, str]) -> httpx2.Response:
    transport = httpx2.HTTPTransport(retries=10)  # 0, 0.5, 1, 2 … seconds: the process is starting
    with httpx2.Client(transport=transport) as http:
        return http.get(url, headers=headers)


def test_kubernetes_knows_every_field_of_the_manifests(make: Make) -> None:
    """The client's models are made from the API's own description, and take no field it has not."""
    models: dict[str, type[BaseModel]] = {
        "Deployment": client.V1Deployment,
        "Service": client.V1Service,
        "Secret": client.V1Secret,
    }
    resources = make()
    assert [resource.kind for resource in resources.all] == ["Secret", "Service", "Deployment"]
    for resource in resources.all:
        models[resource.kind].model_validate(resource.body)
    misspelt = copy.deepcopy(dict(one(resources, "Deployment").body))
    misspelt["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(ValidationError, match="enableServiceLink"):
        client.V1Deployment.model_validate(misspelt)
