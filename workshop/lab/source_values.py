"""Check the value of an override: an image, a chart, an address or a file."""

import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from workshop.core.errors import UsageError

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::\d{1,5})?"
_REGISTRY = rf"(?=[^/]*[.:]|localhost){_HOST}"  # as Docker tells a registry from the first part of a name
_NAME = rf"(?:{_REGISTRY}/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"sha256:[0-9a-f]{64}"
_OCI = re.compile(rf"oci://{_HOST}(?:/[A-Za-z0-9._-]+)+")
_TAGGED = re.compile(rf"{_NAME}:(?P<tag>{_TAG})")
_TAGGED_OR_DIGEST = re.compile(rf"{_NAME}(?::(?P<tag>{_TAG}))?(?:@{_DIGEST})?")


def _image(told: str, value: str) -> str:
    """An image that a node runs: loading one into a node keeps its tag and loses its digest."""
    found = _TAGGED.fullmatch(value)
    if not found or found["tag"] == "latest":
        raise UsageError(
            f"`{told}` is `{value}`, which no pod can name",
            why="It needs a tag that is not `latest`, and no digest: in a node an image has its tag only",
            hint="Write NAME:TAG, such as registry.example/operator:v1",
        )
    return value


def _base_image(told: str, value: str) -> str:
    found = _TAGGED_OR_DIGEST.fullmatch(value)
    if not found or (found["tag"] in {None, "latest"} and "@" not in value):
        raise UsageError(
            f"`{told}` is `{value}`, which is no image with a version",
            hint="Write NAME:TAG or NAME:TAG@sha256:…, with a tag that is not `latest`",
        )
    return value


def _chart(told: str, value: str) -> str:
    if _OCI.fullmatch(value):
        return value
    path = Path(value).expanduser().absolute()
    if "://" not in value and ((path / "Chart.yaml").is_file() or (path.suffix == ".tgz" and path.is_file())):
        return str(path)
    raise UsageError(
        f"`{told}` is `{value}`, where no chart is found",
        hint="Give an oci://… reference, a chart's .tgz, or a folder with a Chart.yaml",
    )


def _address(told: str, value: str) -> str:
    try:
        parts = urlsplit(value)
        sound = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        sound = sound and not parts.query and not parts.fragment
    except ValueError:  # the port is no number
        sound = False
    if not sound or re.search(r"[\s\"'\\]", value):
        raise UsageError(  # the value is not repeated: it may hold a password
            f"`{told}` is no http or https address", hint="Write http://HOST:PORT"
        )
    return value.rstrip("/")


def _mirror(told: str, value: str) -> str:
    if "@" in value:
        raise UsageError(
            f"`{told}` holds a user name", hint="A mirror in the room answers without a password"
        )
    return _address(told, value)


def _proxy(told: str, value: str) -> str:
    if "@" in value and told.startswith("--"):
        raise UsageError(
            "A proxy's password does not belong on a command line",
            why="Other programs on this machine can read it there",
            hint="Set WORKSHOP_PROXY instead",
        )
    return _address(told, value)


def _hosts(told: str, value: str) -> str:
    words = [word.strip() for word in value.split(",")]
    if not all(re.fullmatch(r"[\w.*:/\[\]-]+", word) for word in words):
        raise UsageError(
            f"`{told}` is no list of hosts", hint="Write hosts and subnets with commas between them"
        )
    return ",".join(words)


def _certificates(told: str, value: str) -> Path:
    from cryptography import x509

    path = Path(value).expanduser().absolute()
    try:
        held = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"`{told}` names `{value}`, which cannot be read", why=error.strerror or ""
        ) from error
    if b"PRIVATE KEY" in held:
        raise UsageError(
            f"`{told}` names `{value}`, which holds a private key",
            why="The file is copied into the cluster's node",
            hint="Name a file with the certificates alone",
        )
    try:
        with warnings.catch_warnings(action="ignore"):  # a system's own bundle holds odd old ones
            x509.load_pem_x509_certificates(held)
    except ValueError as error:
        raise UsageError(
            f"`{told}` names `{value}`, which holds no certificate",
            hint="Save the authority's certificate as PEM text (-----BEGIN CERTIFICATE-----)",
        ) from error
    return path


CHECKS: Final[Mapping[str, Callable[[str, str], object]]] = {
    "node_image": _base_image,
    "chart_crds": _chart,
    "chart_operator": _chart,
    "operator": _image,
    "proxy_runner": _image,
    "mcp_server": _image,
    "practice": _image,
    "python": _base_image,
    "registry_mirror": _mirror,
    "proxy": _proxy,
    "no_proxy": _hosts,
    "ca_file": _certificates,
}
