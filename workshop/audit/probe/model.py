"""The data of a probe: the target, the server's answers, and the verdict of a check on them."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cached_property
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urljoin, urlsplit

from workshop.core.errors import UsageError
from workshop.core.outgoing import is_loopback_host, web_url

OK, UNAUTHORIZED, FORBIDDEN = 200, 401, 403
_HINT = "Give the MCP server's whole URL, such as `http://localhost:8080/mcp`"
_PARAMETER = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
EVIL_HOST = "evil.example"
EVIL_ORIGIN = f"https://{EVIL_HOST}"
EVIL_CALLBACK = f"http://{EVIL_HOST}/cb"
"""Plain http, off this machine: no authorization server may register it (OAuth 2.1, RFC 8252)."""


@dataclass(frozen=True)
class Target:
    """The MCP server that is probed: an http(s) URL without credentials, query or fragment."""

    url: str

    @classmethod
    def parse(cls, url: str) -> "Target":
        """Read a URL; raises UsageError for anything but an http(s) URL."""
        parts = split(url)
        if parts is None:
            shown = re.sub(r"[^/]*@", "***@", url[:200])  # it may contain a password
            raise UsageError(f"{shown!r} is not an http or https URL", hint=_HINT)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise UsageError(
                "The URL has a user name, a query or a fragment",
                why="The probe sends no credentials and reports the plain address",
                hint=_HINT,
            )
        return cls(parts._replace(path=parts.path or "/").geturl())

    @property
    def parts(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def host(self) -> str:
        return self.parts.hostname or ""

    @property
    def origin(self) -> str:
        return f"{self.parts.scheme}://{self.parts.netloc}"

    @property
    def loopback(self) -> bool:
        return is_loopback(self.host)


def split(url: object) -> SplitResult | None:
    """The parts of an absolute http(s) URL; None for anything else."""
    # JSON can contain half of a surrogate pair, which cannot be sent.
    return web_url(url) if isinstance(url, str) and not re.search("[\ud800-\udfff]", url) else None


def host_of(url: object) -> str:
    """The host of an http(s) URL, else an empty string."""
    parts = split(url)
    return (parts.hostname or "") if parts else ""


def joined(base: str, reference: str) -> str:
    """A reference made absolute; empty when it cannot be read."""
    try:
        return urljoin(base, reference)
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a host name means this machine, as browsers see it (RFC 6761 section 6.3)."""
    return is_loopback_host(host) or host.endswith(".localhost")


def is_secure(url: object) -> bool:
    """Whether a URL is https, or names this machine (OAuth 2.1 section 1.5)."""
    parts = split(url)
    return parts is not None and (parts.scheme == "https" or is_loopback(parts.hostname or ""))


@dataclass(frozen=True)
class Answer:
    """One HTTP response. `request` is its method and path, `text` the beginning of its body."""

    request: str
    url: str
    status: int
    headers: tuple[tuple[str, str], ...]
    text: str

    def header(self, name: str) -> str:
        """The values of a header, joined with commas; empty when it is absent."""
        return ", ".join(value for key, value in self.headers if key.lower() == name)

    @property
    def media_type(self) -> str:
        return self.header("content-type").partition(";")[0].strip().lower()

    @cached_property
    def document(self) -> Mapping[str, Any]:
        """The JSON object of the body or of its first event; empty when there is none."""
        text = self.text
        if self.media_type == "text/event-stream":
            # Lines of one event are joined by line ends (HTML, Server-sent events).
            text = "\n".join(line[5:] for line in text.splitlines() if line.startswith("data:"))
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def challenge(self) -> Mapping[str, str] | None:
        """The parameters of a Bearer challenge (RFC 6750 section 3); None without one."""
        scheme, _, rest = self.header("www-authenticate").partition(" ")
        if scheme.lower() != "bearer":
            return None
        return {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(rest)}

    @property
    def speaks_mcp(self) -> bool:
        return "jsonrpc" in self.document

    @property
    def result(self) -> bool:
        """Whether it is a JSON-RPC result: the server carried the request out."""
        return self.speaks_mcp and "result" in self.document

    @property
    def gist(self) -> tuple[int, str, str]:
        """Status, error and description, to compare two refusals."""
        stated = {**self.document, **(self.challenge or {})}
        description = stated.get("error_description") or stated.get("message") or ""
        return self.status, str(stated.get("error", "")), str(description)

    @property
    def error(self) -> str:
        """The OAuth error in the body or in a redirect's address (RFC 6749 sections 4.1.2.1, 5.2), or ""."""
        in_redirect = dict(parse_qsl(urlsplit(self.header("location")).query))
        return str(self.document.get("error") or in_redirect.get("error") or "")

    @property
    def summary(self) -> str:
        """Status and OAuth error in a few words."""
        return f"{self.status} {self.error}".strip()


