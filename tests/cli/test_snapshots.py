"""What the main commands print, whole, as text and as JSON; `--inline-snapshot=fix` takes over a change."""

import json
import re

from inline_snapshot import snapshot

from tests.cli.conftest import Workshop
from tests.environment import IsolatedInstance


class Shown:
    """Runs commands in an instance, and returns what they print without times, ports, paths and pids."""

    def __init__(self, instance: IsolatedInstance) -> None:
        self._room = instance

    def __call__(self, *arguments: str) -> str:
        done = self._room.run(*arguments)
        return self.steady(f"{done.stdout}--\n{done.stderr}")

    def steady(self, text: str) -> str:
        text = re.sub(r'(  |"pid": )\d+(?=,?$)', r"\1<pid>", text, flags=re.MULTILINE)
        for name, port in self._room.ports.items():
            text = re.sub(rf":{port}\b", f":<{name}>", text)
        text = text.replace(str(self._room.home), "<state>").replace(str(self._room.folder), "<here>")
        text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:<port>", text)
        text = re.sub(r"\(\d+\.\d s\)", "(<time>)", text)
        text = re.sub(r"(?<=\S) {2,}(?=\S)", "  ", text)  # columns are as wide as what was there
        return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("Warning: "))


def test_a_room_from_up_to_teardown(instance: IsolatedInstance) -> None:
    shown = Shown(instance)
    assert shown("up", *instance.port_options) == snapshot("""\
Embedded backend (as requested), practice GitHub: no account needed
workshop  http://localhost:<workshop>/mcp
practice-github  http://localhost:<practice-github>
github-remote  http://localhost:<github-remote>/mcp
--
… Start workshop-0
✓ Start workshop-0 · http://127.0.0.1:<port>/mcp (<time>) done
… Start workshop
✓ Start workshop · http://localhost:<workshop>/mcp (<time>) done
… Start practice-github
✓ Start practice-github · http://localhost:<practice-github> (<time>) done
… Start github-remote
✓ Start github-remote · http://localhost:<github-remote>/mcp (<time>) done
Next: `workshop part 1 show`
""")
    assert shown("status") == snapshot("""\
embedded backend, practice upstream
Endpoints: 3 of 3 answer
Clients of part 4 register
Part: 1, The agent loop. You have not read it yet
State and logs: <state>/default
workload  state  address  pid
github-remote  running  http://localhost:<github-remote>/mcp  <pid>
practice-github  running  http://localhost:<practice-github>  <pid>
workshop  running  http://localhost:<workshop>/mcp  <pid>
workshop-0  running  http://127.0.0.1:<port>/mcp  <pid>
--
Next: `workshop part 1 show`
""")
    assert shown("status", "--json") == snapshot("""\
{
  "version": 1,
  "command": "status",
  "status": "success",
  "exit_code": 0,
  "data": {
    "up": true,
    "backend": "embedded",
    "upstream": "practice",
    "directory": "<state>/default",
    "workloads": [
      {
        "name": "github-remote",
        "state": "running",
        "url": "http://localhost:<github-remote>/mcp",
        "pid": <pid>,
        "log": "<state>/default/workloads/github-remote/log.txt",
        "detail": ""
      },
      {
        "name": "practice-github",
        "state": "running",
        "url": "http://localhost:<practice-github>",
        "pid": <pid>,
        "log": "<state>/default/workloads/practice-github/log.txt",
        "detail": ""
      },
      {
        "name": "workshop",
        "state": "running",
        "url": "http://localhost:<workshop>/mcp",
        "pid": <pid>,
        "log": "<state>/default/workloads/workshop/log.txt",
        "detail": ""
      },
      {
        "name": "workshop-0",
        "state": "running",
        "url": "http://127.0.0.1:<port>/mcp",
        "pid": <pid>,
        "log": "<state>/default/workloads/workshop-0/log.txt",
        "detail": ""
      }
    ],
    "variations": [],
    "endpoints": [
      {
        "name": "github-remote",
        "url": "http://localhost:<github-remote>/mcp",
        "answers": true
      },
      {
        "name": "practice-github",
        "url": "http://localhost:<practice-github>",
        "answers": true
      },
      {
        "name": "workshop",
        "url": "http://localhost:<workshop>/mcp",
        "answers": true
      }
    ],
    "logins": [],
    "step": {
      "part": 1,
      "why": "You have not read it yet",
      "command": "workshop part 1 show",
      "instead": ""
    }
  },
  "next": "`workshop part 1 show`"
}
--
""")
    assert shown("teardown", "--json", "-q") == snapshot("""\
{
  "version": 1,
  "command": "teardown",
  "status": "success",
  "exit_code": 0,
  "data": {
    "stopped": [
      "workshop-0",
      "workshop",
      "practice-github",
      "github-remote"
    ]
  },
  "next": ""
}
--
""")


def test_nothing_is_up(workshop: Workshop) -> None:
    outcome = workshop("status")
    assert outcome.out + outcome.err == snapshot("""\
Nothing is up
Part: 1, The agent loop
Next: `workshop up`
""")
    outcome = workshop("status", "--json")
    document = json.loads(outcome.out)
    document["data"]["directory"] = "<state>"
    assert document == snapshot(
        {
            "version": 1,
            "command": "status",
            "status": "success",
            "exit_code": 0,
            "data": {
                "up": False,
                "backend": None,
                "upstream": None,
                "directory": "<state>",
                "workloads": [],
                "variations": [],
                "endpoints": [],
                "logins": [],
                "step": {"part": 1, "why": "Nothing is up", "command": "workshop up", "instead": ""},
            },
            "next": "`workshop up`",
        }
    )


