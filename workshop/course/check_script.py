"""A stand-in for a model in checks: it asks for the tools it was told to, and remembers what it heard."""

from collections.abc import Mapping, Sequence
from typing import Any

from workshop.agent.messages import Conversation, ModelTurn, ToolCall, ToolReply, ToolResult, ToolSpec

Planned = tuple[str, Mapping[str, Any]]


class Script:
    """Asks for each call in a turn of its own, then answers; without an answer it never stops asking."""

    name = "a check's script (no LLM)"

    def __init__(self, *calls: Planned, answer: str | None, most: int = 100) -> None:
        """`most` ends what would go on for ever: after that many turns `turns_left` is 0 and it answers."""
        self._calls = calls
        self._answer = answer
        self.turns_left = most
        self.heard: list[Conversation] = []
        self.offered: Sequence[ToolSpec] = ()

    async def reply(self, conversation: Conversation, tools: Sequence[ToolSpec]) -> ModelTurn:
        """The next planned call, else the answer."""
        turn = len(self.heard)
        self.heard.append(tuple(conversation))
        self.offered = tools
        self.turns_left -= 1
        if not self.turns_left:
            return ModelTurn("I was asked too often")
        if turn >= len(self._calls) and self._answer is not None:
            return ModelTurn(self._answer)
        name, arguments = self._calls[turn % len(self._calls)]
        return ModelTurn("", (ToolCall(f"call-{turn + 1}", name, arguments),))

    @property
    def results(self) -> list[ToolResult]:
        """What came back for each call, as the model was last told."""
        last = self.heard[-1] if self.heard else ()
        return [entry.result for entry in last if isinstance(entry, ToolReply)]
