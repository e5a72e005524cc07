"""MCP inside HTTP: JSON-RPC messages, as a whole body or as server-sent events."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workshop.recorder.masking import Labels, cut, masked_json, masked_url

_LONGEST_RESULT = 240
_URL_ELICITATION_REQUIRED = -32042


@dataclass(frozen=True)
class Rpc:
    """One JSON-RPC message: a request or notification has a method, a response a result or an error."""

    message: Mapping[str, Any]

    @property
    def method(self) -> str:
        return str(self.message.get("method") or "")

    @property
    def id(self) -> str:
        return "" if self.message.get("id") is None else str(self.message["id"])[:60]

    @property
    def params(self) -> Mapping[str, Any]:
        params = self.message.get("params")
        return params if isinstance(params, Mapping) else {}

    @property
    def tool(self) -> str:
        """The name of the tool that is called; empty if none is."""
        return str(self.params.get("name") or "") if self.method == "tools/call" else ""

    @property
    def elicitations(self) -> list[Mapping[str, Any]]:
        """The pages that a person must open first (MCP, URL elicitation), each with `url` and `message`."""
        found: list[object] = [self.params] if self.method == "elicitation/create" else []
        error, result = self.message.get("error"), self.message.get("result")
        if isinstance(error, Mapping) and error.get("code") == _URL_ELICITATION_REQUIRED:
            data = error.get("data")
            listed = data.get("elicitations") if isinstance(data, Mapping) else None
            found += listed if isinstance(listed, list) else []
        asked = result.get("inputRequests") if isinstance(result, Mapping) else None
        if isinstance(asked, Mapping):
            found += [one.get("params") for one in asked.values() if isinstance(one, Mapping)]
        return [one for one in found if isinstance(one, Mapping) and isinstance(one.get("url"), str)]

    def summary(self, labels: Labels) -> str:
        """Summarise the message in a line or two, with secrets masked."""
        if elicitations := self.elicitations:
            return "; ".join(_elicited(one, labels) for one in elicitations)
        if self.method:
            shown = {name: value for name, value in self.params.items() if name != "_meta"}
            shown = shown.get("arguments", {}) if self.tool else shown
            return cut(_line(masked_json(shown, labels)))
        if "error" in self.message:
            return f"error {cut(_line(masked_json(self.message['error'], labels)), _LONGEST_RESULT)}"
        return _result(self.message.get("result"), labels)


def _elicited(asked: Mapping[str, Any], labels: Labels) -> str:
    link = cut(masked_url(asked["url"], labels))
    said = labels.sweep(_line(masked_json(asked.get("message", ""), labels)))  # before it is cut
    return f"please open {link}: {cut(said, _LONGEST_RESULT)}"


def _result(result: object, labels: Labels) -> str:
    if not isinstance(result, Mapping):
        return "a result"
    if isinstance(tools := result.get("tools"), list):
        names = [str(tool.get("name")) for tool in tools if isinstance(tool, Mapping)]
        return cut(f"{len(names)} tools: {', '.join(names)}")
    if isinstance(content := result.get("content"), list):
        texts = [
            str(block.get("text", f"[{block.get('type')}]")) for block in content if isinstance(block, dict)
        ]
        said = "refused: " if result.get("isError") else ""
        return f"{said}{cut(' '.join(' '.join(texts).split()), _LONGEST_RESULT)}"
    info = result.get("serverInfo")
    name = f"{info.get('name', '')} " if isinstance(info, Mapping) else ""
    versions = result.get("protocolVersion") or result.get("supportedVersions") or ""
    return cut(f"{name}{_line(versions)}".strip() or _line(masked_json(result, labels)), _LONGEST_RESULT)


def _line(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def read(body: bytes, media_type: str) -> list[Rpc]:
    """The JSON-RPC messages of a body; anything else is left out."""
    texts = _events(body) if media_type == "text/event-stream" else [body]
    return [message for text in texts for message in _parsed(text)]


def _parsed(text: bytes) -> Iterator[Rpc]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return
    for message in found if isinstance(found, list) else [found]:
        if isinstance(message, dict) and message.get("jsonrpc") == "2.0":
            yield Rpc(message)


def _events(body: bytes) -> Iterator[bytes]:
    """The data of each server-sent event, with any kind of line ends."""
    for event in body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n"):
        data = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
        if data:
            yield b"\n".join(data)
