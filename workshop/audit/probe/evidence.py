"""The server's answers: the only input of the checks."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from workshop.audit.probe.target import Target

OK, UNAUTHORIZED, FORBIDDEN = 200, 401, 403
_PARAMETER = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; `text` is the beginning of its body."""

    request: str
    url: str
    status: int
    headers: tuple[tuple[str, str], ...]
    text: str

    def header(self, name: str) -> str:
        """The values of a header, joined; empty when it is absent."""
        return ", ".join(value for key, value in self.headers if key.lower() == name)

    @property
    def media_type(self) -> str:
        return self.header("content-type").partition(";")[0].strip().lower()

    @cached_property
    def document(self) -> Mapping[str, Any]:
        """The JSON object of the body or of its first event; empty when there is none."""
        text = self.text
        if self.media_type == "text/event-stream":
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
        """Whether it is a JSON-RPC result: the server did what it was asked."""
        return self.speaks_mcp and "result" in self.document

    @property
    def gist(self) -> tuple[int, str, str]:
        """Status, error and description, to compare two refusals."""
        said = {**self.document, **(self.challenge or {})}
        description = said.get("error_description") or said.get("message") or ""
        return self.status, str(said.get("error", "")), str(description)


@dataclass(frozen=True)
class McpAnswers:
    """The MCP endpoint, asked without a token, with worthless ones, and as a web page would."""

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
    """Protected-resource metadata where the challenge says, and at both well-known places (RFC 9728)."""

    announced: Answer | None = None
    at_path: Answer | None = None
    at_root: Answer | None = None


@dataclass(frozen=True)
class ServerAnswers:
    """The authorization server: its metadata, and what its endpoints do with what they must refuse."""

    metadata: Answer | None = None
    registration: Answer | None = None
    unregistration: Answer | None = None
    token_form: Answer | None = None
    token_json: Answer | None = None
    authorize: Answer | None = None


@dataclass(frozen=True)
class Evidence:
    """All answers of one server; `not_looked_at` lists what was left out, with the reason."""

    target: Target
    mcp: McpAnswers
    resource: ResourceAnswers
    issuer: str
    server: ServerAnswers | None
    not_looked_at: tuple[str, ...] = ()

    @property
    def guarded(self) -> bool:
        """Whether the MCP endpoint wants a token."""
        return self.refusal is not None

    @property
    def refusal(self) -> Answer | None:
        """The refusal that a request without a token got."""
        for answer in (self.mcp.discover, self.mcp.initialize):
            if answer is not None and answer.status in {UNAUTHORIZED, FORBIDDEN}:
                return answer
        return None

    @property
    def prm(self) -> Answer | None:
        """The first protected-resource metadata that is there, in the order a client looks."""
        for answer in (self.resource.announced, self.resource.at_path, self.resource.at_root):
            if answer is not None and is_prm(answer):
                return answer
        return None

    @property
    def metadata(self) -> Mapping[str, Any] | None:
        """The authorization server's metadata; None when it was not found or not looked at."""
        return self.server.metadata.document if self.server and self.server.metadata else None

    def answers(self) -> Iterator[Answer]:
        """Every answer there is."""
        for group in (self.mcp, self.resource, self.server):
            if group is not None:
                found = (getattr(group, field.name) for field in fields(group))
                yield from (answer for answer in found if isinstance(answer, Answer))


def is_prm(answer: Answer) -> bool:
    """Whether this is protected-resource metadata."""
    document = answer.document
    return answer.status == OK and ("resource" in document or "authorization_servers" in document)
