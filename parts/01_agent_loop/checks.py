"""The checks of part 1: the loop calls tools, returns their results to the model, and ends."""

from workshop.agent import Agent, NoAnswerError, PythonTools, Question
from workshop.course.checks import NotPassedError, Script, Subject, check, expect, random_number


@check(hints=("`workshop part 1 run` asks the agent its question",))
def it_was_run(subject: Subject) -> None:
    """You have run this part, and it answered."""
    expect(subject.ran, "It has not been run yet")


@check(
    hints=(
        "Look at `TOOLS` in tools.py: which of its functions has lost its docstring or a type hint?",
        'A docstring says what the tool does; `state: Literal["open", "closed"]` says what it takes',
    )
)
async def the_tools_describe_themselves(subject: Subject) -> None:
    """Each tool describes to a model what it does and what it takes."""
    tools = await PythonTools(*subject.module("tools").TOOLS).list_tools()
    expect(tools, "`TOOLS` in tools.py is empty")
    for tool in tools:
        expect(tool.description, f"`{tool.name}` has no docstring: a model cannot know what it is for")
        for name, schema in tool.input_schema.get("properties", {}).items():
            known = {"type", "enum", "anyOf", "$ref"} & set(schema)
            expect(known, f"`{name}` of `{tool.name}` has no type hint: a model would have to guess")


@check(
    hints=(
        "Follow a call through `answer` in main.py: `reply.calls`, `call_tool`, `conversation.append`",
        "After each call, `conversation.append(ToolReply(call, result))` gives the model its result",
    )
)
async def a_call_is_carried_out(subject: Subject) -> None:
    """A tool that the model asks for is called, and the model gets the result."""
    a, b = random_number(), random_number()
    script = Script(("calculate", {"operation": "multiply", "a": a, "b": b}), answer="done")
    await _answer(subject, script)
    expect(script.results, "The model asked for `calculate` and never got a result")
    expect(
        script.results[0].data == {"result": a * b}, f"{a} times {b} came back as {script.results[0].text}"
    )


@check(
    hints=(
        "The loop ends when a reply has no calls, and not before",
        "`conversation` is made once, before the loop; each turn appends to it",
    )
)
async def it_goes_on_until_the_answer(subject: Subject) -> None:
    """The loop repeats until the model answers, and each turn contains all earlier entries."""
    said = f"The answer is {random_number()}"
    script = Script(
        ("list_repositories", {}), ("calculate", {"operation": "add", "a": 1, "b": 2}), answer=said
    )
    answered = await _answer(subject, script)
    turns = len(script.requests)
    expect(turns == 3, f"The model was asked {turns} times; two calls and an answer take 3 turns")  # noqa: PLR2004 - said so
    lengths = [len(request) for request in script.requests]
    expect(lengths == [1, 3, 5], f"The conversation had {lengths} entries at its turns, not [1, 3, 5]")
    expect(isinstance(script.requests[-1][0], Question), "The last turn no longer begins with the question")
    expect(answered == said, f"The model answered {said!r}, and the agent returned {answered!r}")


@check(
    hints=(
        "An error inside a tool is a result too: the model reads it and tries something else",
        "`toolbox.call_tool` turns an exception, as in `list_issues`, into a result with `is_error`",
    )
)
async def an_error_goes_to_the_model(subject: Subject) -> None:
    """A tool that fails does not end the loop: the model reads the reason."""
    name = f"no-such-thing-{random_number()}"
    script = Script(("list_issues", {"repository": name}), answer="done")
    await _answer(subject, script)
    expect(script.results and script.results[0].is_error, "A failed call came back as if it had worked")
    expect(
        name in script.results[0].text, f"The error does not name what was wrong: {script.results[0].text}"
    )
    expect("trail-mapper" in script.results[0].text, "The error does not list the known repositories")


@check(
    hints=(
        "`MAX_TURNS` in main.py limits how often the loop asks the model; does the loop obey it?",
        "`for _ in range(MAX_TURNS)`, and after the loop `raise NoAnswerError(MAX_TURNS)`",
    )
)
async def a_lost_model_is_stopped(subject: Subject) -> None:
    """A model that never answers is stopped after `MAX_TURNS` turns."""
    most = subject.module().MAX_TURNS
    script = Script(("list_repositories", {}), answer=None, most=most + 10)
    try:
        await _answer(subject, script)
    except NoAnswerError:
        expect(len(script.requests) == most, f"It stopped after {len(script.requests)} turns, not {most}")
    else:
        raise NotPassedError(
            f"It went on after turn {most}: an agent that makes no progress must end by itself"
        )


