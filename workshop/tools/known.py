"""Messages of the programs that we know, and what helps."""

import re

_HINTS: tuple[tuple[str, str], ...] = (
    (
        r"(?=.*ghcr\.io).*(denied|unauthorized|403 Forbidden)",
        "These images are public: a stale login is refused where none is needed. Run `docker logout ghcr.io`",
    ),
    (
        r"toomanyrequests|pull rate limit",
        "The registry limits this network's pulls: use a bundle (`workshop up --bundle FILE`) or a mirror",
    ),
    (
        r"x509: certificate signed by unknown authority|certificate verify failed|x509: .*not trusted",
        "Something between here and the registry changes certificates: give its CA with `WORKSHOP_CA_FILE`",
    ),
    (r"no space left on device", "The engine's disk is full: `docker system df` shows by what"),
    (
        r"too many open files",
        "Raise the inotify limit: `sudo sysctl fs.inotify.max_user_instances=512`",
    ),
    (
        r"predefined address pools have been fully subnetted",
        "Docker has no free subnet left: `docker network prune` frees those nobody uses",
    ),
    (
        r"port is already allocated|address already in use|ports are not available",
        "Another program has that port: end it, or choose another with `--port`",
    ),
    (
        r"invalid output path|unable to prepare context: path .* not found",
        "A Docker from a snap sees neither /tmp nor hidden folders: install Docker's own packages",
    ),
    (
        r"no suitable export target found",  # moby#52193: layers that were unpacked, and not kept packed
        "Docker has not kept all of that image: `docker image rm` it, and run this again",
    ),
    (
        r"no matching manifest for|does not (match|provide) the specified platform",
        "That image does not exist for this machine's architecture",
    ),
    (
        r"lookup .*(no such host|timeout)|dial tcp .*(timeout|no route to host|network is unreachable)",
        "This network does not reach it: check the proxy, or use a bundle (`workshop up --bundle FILE`)",
    ),
    (
        r"error getting credentials|docker-credential-\S+.*not found",
        "Docker's credential helper is missing: remove `credsStore` from ~/.docker/config.json",
    ),
    (
        r"invalid ownership metadata",
        "It was installed another way or in another namespace: remove it there, or use what is there",
    ),
    (
        r"proxyconnect tcp",
        "The proxy does not answer: check HTTPS_PROXY, and the engine's own proxy settings",
    ),
)
_KNOWN = tuple((re.compile(pattern, re.IGNORECASE), hint) for pattern, hint in _HINTS)


def known_hint(output: str) -> str:
    """The hint for the first message we know in a program's output; empty when there is none."""
    for line in output.splitlines():
        for pattern, hint in _KNOWN:
            if pattern.search(line):
                return hint
    return ""
