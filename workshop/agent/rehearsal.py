"""The rehearsal model: it follows a plan or keywords, and states that it is not a language model."""

import re
from collections.abc import Sequence
from typing import Any

from workshop.agent.messages import (
    Conversation,
    ModelTurn,
    Question,
    ToolCall,
    ToolReply,
    ToolSpec,
)
from workshop.agent.plan import Plan, fill, keep_of

_WORD = re.compile(r"[a-z0-9]+")
_SMALL_WORDS = frozenset(
    _WORD.findall(
        "a an and are at does for has have how i in is it its list me my of on or the to what which"
    )
)
_QUOTED = 600


class RehearsalModel:
    """Follows the plan whose keywords fit the question, or else calls the one tool that fits best.

    It has no state: each turn depends on the conversation only.
    """

    name = "rehearsal model (no LLM)"

    def __init__(self, plans: Sequence[Plan], question: str = "") -> None:
        """`question` is the part's own question, which always uses the first plan."""
        self._plans = tuple(plans)
        self._question = question

    async def reply(self, conversation: Conversation, tools: Sequence[ToolSpec]) -> ModelTurn:
        """Ask for the next call of the plan, or answer from the results."""
        question = next(entry.text for entry in conversation if isinstance(entry, Question))
        replies = [entry for entry in conversation if isinstance(entry, ToolReply)]
        failed = next((reply for reply in replies if reply.result.is_error), None)
        if failed:
            return ModelTurn(
                f"I cannot answer: the tool {failed.call.name} failed. {failed.result.text[:_QUOTED]}"
            )
        plan = self._choose(question)
        return _follow(plan, replies) if plan else _match(question, replies, tools)

    def _choose(self, question: str) -> Plan | None:
        if self._plans and _words(question) == _words(self._question):
            return self._plans[0]
        asked = set(_words(question))
        fitting = [plan for plan in self._plans if plan.keywords and asked.issuperset(plan.keywords)]
        return max(fitting, key=lambda plan: len(plan.keywords), default=None)


def _follow(plan: Plan, replies: Sequence[ToolReply]) -> ModelTurn:
    known: dict[str, Any] = {}
    for planned, reply in zip(plan.calls, replies, strict=False):
        known |= {name: keep_of(reply.result.data, rule) for name, rule in planned.keep.items()}
    if len(replies) == len(plan.calls):
        return ModelTurn(str(fill(plan.answer, known)))
    planned = plan.calls[len(replies)]
    call = ToolCall(f"rehearsal-{len(replies) + 1}", planned.tool, fill(planned.arguments, known))
    return ModelTurn("", (call,))


def _match(question: str, replies: Sequence[ToolReply], tools: Sequence[ToolSpec]) -> ModelTurn:
    if replies:
        last = replies[-1]
        return ModelTurn(
            f"By keywords your question fits the tool {last.call.name}. It returned: {_cut(last.result.text)}"
        )
    asked = _meaning(question)
    score = {
        tool.name: len(asked & _meaning(f"{tool.name} {tool.description}"))
        for tool in tools
        if not tool.input_schema.get("required")
    }
    best = max(score, key=lambda name: score[name], default="")
    if best and score[best]:
        return ModelTurn("", (ToolCall("rehearsal-1", best, {}),))
    return ModelTurn(
        "I am not a language model and no tool fits the words of your question. "
        f"The tools are: {', '.join(tool.name for tool in tools)}. A model in `.env` can answer freely."
    )


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _meaning(text: str) -> set[str]:
    return {word.removesuffix("s") for word in _words(text)} - _SMALL_WORDS


def _cut(text: str) -> str:
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"
