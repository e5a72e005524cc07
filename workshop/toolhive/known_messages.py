"""Known messages of other programs: where each one comes from, and what to do about it.

A message is searched only in texts of its own origin. The words of a failed pull, for example, mean something
else in a container's log, where any connection may have failed.

The proxy's messages are from ToolHive 0.63.0 `pkg/authserver` and `pkg/container/kubernetes`, the kubelet's
from Kubernetes 1.35 and containerd 2.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# A pod's failed pull, its other troubles and events, a container's log, the operator's status of a resource,
# the output of docker and kind, the output of helm and kubectl.
Origin = Literal["pull", "pod", "log", "operator", "docker", "helm"]
Message = tuple[Origin, str]

_OF_PROGRAM: dict[str, Origin] = {"docker": "docker", "kind": "docker", "helm": "helm", "kubectl": "helm"}


@dataclass(frozen=True)
class Known:
    """A known message; `heals` is true when waiting longer may help.

    `elsewhere` is the hint for a cluster that somebody else made, where it differs: its nodes are theirs.
    """

    origins: frozenset[str]
    pattern: str
    hint: str
    elsewhere: str = ""
    heals: bool = False

    def advice(self, *, own_nodes: bool) -> str:
        """What to do about it."""
        return self.hint if own_nodes else self.elsewhere or self.hint


def _known(origins: str, pattern: str, hint: str, elsewhere: str = "", *, heals: bool = False) -> Known:
    return Known(frozenset(origins.split()), pattern, hint, elsewhere, heals)


_AGAIN = "then run this command again"
_NAMES_ITS_IMAGES = "`--override NAME=IMAGE` takes one from a registry that they reach"

# The first match wins, so a special message stands before a general one.
_MESSAGES = (
    _known(
        "log operator",
        r"environment variable \W*TOOLHIVE_UPSTREAM_CLIENT_SECRET_\w+\W* is not set",
        f"The OAuth app's secret is empty: set GITHUB_OAUTH_CLIENT_SECRET in `.env`, {_AGAIN}",
    ),
    _known(
        "log operator",
        r"HMAC secret.{0,120}must be at least 32 bytes",
        "The HMAC secret is too short: `workshop teardown` and `workshop up` make a new one",
    ),
    _known(
        "log operator",
        r"failed to decode PEM block|failed to parse (signing|private) key",
        "The signing key is not a PEM private key: `workshop teardown` and `workshop up` make a new one",
    ),
    _known(
        "log operator",
        r"must not have (a )?trailing slash",
        "The issuer ends in a slash, which belongs to the audience only: see part 4's manifests",
    ),
    _known(
        "log operator",
        r"http (scheme )?(is )?(only )?allowed( only)? for localhost",
        "An issuer with http must be localhost: see `issuer` in part 4's manifests",
    ),
    _known(
        "log operator",
        r"must match resourceUrl|resourceUrl is required",
        "`oidcConfigRef` needs `audience` and `resourceUrl`, the same text in both",
    ),
    _known(
        "pod operator",
        # The kubelet tries again, so the pod starts once the secret exists.
        r"secret \"[^\"]+\" not found|non-existent secret key|couldn't find key \S+ in Secret",
        "The pod needs a secret that is missing: `workshop up` creates all of them again",
        heals=True,
    ),
    _known(
        "docker",
        r"Cannot connect to the Docker daemon|Is the docker daemon running|error during connect: "
        r"|docker\.sock: (connect|read|write): |error reading from server: EOF|^unexpected EOF",
        f"Docker does not answer: start it, {_AGAIN}",
    ),
    _known(
        "pull pod log docker",
        r"no space left on device|disk[- ]pressure|ephemeral-storage",
        "The disk of Docker's machine is full: `docker system df` shows by what, `… prune` frees some",
        "The disk of a node is full: ask the cluster's owner to free some of it",
    ),
    _known(
        "pull",
        r"(docker\.io/|localhost/|\")workshop/\S+\W.*(not found|denied|does not exist|no such host|ErrImage)",
        "This image is built here and is in no registry: `workshop up` builds and loads it",
        f"This image is in no registry that the nodes reach: {_NAMES_ITS_IMAGES}",
    ),
    _known(
        "pull docker helm",
        r"toomanyrequests|429 Too Many Requests|pull rate limit",
        "The registry's limit for this network is used up: wait, or `workshop up --bundle FILE`",
        "The registry's limit for that network is used up: wait a while, then run this command again",
    ),
    _known(
        "pull",
        r"x509: |certificate signed by unknown authority|certificate verify failed",
        "Something on the way has a certificate of its own: `workshop up --override ca-file=FILE`",
        "The nodes do not trust the registry's certificate: ask the cluster's owner to add its CA",
    ),
    _known(
        "docker helm log",
        r"x509: certificate signed by unknown authority|certificate verify failed|x509: .*not trusted",
        "Something on the way has a certificate of its own: give its CA with `--override ca-file=FILE`",
    ),
    _known(
        "pull pod log docker",
        r"no match for platform|no matching manifest for|exec format error"
        r"|does not (match|provide) the specified platform",
        "The image is for another processor architecture: pull or build it for this machine's",
        "The image is for another processor architecture: build it for the nodes'",
    ),
    _known(
        "docker helm",
        r"(?=.*ghcr\.io).*(denied|unauthorized|403 Forbidden)",
        "These images are public: a stale login is refused where none is needed. Run `docker logout ghcr.io`",
    ),
    _known(
        "pull",
        r"403 Forbidden|401 Unauthorized|pull access denied|insufficient_scope|denied: |authentication requ",
        "The registry refused: an old login breaks even public images; `docker logout ghcr.io` ends it",
        "The registry refused the nodes: make the image public, or give the namespace a pull secret for it",
    ),
    _known(
        "pull",
        r"manifest unknown|(resolve reference|image) \S+.*not found|ErrImageNeverPull|InvalidImageName",
        "There is no such image: check its name and tag in the manifest or the override",
    ),
    _known(
        "docker",
        r"manifest unknown|manifest for \S+ not found|pull access denied|resolve reference \S+ .*not found"
        r"|docker\.io/\S+: not found|invalid reference format",
        "There is no such image: check its name and tag in `--override`, or in `workshop config`",
    ),
    _known(
        "docker helm",
        r"proxyconnect tcp",
        "The proxy does not answer: check HTTPS_PROXY, and the engine's own proxy settings",
    ),
    _known(
        "helm",
        r"Kubernetes cluster unreachable|connection to the server .* was refused",
        "The cluster does not answer: `workshop status` shows more, `workshop up` starts what is stopped",
        heals=True,
    ),
    _known(
        "pull",
        r"no such host|i/o timeout|connection refused|TLS handshake|proxyconnect|deadline exceed|unreach",
        "The cluster cannot reach the registry: check network and proxy, or `workshop up --bundle FILE`",
        f"The nodes cannot reach the registry: {_NAMES_ITS_IMAGES}",
        heals=True,
    ),
    _known(
        "docker helm",
        r"lookup .*(no such host|timeout|misbehaving)|TLS handshake timeout"
        r"|dial tcp .*(timeout|no route to host|network is unreachable)",
        "This network does not reach it: check the proxy, or use a bundle (`workshop up --bundle FILE`)",
        "This network does not reach it: check the network and the proxy",
        heals=True,
    ),
    _known(
        "log",
        # The API server's Service has the first address of the service range, such as 10.96.0.1.
        r"can't determine api server type|\b(10|172)(\.\d+){2}\.1:443: (connect: |i/o timeout)",
        "The pod could not reach the cluster's API: just after a start, run this command again",
        heals=True,
    ),
    _known(
        "log",
        # `connection refused` here is CoreDNS, which restarts or has not started yet.
        r"lookup \S+.*(no such host|i/o timeout|server misbehaving|connection refused)",
        "The pod could not resolve a name: `kubectl get pods -n kube-system` shows whether CoreDNS runs",
        heals=True,
    ),
    _known(
        "pod",
        # The scheduler tries again as soon as another pod has ended.
        r"Insufficient (cpu|memory)",
        "The cluster has no capacity left: give Docker more CPU and memory, or stop what else runs there",
        "The cluster has no capacity left: ask its owner for more, or delete what is not needed",
        heals=True,
    ),
    _known(
        "pod log",
        r"OOMKilled|out of memory",
        "It used more memory than its limit: raise `resources.limits.memory` in the manifest",
        heals=True,
    ),
    _known(
        "pod",
        # The kubelet compares numbers only: it cannot look up a name in the image's /etc/passwd.
        r"runAsNonRoot",
        "The image runs as root, or its user has no number: give its Dockerfile a numeric `USER`",
    ),
    _known(
        "pod log",
        r"Read-only file system",
        "The container may not write to its own files: mount an `emptyDir` where it writes",
    ),
    _known(
        "pod log docker",
        r"too many open files|inotify",
        "The machine is out of inotify watches: `sudo sysctl fs.inotify.max_user_instances=512`",
        "A node is out of inotify watches: ask the cluster's owner to raise `max_user_instances`",
    ),
    _known(
        "pod operator",
        r"exceeded quota",
        "The namespace's quota is used up: delete what is not needed, or ask its owner for more",
    ),
    _known(
        "pod",
        # These are the container runtime's words for a container that never started, so no log has them.
        r"executable file not found|exec: .*no such file or directory",
        "The image has no such program: check `ENTRYPOINT` and `CMD` in its Dockerfile",
    ),
    _known(
        "docker",
        r"predefined address pools have been fully subnetted",
        "Docker has no free subnet left: `docker network prune` frees those nobody uses",
    ),
    _known(
        "docker helm",
        r"port is already allocated|address already in use|ports are not available",
        "Another program has that port: end it, or choose another with `--port`",
    ),
    _known(
        "docker",
        r"invalid output path|unable to prepare context: path .* not found",
        "A Docker from a snap sees neither /tmp nor hidden folders: install Docker's own packages",
    ),
    _known(
        "docker",
        r"no suitable export target found",  # moby#52193: only the unpacked layers are on the disk
        "Docker has only a part of that image: remove it with `docker image rm`, and run this again",
    ),
    _known(
        "docker",
        r"error getting credentials|docker-credential-\S+.*not found",
        "Docker's credential helper is missing: remove `credsStore` from ~/.docker/config.json",
    ),
    _known(
        "helm",
        r"invalid ownership metadata",
        "It was installed another way or in another namespace: remove it there, or use what is there",
    ),
)


def recognise(messages: Iterable[Message]) -> Known | None:
    """The first known message in any of these texts, or None; a text has only messages of its own origin.

    Special messages are searched before general ones.
    """
    texts = list(messages)
    matches = (
        known
        for known in _MESSAGES
        for origin, text in texts
        # Not compiled before: most commands never have a message to recognise.
        if origin in known.origins and re.search(known.pattern, text, re.IGNORECASE)
    )
    return next(matches, None)


def hint_for(program: str, output: str) -> str:
    """What to do about a program's output; empty when it has no known message.

    Docker and kind run only for clusters that we made; Helm and kubectl run for any cluster.
    """
    origin = _OF_PROGRAM.get(Path(program).name)
    known = recognise((origin, line) for line in output.splitlines()) if origin else None
    return known.advice(own_nodes=origin == "docker") if known else ""


def may_heal(output: str) -> bool | None:
    """Whether a second try may succeed after this output of a program; None when no message is known."""
    origins = dict.fromkeys(_OF_PROGRAM.values())
    known = recognise((origin, line) for line in output.splitlines() for origin in origins)
    return known.heals if known else None
