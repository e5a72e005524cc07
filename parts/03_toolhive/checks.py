"""The checks of part 3: the server runs elsewhere, and an operator decides which tools it shows."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from mcp import Client

from workshop.agent import McpTools, PythonTools
from workshop.agent.connect import connect
from workshop.course.checks import (
    NotApplicableError,
    Script,
    Subject,
    WorkshopError,
    check,
    expect,
    random_number,
)

WORKLOAD = "workshop"
SLOW = "slow_count"
CONFIG = "workshop-tools"
PART_1 = "01_agent_loop"
# Valid arguments, so that a refusal is about the tool's name and nothing else.
ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "list_issues": {"repository": "trail-mapper"},
    "get_issue": {"repository": "trail-mapper", "number": 42},
    "calculate": {"operation": "add", "a": 1, "b": 2},
    SLOW: {"steps": 1, "seconds": 0},
}
AGENTS = 3


@check(hints=("`workshop part 3 run` asks the same question as before",))
def it_was_run(subject: Subject) -> None:
    """You have run this part, and it answered."""
    expect(subject.ran, "It has not been run yet")


@check(
    hints=(
        "`workshop status` shows what runs, and what has stopped",
        "`workshop up` starts what is not running; `workshop logs` shows why a workload ended",
    ),
    seconds=15,
    retries=3,
)
async def the_endpoint_answers(subject: Subject) -> None:
    """An MCP server answers at the URL."""
    async with _connected(subject) as client:
        expect(client.server_info and client.server_info.name, "It does not give its name")


@check(
    hints=(
        "`toolsFilter` in toolhive/tools.yaml lists the names that agents see",
        "A change in the YAML takes effect with the next `workshop up`",
    ),
    needs=(the_endpoint_answers,),
)
async def the_tools_are_the_filtered_ones(subject: Subject) -> None:
    """An agent finds exactly the tools that the `MCPToolConfig` shows."""
    wanted = set(_config(subject).get("toolsFilter") or ())
    if not wanted:
        raise NotApplicableError("There is no `toolsFilter`: every tool is shown")
    async with _connected(subject) as client:
        found = {tool.name for tool in (await client.list_tools()).tools}
    expect(not wanted - found, f"Shown by the configuration, but missing: {_names(wanted - found)}")
    expect(not found - wanted, f"Not in the configuration, but shown: {_names(found - wanted)}")


@check(
    hints=(
        "The keys of `toolsOverride` are the server's own names; agents see the `description` below",
        "With `name` below it, agents see that name; the proxy uses the server's own",
    ),
    needs=(the_endpoint_answers,),
)
async def the_operators_words_count(subject: Subject) -> None:
    """A tool that the operator describes or renames has that description and name, and works."""
    overrides = _config(subject).get("toolsOverride") or {}
    if not overrides:
        raise NotApplicableError("There is no `toolsOverride`: every tool has the server's own description")
    async with _connected(subject) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        for real, new in overrides.items():
            shown = new.get("name", real)
            expect(shown in tools, f"`{shown}` is not among the tools")
            found, wanted = tools[shown].description, new.get("description")
            expect(wanted in (None, found), f"`{shown}` is described as {found!r}, not as in tools.yaml")
            result = await McpTools(client).call_tool(shown, ARGUMENTS.get(real, {}))
            expect(not result.is_error, f"`{shown}` came back as {result.text[:120]}")


@check(
    hints=(
        "Filtering only the list protects nothing: the proxy must also refuse the call",
        "Is `slow_count` in `toolsFilter` again? Then it may be called",
    ),
    needs=(the_endpoint_answers,),
)
async def a_hidden_tool_is_refused(subject: Subject) -> None:
    """A tool that is not shown cannot be called, nor a renamed one by its old name."""
    shown = _config(subject).get("toolsFilter") or ()
    hidden = [SLOW] if SLOW not in shown else []
    renamed = [name for name, new in (_config(subject).get("toolsOverride") or {}).items() if new.get("name")]
    for name in (*hidden, *renamed):
        expect(await _is_refused(subject, name), f"`{name}` is not shown, but a call succeeded")


@check(
    hints=(
        "`calculate` runs in the server; the proxy forwards arguments and results unchanged",
        "`workshop logs` shows what the server and the proxy wrote",
    ),
    needs=(the_endpoint_answers,),
)
async def numbers_come_back(subject: Subject) -> None:
    """A call with random numbers reaches the server and returns the right result."""
    a, b = random_number(), random_number()
    async with _connected(subject) as client:
        result = await McpTools(client).call_tool("calculate", {"operation": "multiply", "a": a, "b": b})
    expect(result.data == {"result": a * b}, f"{a} times {b} came back as {result.text[:120]}")


@check(
    hints=(
        "In part 2 each agent started its own server; this one has a URL and serves everyone",
        "Each session has its own ID: look at `Mcp-Session-Id` in the curl commands of by-hand.md",
    ),
    needs=(the_endpoint_answers,),
)
async def agents_share_it(subject: Subject) -> None:
    """Three agents at once are served by the same endpoint, and each gets its own result."""

    async def asks(number: int) -> bool:
        async with _connected(subject) as client:
            result = await McpTools(client).call_tool("calculate", {"operation": "add", "a": number, "b": 1})
            return bool(result.data == {"result": number + 1})

    right = await asyncio.gather(*(asks(random_number()) for _ in range(AGENTS)))
    expect(all(right), f"Only {sum(right)} of {AGENTS} got the result of their own call")


@check(
    hints=(
        "Add `slow_count` to `toolsFilter`, then `workshop up`: only this workload restarts",
        "Progress comes as events of one HTTP response; a proxy must not wait for its end",
    ),
    needs=(the_endpoint_answers,),
)
async def progress_passes_the_proxy(subject: Subject) -> None:
    """A slow tool's progress arrives through the proxy, event by event."""
    if SLOW not in (_config(subject).get("toolsFilter") or ()):
        raise NotApplicableError(f'`{SLOW}` is not shown; the lesson\'s "Change this and see" shows it')
    reported: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:  # noqa: ARG001
        reported.append(progress)

    async with _connected(subject) as client:
        await client.call_tool(SLOW, {"steps": 3, "seconds": 0.1}, progress_callback=note)
    expect(reported == [1, 2, 3], f"Of three steps, these arrived: {reported}")