@dataclass(frozen=True)
class McpAnswers:
    """The MCP endpoint's answers: without a token, with invalid tokens, and as to a web page."""

    discover: Answer
    initialize: Answer | None = None
    get: Answer | None = None
    garbage: Answer | None = None
    unsigned: Answer | None = None
    query: Answer | None = None
    origin: Answer | None = None
    host: Answer | None = None
    preflight: Answer | None = None


@dataclass(frozen=True)
class ResourceAnswers:
    """Protected-resource metadata at the URL in the challenge and at both well-known URLs (RFC 9728)."""

    announced: Answer | None = None
    at_path: Answer | None = None
    at_root: Answer | None = None


@dataclass(frozen=True)
class ServerAnswers:
    """The authorization server's metadata, and its endpoints' answers to requests they must refuse."""

    metadata: Answer | None = None
    registration: Answer | None = None
    unregistration: Answer | None = None
    token_form: Answer | None = None
    token_json: Answer | None = None
    authorize: Answer | None = None


@dataclass(frozen=True)
class SignedAnswers:
    """The MCP endpoint's answers to the agent's own token, and what is known of that token; never the token.

    `changed` answers a token with one other character, `session` a session's id without its token.
    """

    discover: Answer | None
    initialize: Answer | None
    origin: Answer | None
    host: Answer | None
    changed: Answer | None
    session: Answer | None
    claims: Mapping[str, Any]
    """Of a JWT; empty for an opaque token."""
    seconds: int | None
    """How long the token is valid, from its issue on; None if the server did not state it."""
    tools: Mapping[str, str]
    """The tools' definitions as JSON, by their names."""

    @property
    def let_in(self) -> Answer | None:
        """The answer that carried a request out."""
        return next((answer for answer in (self.discover, self.initialize) if answer and answer.result), None)


@dataclass(frozen=True)
class Evidence:
    """All answers of one server; `not_looked_at` lists what was not checked, with the reason."""

    target: Target
    mcp: McpAnswers
    resource: ResourceAnswers
    issuer: str
    server: ServerAnswers | None
    not_looked_at: tuple[str, ...] = ()
    signed: SignedAnswers | None = None
    """None without a login."""

    @property
    def guarded(self) -> bool:
        """Whether the MCP endpoint requires a token."""
        return self.refusal is not None

    @property
    def refusal(self) -> Answer | None:
        """The answer that refuses a request without a token."""
        for answer in (self.mcp.discover, self.mcp.initialize):
            if answer is not None and answer.status in {UNAUTHORIZED, FORBIDDEN}:
                return answer
        return None

    @property
    def prm(self) -> Answer | None:
        """The first protected-resource metadata that exists, in the order in which a client looks."""
        for answer in (self.resource.announced, self.resource.at_path, self.resource.at_root):
            if answer is not None and is_prm(answer):
                return answer
        return None

    @property
    def metadata(self) -> Mapping[str, Any] | None:
        """The authorization server's metadata; None when it was not found or not requested."""
        return self.server.metadata.document if self.server and self.server.metadata else None

    def answers(self) -> Iterator[Answer]:
        """Every answer that was received."""
        for group in (self.mcp, self.resource, self.server, self.signed):
            if group is not None:
                found = (getattr(group, field.name) for field in fields(group))
                yield from (answer for answer in found if isinstance(answer, Answer))


def is_prm(answer: Answer) -> bool:
    """Whether this is protected-resource metadata."""
    document = answer.document
    return answer.status == OK and ("resource" in document or "authorization_servers" in document)


class Severity(StrEnum):
    """How bad a finding is; high and medium make the probe fail."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"


@dataclass(frozen=True)
class Found:
    """The check found a problem; `detail` is what the server did."""

    severity: Severity
    detail: str


@dataclass(frozen=True)
class Passed:
    """The check passed; `detail` is what the server did."""

    detail: str


@dataclass(frozen=True)
class Unknown:
    """It cannot be decided without a login, for this reason."""

    why: str


Verdict = Found | Passed | Unknown | None
"""None: the check does not apply to this server."""


Judge = Callable[[Evidence], Verdict]


@dataclass(frozen=True)
class Check:
    """One check of the evidence; `meaning` and `fix` explain a failure to the server's operator."""

    id: str
    title: str
    meaning: str
    fix: str
    judge: Judge


class Checks(list[Check]):
    """Checks in the order of the report."""

    def add(self, id_: str, title: str, meaning: str, fix: str) -> Callable[[Judge], Judge]:
        """A decorator that adds a check with the decorated function as its judge."""

        def added(judge: Judge) -> Judge:
            self.append(Check(id_, title, meaning, fix, judge))
            return judge

        return added
