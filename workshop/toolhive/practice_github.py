"""The practice GitHub as a Deployment, a Service and a Secret, for clusters without internet access."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from workshop.core.hops import SIGN_IN
from workshop.core.paths import cluster_dir
from workshop.toolhive.manifests import Resource, Resources

APP_NAME = "MCP workshop"
_CONFIG, _CLIENT_SECRET = "config.json", "client-secret"
_HASH = "workshop/config-hash"


def practice_manifests(
    *, image: str, namespace: str, port: int, client_id: str, client_secret: str, callback_url: str
) -> Resources:
    """The resources to apply, in order; Kubernetes replaces the pod when the OAuth app changes.

    `port` is the port of the pod, of the Service and, through the port-forward, of the browser.
    """
    import yaml

    source = cluster_dir() / "practice" / "practice-github.yaml"
    deployment, service = yaml.safe_load_all(source.read_text(encoding="utf-8"))
    name = service["metadata"]["name"]
    config = {
        "port": port,
        "client_id": client_id,
        "client_secret_file": _CLIENT_SECRET,
        "callback_url": callback_url,
        "app_name": APP_NAME,
        "hop": SIGN_IN,
        "service_host": name,
    }
    secret: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": service["metadata"]["labels"]},
        "type": "Opaque",
        "stringData": {_CONFIG: json.dumps(config, indent=2), _CLIENT_SECRET: client_secret},
    }
    _set_up(deployment, image, port, secret["stringData"])
    service["spec"]["ports"][0]["port"] = port
    bodies = (secret, service, deployment)
    for body in bodies:
        body["metadata"]["namespace"] = namespace
    return Resources(tuple(Resource(body["kind"], name, body, str(source)) for body in bodies))


def _set_up(deployment: dict[str, Any], image: str, port: int, files: Mapping[str, str]) -> None:
    template = deployment["spec"]["template"]
    (container,) = template["spec"]["containers"]
    container["image"] = image
    container["ports"][0]["containerPort"] = port
    digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    template["metadata"]["annotations"] = {_HASH: digest[:16]}
