"""Plain functions, given or named as `module:function`, as the tools of an MCP server."""

import difflib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from anyio import to_thread
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from workshop.core.errors import UsageError

Function = Callable[..., Any]
InputTrans = Callable[[dict[str, Any]], dict[str, Any]]
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def add_functions(server: MCPServer, found: Iterable[tuple[str, Function]], trans: InputTrans | None) -> None:
    """Add each function as a tool; the text beside it names it in errors.

    Raises UsageError without any, for two of one name, and for one that cannot be a tool.
    """
    taken: dict[str, str] = {}
    for text, function in found:
        name = function.__name__
        if taken.setdefault(name, text) != text:
            raise UsageError(f"`{taken[name]}` and `{text}` would be tools of one name")
        try:
            server.add_tool(_tool(function, trans))
        except Exception as error:
            raise UsageError(f"`{text}` cannot be a tool", why=f"{type(error).__name__}: {error}") from error
    if not taken:
        raise UsageError(
            "There is no function to serve",
            hint="Name one after `--ref`, such as `module:function`, or in `refs` of FILE",
        )


def named(found: Function | str) -> tuple[str, Function]:
    """A function and the text that names it; raises UsageError for a reference that names none."""
    if isinstance(found, str):
        return found, function_of(found)
    if not inspect.isroutine(found):
        raise UsageError(
            f"{found!r} is not a function", hint="Pass a function, or the text `module:function`"
        )
    return f"{found.__module__}:{found.__qualname__}", found


def function_of(ref: str) -> Function:
    """The function that a reference names; raises UsageError when there is none."""
    module_name, _, name = ref.partition(":")
    if not module_name or not name:
        raise UsageError(f"`{ref}` is not a reference to a function", hint="Write `module:function`")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise UsageError(f"The module of `{ref}` cannot be imported", why=why) from error
    found = getattr(module, name, None)
    if not inspect.isroutine(found):
        near = difflib.get_close_matches(name, set(dir(module)) - {name}, n=1)
        raise UsageError(f"`{ref}` is not a function", hint=f"Is it `{near[0]}`?" if near else "")
    return found


def _tool(function: Function, input_trans: InputTrans | None) -> Function:
    """`function` behind `input_trans`; the text of its ValueError reaches the model."""
    if any(argument.kind not in _BY_NAME for argument in inspect.signature(function).parameters.values()):
        raise TypeError("arguments of a tool come by name, and not all of these can")
    prepared = input_trans or dict

    async def call(**arguments: object) -> object:
        try:
            bound = functools.partial(function, **prepared(arguments))
            return await (bound() if inspect.iscoroutinefunction(function) else to_thread.run_sync(bound))
        except ValueError as error:
            raise ToolError(str(error)) from error

    return functools.wraps(function)(call)
