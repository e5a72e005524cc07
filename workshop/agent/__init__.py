"""The agent of the tutorial: a loop, models, toolboxes, and a login over OAuth.

Names are imported when they are first used, so that a part without MCP does not wait for it to load.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workshop.agent.approval import ApproveAs as ApproveAs
    from workshop.agent.approval import OpenBrowser as OpenBrowser
    from workshop.agent.approval import PrintUrl as PrintUrl
    from workshop.agent.listener import LoopbackListener as LoopbackListener
    from workshop.agent.loop import Agent as Agent
    from workshop.agent.loop import NoAnswerError as NoAnswerError
    from workshop.agent.loop import run_agent as run_agent
    from workshop.agent.mcp_tools import McpTools as McpTools
    from workshop.agent.messages import ChatModel as ChatModel
    from workshop.agent.messages import Entry as Entry
    from workshop.agent.messages import ModelTurn as ModelTurn
    from workshop.agent.messages import Question as Question
    from workshop.agent.messages import Toolbox as Toolbox
    from workshop.agent.messages import ToolCall as ToolCall
    from workshop.agent.messages import ToolReply as ToolReply
    from workshop.agent.messages import ToolResult as ToolResult
    from workshop.agent.messages import ToolSpec as ToolSpec
    from workshop.agent.oauth import OAuthClient as OAuthClient
    from workshop.agent.openai_chat import OpenAIChat as OpenAIChat
    from workshop.agent.rehearsal import RehearsalModel as RehearsalModel
    from workshop.agent.run import run_part as run_part
    from workshop.agent.token_store import TokenStore as TokenStore
    from workshop.agent.toolbox import PythonTools as PythonTools

_HOMES = {
    "approval": "ApproveAs OpenBrowser PrintUrl",
    "listener": "LoopbackListener",
    "loop": "Agent NoAnswerError run_agent",
    "mcp_tools": "McpTools",
    "messages": "ChatModel Entry ModelTurn Question ToolCall ToolReply ToolResult ToolSpec Toolbox",
    "oauth": "OAuthClient",
    "openai_chat": "OpenAIChat",
    "rehearsal": "RehearsalModel",
    "run": "run_part",
    "token_store": "TokenStore",
    "toolbox": "PythonTools",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the names have types of their own, above
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOME_OF)