def test_the_help(workshop: Workshop) -> None:
    assert workshop("--help").out == snapshot("""\
Usage: workshop [OPTIONS] COMMAND [ARGS]...

  A tutorial on the Model Context Protocol in four parts.

  workshop up              start everything the parts need
  workshop part 1 show     read a lesson …
  workshop part 1 run      … run it …
  workshop part 1 check    … and check your work; then 2, 3, 4
  workshop next            show where you are and what to run now
  workshop teardown        stop everything
  workshop rehearse        all of it, unattended and checked
  workshop help            more: attending, running, clusters, exit codes, …

Options:
  --version             Print the version.
  --instance NAME       The instance to act on, if you run several; anywhere in the command. Or
                        WORKSHOP_INSTANCE.
  -v, --verbose         Show the commands that are run; twice: their output too.
  -q, --quiet           No progress and no hints; twice: no warnings.
  --no-input            Never ask, as if there were no terminal.
  --install-completion  Install completion for the current shell.
  --show-completion     Show completion for the current shell, to copy it or customize the
                        installation.
  -h, --help            Show this message and exit.

Environment:
  up        Start everything the parts need; what already runs unchanged is not restarted.
  join      Take a seat in a room: `up` then runs the parts in the room's cluster; only kubectl is
            needed here.
  status    Show what is up, what answers, your logins, your part, and the next command.
  logs      Show the last log lines of the workloads; secrets are hidden.
  teardown  Stop everything that `up` started and remove its state.

Lessons:
  part        Show and run the parts of the tutorial.
  next        Show where you are, and the one command to run now.
  open        Show the lesson, your progress and the handshake, as it happens, in a browser.
  trace       Explain or convert a recorded run.
  connect     Show how another MCP client connects, or write it into its configuration.
  disconnect  Remove the workshop from another client's configuration.
  bridge      Serve a remote MCP server over stdio, logged in, for clients without OAuth.

Troubleshooting:
  doctor  Check that this machine is ready; exit 3 when something would fail.
  config  Show every setting, its value and where it came from; secrets as `***`.
  report  Write a zip file with versions, findings, settings and logs, without secrets.
  help    List the topics, or explain one; with a command's words, show its help.

Security:
  login    List and end the agent's logins.
  probe    Check an MCP server for weaknesses with at most 20 requests and no login, unless you
           ask for one.
  compare  Compare an MCP server of your own with the five ways to do part 4.
  serve    Run a variation's server with your own configuration, until Ctrl-C.

For facilitators:
  rehearse  Set up, run and check every part without a person, then tear down.
  demo      Play, record and verify the demos.
  bundle    Create a file with everything a cluster needs, for `up --bundle FILE` without a
            network.
  room      Create, watch and remove a room, a seat for each attendee; see `help room`.
""")


def test_next_and_a_check(workshop: Workshop) -> None:
    outcome = workshop("next")
    assert outcome.out + outcome.err == snapshot("""\
You are in part 1, The agent loop. Nothing is up
part   title                          read   run   checked   exercises
1      The agent loop                                        open, open
2      A local MCP server                                    open, open
3      The server on ToolHive                                open, open
4      GitHub's server behind OAuth                          open, open, open, open, open
Next: `workshop up`
""")
    outcome = workshop("part", "1", "check")
    assert re.sub(r"\(\d+\.\d s\)", "(<time>)", outcome.out + outcome.err) == snapshot("""\
6 of 7 checks of part 1 have passed; 2 exercises are not begun
✗ You have run this part, and it answered
    It has not been run yet
    → `workshop part 1 run` asks the agent its question
✓ Each tool describes to a model what it does and what it takes
✓ A tool that the model asks for is called, and the model gets the result
✓ The loop repeats until the model answers, and each turn contains all earlier entries
✓ A tool that fails does not end the loop: the model reads the reason
✓ A model that never answers is stopped after `MAX_TURNS` turns
✓ The answer names the facts that are in data.json
○ Exercise 1 is not begun: `workshop part 1 exercise 1`
○ Exercise 2 is not begun: `workshop part 1 exercise 2`
… Run the checks of part 1
✓ Run the checks of part 1 (<time>) done
Next: `workshop part 1 check`
""")


def test_errors(workshop: Workshop) -> None:
    assert workshop("part", "3", "run").err == snapshot("""\
Error: Part 3 needs its workloads, and nothing is up
  → Run `workshop up` first
""")
    assert workshop("part", "3", "run", "--json").out == snapshot("""\
{
  "version": 1,
  "command": "part run",
  "status": "error",
  "exit_code": 3,
  "error": {
    "code": "preflight",
    "what": "Part 3 needs its workloads, and nothing is up",
    "why": "",
    "hint": "Run `workshop up` first"
  }
}
""")
    assert workshop("up", "--bakend", "kind").err == snapshot("""\
Error: No such option: --bakend (Possible options: --backend, --bundle)
  → `workshop up --help` shows what there is
""")
