"""Plain functions, named as `module:function`, become the tools of an MCP server."""

import difflib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from anyio import to_thread
from mcp.server.context import ServerMiddleware
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from workshop.core.errors import UsageError

Function = Callable[..., Any]
InputTrans = Callable[[dict[str, Any]], dict[str, Any]]
Middleware = ServerMiddleware[Any]
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def mk_mcp_from_refs(
    refs: Iterable[str],
    *,
    name: str,
    input_trans: InputTrans | None = None,
    middleware: Middleware | Iterable[Middleware] | None = None,
    instructions: str | None = None,
) -> MCPServer:
    """A server with these functions; raises UsageError for one that is not there or cannot be a tool."""
    around = [middleware] if callable(middleware) else list(middleware or ())
    server = MCPServer(name, instructions=instructions, middleware=around, log_level="WARNING")
    taken: dict[str, str] = {}
    for ref in refs:
        function = function_of(ref)
        if taken.setdefault(function.__name__, ref) != ref:
            raise UsageError(f"`{taken[function.__name__]}` and `{ref}` would be tools of one name")
        try:
            server.add_tool(_tool(function, input_trans))
        except Exception as error:
            raise UsageError(f"`{ref}` cannot be a tool", why=f"{type(error).__name__}: {error}") from error
    if not taken:
        raise UsageError("There is no function to serve", hint="`--ref module:function`, or `refs` in FILE")
    return server


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
    """`function` behind `input_trans`; what it says of its arguments, as a ValueError, reaches the model."""
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