@check(
    hints=(
        "Compare with data.json: which repository has the most open issues, and which is its newest?",
        "`workshop part 1 run --model rehearsal` shows each call and its result",
    ),
    seconds=15,
)
async def the_answer_is_right(subject: Subject) -> None:
    """The answer names the facts that are in data.json."""
    repositories = subject.module("tools").REPOSITORIES
    busiest = max(repositories, key=lambda found: len(_open(found)))
    newest = max(_open(busiest), key=lambda issue: issue["number"])
    answered = await _answer(subject)
    for fact in (busiest["name"], newest["title"]):
        expect(fact in answered, f"It does not name {fact!r}: {answered}")


async def _answer(subject: Subject, script: Script | None = None) -> str:
    agent: Agent = subject.agent(script)
    answered: str = await subject.module().answer(agent)
    return answered


def _open(repository: dict) -> list[dict]:  # type: ignore[type-arg]  # JSON
    return [issue for issue in repository["issues"] if issue["state"] == "open"]


@check(
    hints=(
        "The docstring is the only text that a model gets: write it directly below `def`",
        "Each parameter needs a type; a `Literal` of two words becomes an `enum` in the schema",
        "Look at the distance before you convert it; the error's text states which distances are valid",
    ),
    exercise=1,
)
async def exercise_1(subject: Subject) -> None:
    """A model can call `convert` correctly, and learns about its mistake."""
    tools = PythonTools(subject.function("convert"))
    (tool,) = await tools.list_tools()
    expect(tool.description, "`convert` has no docstring: a model cannot know what it is for")
    schema = tool.input_schema["properties"]
    expect(set(schema) == {"value", "unit"}, f"It takes {', '.join(schema)}, not `value` and `unit`")
    expect(schema["value"].get("type") == "number", f"To a model, `value` is {_kind(schema['value'])}")
    expect(
        set(schema["unit"].get("enum", ())) == {"kilometres", "miles"},
        f"To a model, `unit` is {_kind(schema['unit'])}, not one of two words",
    )
    far = random_number()
    right = await tools.call_tool("convert", {"value": far, "unit": "miles"})
    expect(
        right.data == {"kilometres": far * subject.program.KILOMETRES_IN_A_MILE},
        f"{far} miles came back as {right.text}",
    )
    wrong = await tools.call_tool("convert", {"value": -far, "unit": "miles"})
    expect(wrong.is_error, f"{-far} miles were converted to {wrong.text}")
    expect("ValueError" in wrong.text, f"For a negative distance the model reads {wrong.text}")


@check(
    hints=(
        "`while True` never ends by itself: which loop of Python runs a known number of times?",
        "Only the first line of the loop changes; what happens in a turn stays as it is",
        "What follows the loop is reached only if no turn had an answer: that is the time for the error",
    ),
    exercise=2,
)
async def exercise_2(subject: Subject) -> None:
    """The loop ends after `MAX_TURNS` turns, and not before."""
    ask, most = subject.function("ask"), 3 + random_number() % 5
    vars(subject.program)["MAX_TURNS"] = most
    set_here = f"This check sets MAX_TURNS to {most}, and"
    toolbox = PythonTools(*subject.module("tools").TOOLS)
    lost = Script(("list_repositories", {}), answer=None, most=most + 20)
    try:
        await ask(subject.agent(lost), toolbox)
    except NoAnswerError:
        expect(len(lost.requests) == most, f"{set_here} your loop asked {len(lost.requests)} times")
    else:
        raise NotPassedError(f"{set_here} your loop asked {len(lost.requests)} times, and never stopped")
    late = Script(*[("list_repositories", {})] * (most - 1), answer="at last")
    answered = await ask(subject.agent(late), toolbox)
    expect(answered == "at last", f"An answer in the last turn came back as {answered!r}")


def _kind(schema: dict) -> str:  # type: ignore[type-arg]  # JSON
    return f"of type `{schema['type']}`" if "type" in schema else "anything"
