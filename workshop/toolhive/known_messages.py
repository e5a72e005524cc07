"""What the messages of kubelets, registries and ToolHive's proxy mean here, and what to do about each.

The proxy's are from ToolHive 0.44.0 `pkg/authserver`, the kubelet's from Kubernetes 1.35 and containerd 2.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """A message we know; `heals` when waiting longer may help."""

    pattern: re.Pattern[str]
    hint: str
    heals: bool = False


def _known(pattern: str, hint: str, *, heals: bool = False) -> Known:
    return Known(re.compile(pattern, re.IGNORECASE), hint, heals)


_AGAIN = "then run this command again"

# The first that matches wins: what is special stands before what is general.
_MESSAGES = (
    _known(
        r"environment variable \W*TOOLHIVE_UPSTREAM_CLIENT_SECRET_\w+\W* is not set",
        f"The OAuth app's secret is empty: set GITHUB_OAUTH_CLIENT_SECRET in `.env`, {_AGAIN}",
    ),
    _known(
        r"HMAC secret.{0,120}must be at least 32 bytes",
        "The HMAC secret is too short: `workshop teardown` and `workshop up` make a new one",
    ),
    _known(
        r"failed to decode PEM block|failed to parse (signing|private) key",
        "The signing key is no PEM private key: `workshop teardown` and `workshop up` make a new one",
    ),
    _known(
        r"must not have (a )?trailing slash",
        "The issuer ends in a slash, which belongs to the audience only: see part 4's manifests",
    ),
    _known(
        r"http (scheme )?(is )?(only )?allowed( only)? for localhost",
        "An issuer with http must be localhost: see `issuer` in part 4's manifests",
    ),
    _known(
        r"must match resourceUrl|resourceUrl is required",
        "`oidcConfigRef` needs `audience` and `resourceUrl`, the same text in both",
    ),
    _known(
        r"secret \"[^\"]+\" not found|non-existent secret key|couldn't find key \S+ in Secret",
        "A secret the pod needs is missing: `workshop up` makes them all anew",
        heals=True,
    ),
    _known(
        r"no space left on device|disk[- ]pressure|ephemeral-storage",
        "The disk of Docker's machine is full: `docker system prune` frees some, or give Docker more",
    ),
    _known(
        r"(docker\.io/|localhost/|\")workshop/\S+\W.*(not found|denied|does not exist|no such host|ErrImage)",
        "This image is built here and is in no registry: `workshop up` builds and loads it",
    ),
    _known(
        r"toomanyrequests|429 Too Many Requests|pull rate limit",
        "The registry's limit for this network is used up: wait, or `workshop up --bundle FILE`",
    ),
    _known(
        r"x509: |certificate signed by unknown authority|certificate verify failed",
        "Something on the way has a certificate of its own: `workshop up --override ca-file=FILE`",
    ),
    _known(
        r"no match for platform|exec format error",
        "The image is for another processor: pull or build it for this machine's",
    ),
    _known(
        r"403 Forbidden|401 Unauthorized|pull access denied|insufficient_scope|denied: |authentication requ",
        "The registry refused: an old login breaks even public images; `docker logout ghcr.io` ends it",
    ),
    _known(
        r"manifest unknown|(resolve reference|image) \S+.*not found|ErrImageNeverPull|InvalidImageName",
        "There is no such image: check its name and tag in the manifest or the override",
    ),
    _known(
        r"no such host|i/o timeout|connection refused|TLS handshake|proxyconnect|deadline exceed|unreach",
        "The cluster cannot reach the registry: check network and proxy, or `workshop up --bundle FILE`",
        heals=True,
    ),
    _known(
        r"Insufficient (cpu|memory)",
        "The cluster has no room left: give Docker more CPU and memory, or stop what else runs there",
        heals=True,
    ),
    _known(
        r"OOMKilled|out of memory",
        "It used more memory than its limit: raise `resources.limits.memory` in the manifest",
        heals=True,
    ),
    _known(
        r"runAsNonRoot",
        "The image runs as root, or its user has no number: give its Dockerfile a numeric `USER`",
    ),
    _known(
        r"Read-only file system",
        "The container may not write to its own files: mount an `emptyDir` where it writes",
    ),
    _known(
        r"too many open files|inotify",
        "The machine is out of inotify watches: `sudo sysctl fs.inotify.max_user_instances=512`",
    ),
    _known(r"exceeded quota", "The namespace's quota is used up: ask its owner for more"),
    _known(
        r"executable file not found|exec: .*no such file or directory",
        "The image has no such program: check `ENTRYPOINT` and `CMD` in its Dockerfile",
    ),
)


def recognise(texts: Iterable[str]) -> Known | None:
    """The first known message in any of these texts; what is special is looked for before what is general."""
    told = list(texts)
    return next((known for known in _MESSAGES for text in told if known.pattern.search(text)), None)
