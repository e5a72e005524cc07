"""Our agent, and a browser, as programs of their own, so that they can be given an edge's variables.

    python -m tests.variations.visitor call URL TOOL ARGUMENTS [TOOL ARGUMENTS …]
    python -m tests.variations.visitor browse URL

`call` logs in, calls each tool, and prints the results as JSON lines; its person, `learner`, approves every
page. `browse` is a browser in which that person does the same.
"""

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from mcp_types import TextContent

from workshop.agent import LoopbackListener, OAuthClient
from workshop.agent.connect import connect
from workshop.agent.elicitation import Person
from workshop.agent.token_store import TokenStore
from workshop.core.browser import following, press
from workshop.core.http_client import open_client

_APPROVING = (("decision", "approve"), ("user", "learner"))
_PAGES = 30
_SECONDS = 60


async def browse(url: str) -> None:
    """Follow redirects and approve forms, to a page without one; raises AssertionError for a refusal."""
    await _listening(url)
    async with open_client(timeout=_SECONDS) as http:
        request = http.build_request("GET", url)
        for _ in range(_PAGES):
            answer = await http.send(request)
            onward = following(answer) or press(http, answer, *_APPROVING)
            if onward is None:
                assert answer.is_success, f"{answer.url} answered {answer.status_code}: {answer.text}"
                return
            request = onward
    raise AssertionError("there is no end to these pages")


async def _listening(url: str) -> None:
    """Wait until somebody listens where a login ends: some clients open the browser first."""
    back = urlsplit(parse_qs(urlsplit(url).query).get("redirect_uri", [""])[0])
    async with asyncio.timeout(_SECONDS):
        while back.hostname == "localhost":
            with suppress(OSError):
                _, writer = await asyncio.open_connection(back.hostname, back.port)
                writer.close()
                return
            await asyncio.sleep(0.05)


@dataclass(frozen=True)
class Approving:
    """The agent's approval: a browser in this process."""

    way: str = "browser"
    user: str = "learner"

    async def start(self, url: str) -> None:
        await browse(url)


async def agrees(_question: str) -> bool:
    return True


async def call(url: str, *words: str) -> None:
    """Call tools one after another, in one session."""
    person = Person(Approving(), agrees)  # type: ignore[arg-type]
    async with LoopbackListener() as listener:
        login = OAuthClient(
            url,
            listener=listener,
            approval=person.approval,
            tokens=TokenStore(Path("logins")),
        )
        async with connect(url, auth=login, person=person, seconds=_SECONDS) as client:
            for tool, arguments in zip(words[::2], words[1::2], strict=True):
                result = await client.call_tool(tool, json.loads(arguments))
                (block,) = result.content
                assert isinstance(block, TextContent)
                sys.stdout.write(json.dumps({"error": bool(result.is_error), "text": block.text}) + "\n")


if __name__ == "__main__":
    act = {"call": call, "browse": browse}[sys.argv[1]]
    asyncio.run(act(*sys.argv[2:]))
