"""Plain Python functions as tools."""

import inspect
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ArgsKwargs, to_jsonable_python

from workshop.agent.messages import ToolResult, ToolSpec
from workshop.core.encoding import whole_characters
from workshop.core.errors import UsageError
from workshop.core.mistakes import in_words
from workshop.core.text import docstring

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class PythonTools:
    """Tools in this process: each is described by its function's name, docstring and type hints."""

    def __init__(self, *functions: Callable[..., Any]) -> None:
        self._functions = {function.__name__: _PythonTool(function) for function in functions}

    async def list_tools(self) -> list[ToolSpec]:
        """List the functions, in the order given."""
        return [tool.spec for tool in self._functions.values()]

    async def call_tool(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Check the arguments against the type hints, then call the function."""
        tool = self._functions.get(name)
        if tool is None:
            return ToolResult(f"There is no tool {name!r}", is_error=True)
        try:
            return _result(await tool.call(arguments))
        except ValidationError as error:
            mistakes = "; ".join(map(mistake, error.errors(include_url=False)))
            return ToolResult(whole_characters(f"Invalid arguments: {mistakes}"), is_error=True)
        # A tool may fail in any way; the model gets the error and can try something else.
        except Exception as error:  # noqa: BLE001 - the loop continues whatever a tool does
            return ToolResult(whole_characters(f"{type(error).__name__}: {error}"), is_error=True)


class _PythonTool:
    """One function, its schema, and the check of its arguments; pydantic derives both from the type hints."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._adapter: TypeAdapter[Any] = TypeAdapter(function)  # type: ignore[arg-type]  # a function is one
        self.spec = ToolSpec(function.__name__, docstring(function), _schema(function, self._adapter))

    async def call(self, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a tool returns what it likes
        # Validating a call schema is calling the function.
        returned = self._adapter.validate_python(ArgsKwargs((), dict(arguments)))
        return await returned if inspect.isawaitable(returned) else returned


def _schema(function: Callable[..., Any], adapter: TypeAdapter[Any]) -> dict[str, Any]:
    schema = adapter.json_schema()
    if schema.get("type") != "object":
        raise UsageError(
            f"`{function.__name__}` cannot be a tool",
            why="It has positional-only parameters, and a model names every argument",
            hint="Remove the `/` or `*args` from its signature",
        )
    return schema


def _result(value: Any) -> ToolResult:  # noqa: ANN401 - a tool returns what it likes
    data = to_jsonable_python(value)
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return ToolResult(whole_characters(text), data)


def mistake(found: "ErrorDetails") -> str:
    """One mistake that pydantic found, in our words: the path in the JSON, and what is wrong there."""
    return f"`{'.'.join(map(str, found['loc']))}` {in_words(found)}"
