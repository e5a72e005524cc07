"""The checks of part 2: the tools answer over the protocol, and the loop is that of part 1."""

import ast
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mcp import Client, MCPError, StdioServerParameters
from mcp.types import Tool

from workshop.agent import McpTools, ToolResult
from workshop.agent.connect import connect
from workshop.course.checks import Script, Subject, check, expect, random_number

PART_1 = "01_agent_loop"
_LOOPS = (ast.For, ast.While, ast.AsyncFor, ast.ListComp)


@check(hints=("`workshop part 2 run` asks the same question as part 1",))
def it_was_run(subject: Subject) -> None:
    """You have run this part, and it answered."""
    expect(subject.ran, "It has not been run yet")


@check(
    hints=(
        "`SERVER` in main.py is a command line; run it by hand and read its output",
        "`python parts/02_local_mcp/server.py` waits silently if it is fine; Ctrl-C ends it",
    ),
    seconds=30,
)
async def the_server_starts(subject: Subject) -> None:
    """`main.py` starts the server and speaks MCP with it over stdin and stdout."""
    session = await _session(subject)
    expect(session.server, "The server does not give its name")


@check(
    hints=(
        "`@server.tool` publishes a function; without it, no client finds the function",
        "Compare `TOOLS` of part 1 with the functions below `@server.tool` in server.py",
    ),
    needs=(the_server_starts,),
)
async def the_tools_are_listed(subject: Subject) -> None:
    """`tools/list` names every tool of part 1, each with its description and schemas."""
    wanted = {tool.__name__ for tool in subject.part(PART_1).module("tools").TOOLS}
    listed = {tool.name: tool for tool in (await _session(subject)).tools}
    missing = sorted(wanted - set(listed))
    expect(not missing, f"{', '.join(missing)} of part 1: not listed here")
    bare = sorted(name for name, tool in listed.items() if not tool.description)
    expect(not bare, f"Without a docstring, and so without a description: {', '.join(bare)}")
    vague = sorted(name for name, tool in listed.items() if not tool.output_schema)
    expect(not vague, f"Without a return type, so a program cannot rely on the result: {', '.join(vague)}")
    states = listed["list_issues"].input_schema["properties"]["state"].get("enum")
    expect(states == ["open", "closed", "all"], f"`state` of `list_issues` may be {states}")


@check(
    hints=(
        "`tools/call` carries a name and arguments; server.py's `calculate` receives them unchanged",
        "The result comes twice: as text for a model, as `structuredContent` for a program",
    ),
    needs=(the_server_starts,),
)
async def a_tool_is_called(subject: Subject) -> None:
    """`tools/call` with random numbers returns the right result, as text and as data."""
    session = await _session(subject)
    a, b = session.numbers
    expect(not session.product.is_error, f"It failed: {session.product.text}")
    expect(session.product.data == {"result": a * b}, f"{a} times {b} came back as {session.product.data}")
    expect(str(a * b) in session.product.text, f"The text for the model is {session.product.text}")


@check(
    hints=(
        "A model's mistake is a `ToolError`: the client gets a result with `isError`, and continues",
        "`find` in server.py raises `ToolError` and lists the known repositories",
    ),
    needs=(the_server_starts,),
)
async def an_error_is_a_result(subject: Subject) -> None:
    """A mistake comes back as an error result, and the session continues."""
    session = await _session(subject)
    text = session.mistake.text
    expect(session.mistake.is_error, "An unknown repository got an answer instead of an error")
    expect("trail-mapper" in text, f"The error does not list what would work: {text}")
    expect(
        not session.afterwards.is_error, f"After the mistake, a correct call fails: {session.afterwards.text}"
    )


@check(
    hints=(
        "`slow_count` in server.py: `context.report_progress` sends a message before the result",
        "`await context.report_progress(step, steps, …)` belongs inside the loop",
    ),
    needs=(the_server_starts,),
)
async def progress_arrives(subject: Subject) -> None:
    """A slow tool reports its progress before it is done."""
    reported = (await _session(subject)).progress
    expect(reported == [1, 2, 3], f"Of three steps, these were reported: {reported}")