@check(
    hints=(
        "`agent.endpoint` returns the URL of what is up; only without one it is `SERVER` in main.py",
        "Compare main.py with part 2's: one argument of `agent.connect` changed, nothing else",
    ),
    seconds=20,
    needs=(the_endpoint_answers,),
)
async def main_uses_the_url(subject: Subject) -> None:
    """`main.py` reaches the tools by URL, and the loop of part 1 uses them."""
    a, b = random_number(), random_number()
    script = Script(("calculate", {"operation": "subtract", "a": a, "b": b}), answer="done")
    await subject.module().answer(subject.agent(script))
    expect(script.results, "The model asked for a tool and never got a result")
    result = script.results[0]
    expect(result.data == {"result": a - b}, f"{a} minus {b} came back as {result.text[:120]}")


def _connected(subject: Subject) -> AbstractAsyncContextManager[Client]:
    return connect(subject.endpoint(WORKLOAD), seconds=8)


def _config(subject: Subject) -> Mapping[str, Any]:
    manifests = subject.manifests()
    (server,) = (found for found in manifests.of("MCPServer") if found.name == WORKLOAD)
    if not server.find("spec.toolConfigRef"):
        raise NotApplicableError("The `MCPServer` names no `toolConfigRef`: every tool is shown")
    config = manifests.named("MCPToolConfig", server.text("spec.toolConfigRef.name"), wanted_by=server)
    return config.mapping("spec")


async def _is_refused(subject: Subject, name: str) -> bool:
    try:
        async with _connected(subject) as client:
            return (await McpTools(client).call_tool(name, ARGUMENTS.get(name, {}))).is_error
    except WorkshopError:  # ToolHive may refuse with an HTTP status
        return True


def _names(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


@check(
    hints=(
        "The filter lists the names that agents see, so it must list the new name",
        "The override is keyed by the server's own name; below it are the new name and the description",
        "toolhive/tools.yaml overrides a description; a new name stands beside it, and in the filter",
    ),
    seconds=60,
    exercise=1,
)
async def exercise_1(subject: Subject) -> None:
    """Agents see `count_with_progress` and the two lists; nothing else can be called."""
    wanted = {"list_repositories", "list_issues", "count_with_progress"}
    own = subject.own_manifest().of("MCPToolConfig")
    expect(
        [found.name for found in own] == [CONFIG],
        f"The file must define the `MCPToolConfig` named `{CONFIG}`, and no other",
    )
    async with (
        subject.embedded(*own) as running,
        connect(running.servers[WORKLOAD], seconds=15) as server,
        connect(running.proxies[WORKLOAD], seconds=15) as client,
    ):
        before = {tool.name: tool.description for tool in (await server.list_tools()).tools}
        shown = {tool.name: tool.description for tool in (await client.list_tools()).tools}
        expect(not wanted - set(shown), f"An agent does not see {_names(wanted - set(shown))}")
        expect(not set(shown) - wanted, f"An agent still sees {_names(set(shown) - wanted)}")
        counted = await McpTools(client).call_tool("count_with_progress", {"steps": 2, "seconds": 0})
    new = shown["count_with_progress"]
    expect(new and new != before[SLOW], f"Its description is still the server's: {new!r}")
    expect(counted.data == {"result": 2}, f"Counting to 2 came back as {counted.text}")


@check(
    hints=(
        "The override is keyed by the server's names, the filter lists the names that agents see",
        "A tool is hidden only if a call is refused too: look at the name before you ask the server",
        "For a call, use the override the other way round: which of the server's tools has this name?",
    ),
    exercise=2,
)
async def exercise_2(subject: Subject) -> None:
    """An agent sees and calls what the configuration shows, under its names, and nothing else."""
    tools = subject.part(PART_1).module("tools").TOOLS
    number = random_number()
    renamed, described = f"compute_{number}", f"Compute, as operator {number} describes it."
    spec = {
        "toolsFilter": [renamed, "list_repositories"],
        "toolsOverride": {
            "calculate": {"name": renamed},
            "list_repositories": {"description": described},
            "list_issues": {"description": "Hidden all the same."},
        },
    }
    script = Script(
        (renamed, {"operation": "add", "a": number, "b": 1}), ("list_repositories", {}), answer="done"
    )
    proxy = subject.function("Proxy")(PythonTools(*tools), spec)
    await subject.agent(script).ask(proxy)
    shown, wanted = {tool.name: tool.description for tool in script.tools}, set(spec["toolsFilter"])
    expect(not wanted - set(shown), f"The agent does not see {_names(wanted - set(shown))}")
    expect(not set(shown) - wanted, f"The agent still sees {_names(set(shown) - wanted)}")
    seen = shown["list_repositories"]
    expect(seen == described, f"`list_repositories` is described as {seen!r}, not as configured")
    for name, result in zip((renamed, "list_repositories"), script.results, strict=True):
        expect(not result.is_error, f"`{name}` came back as {result.text[:120]}")
    expect(script.results[0].data == {"result": number + 1}, f"{number} plus 1 is {script.results[0].text}")
    # Our agent calls only what is listed; another one may not.
    for name, why in (("list_issues", "is not shown"), ("calculate", "has a new name")):
        refused = await proxy.call_tool(name, ARGUMENTS[name])
        expect(refused.is_error, f"`{name}` {why}, but a call of it succeeded")