@check(
    hints=(
        "`agent.ask(McpTools(client))` is enough: it lists and calls tools in the loop of part 1",
        "Remove every loop from main.py; the one in workshop/agent/loop.py is that of part 1",
    ),
    seconds=30,
    needs=(the_server_starts,),
)
async def the_loop_is_untouched(subject: Subject) -> None:
    """The same model gets the same results as in part 1, and `main.py` has no loop of its own."""
    source = ast.parse((subject.directory / "main.py").read_text(encoding="utf-8"))
    lines = [node.lineno for node in ast.walk(source) if isinstance(node, _LOOPS)]
    expect(not lines, f"There is a loop in main.py, in line {', '.join(map(str, lines))}")
    calls: tuple[tuple[str, dict[str, Any]], ...] = (
        ("list_repositories", {}),
        ("list_issues", {"repository": "trail-mapper", "state": "all"}),
        ("calculate", {"operation": "subtract", "a": random_number(), "b": random_number()}),
    )
    before, now = Script(*calls, answer="done"), Script(*calls, answer="done")
    part_1 = subject.part(PART_1)
    await part_1.module().answer(part_1.agent(before))
    await subject.module().answer(subject.agent(now))
    expect(len(now.results) == len(calls), f"Of {len(calls)} calls, {len(now.results)} were answered")
    for (name, _), old, new in zip(calls, before.results, now.results, strict=True):
        expect(old.data == new.data, f"`{name}` gave {old.text[:80]} in part 1 and {new.text[:80]} here")


@dataclass
class Session:
    """The results of one session; all checks share it, because starting the server is slow."""

    server: str
    tools: Sequence[Tool]
    numbers: tuple[int, int]
    product: ToolResult
    mistake: ToolResult
    afterwards: ToolResult
    progress: list[float] = field(default_factory=list)


_sessions: dict[Subject, Session] = {}


async def _session(subject: Subject) -> Session:
    if subject not in _sessions:
        async with connect(subject.module().SERVER, seconds=15) as client:
            _sessions[subject] = await _observe(client)
    return _sessions[subject]


async def _observe(client: Client) -> Session:
    tools, (a, b) = McpTools(client), (random_number(), random_number())
    session = Session(
        client.server_info.name if client.server_info else "",
        (await client.list_tools()).tools,
        (a, b),
        await tools.call_tool("calculate", {"operation": "multiply", "a": a, "b": b}),
        await tools.call_tool("list_issues", {"repository": f"no-such-thing-{random_number()}"}),
        await tools.call_tool("list_issues", {"repository": "trail-mapper"}),
    )

    async def note(progress: float, total: float | None, message: str | None) -> None:  # noqa: ARG001
        session.progress.append(progress)

    with contextlib.suppress(MCPError):
        await client.call_tool("slow_count", {"steps": 3, "seconds": 0}, progress_callback=note)
    return session


@check(
    hints=(
        "Look at `server.py` of this part: what stands above each function that is a tool?",
        "A docstring and the types of both parameters describe the tool, as in exercise 1.1",
        "`Walk` is a dataclass whose fields have types: as the return type it gives the result a schema",
    ),
    seconds=20,
    exercise=1,
)
async def exercise_1(subject: Subject) -> None:
    """`plan_walk` is published, described, and returns data with a schema."""
    hours, pace = random_number(), 3
    async with connect(_program(subject), seconds=15) as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        expect(
            "plan_walk" in listed, f"`tools/list` has no `plan_walk`; it has {', '.join(listed) or 'none'}"
        )
        tool = listed["plan_walk"]
        result = await McpTools(client).call_tool("plan_walk", {"kilometres": hours * pace, "pace": pace})
    expect(tool.description, "`plan_walk` has no docstring, so a model learns nothing about it")
    for name in ("kilometres", "pace"):
        kind = tool.input_schema["properties"].get(name, {}).get("type", "anything")
        expect(kind == "number", f"In the schema, `{name}` is {kind}, not a number")
    expect(tool.output_schema, "Its result has no schema, because the function has no return type")
    reads = bool(tool.annotations and tool.annotations.read_only_hint)
    expect(reads, "`annotations` is missing: it should state that the tool only reads")
    wanted = {"hours": hours, "rests": hours // 2}
    expect(result.data == wanted, f"For {hours * pace} km it returned {result.text}")


@check(
    hints=(
        "Look whether the place is known before you look up its altitude",
        "The model reads the text of a `ToolError`: name the unknown place, and join the names of `PLACES`",
    ),
    seconds=20,
    exercise=2,
)
async def exercise_2(subject: Subject) -> None:
    """A model that asks for an unknown place learns the known ones."""
    name = f"Nowhere {random_number()}"
    async with connect(_program(subject), seconds=15) as client:
        tools = McpTools(client)
        result = await tools.call_tool("altitude", {"place": name})
        again = await tools.call_tool("altitude", {"place": "Mill Bridge"})
    expect(result.is_error, f"For an unknown place it returned {result.text} instead of an error")
    missing = [place for place in ("Hut on the Ridge", "Mill Bridge", "Lake End") if place not in result.text]
    expect(not missing, f"It does not name {', '.join(missing)}; the model reads: {result.text}")
    expect(name in result.text, f"It does not say which place is unknown: {result.text}")
    expect(again.text == "890" or again.data == {"result": 890}, f"Mill Bridge is at {again.text}")


def _program(subject: Subject) -> StdioServerParameters:
    return StdioServerParameters(command=sys.executable, args=[str(subject.file)])
