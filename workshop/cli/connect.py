"""`workshop connect …` and `disconnect` for other MCP clients; `bridge` for those that speak stdio only."""

import json as jsonlib
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workshop.cli.login import observe
from workshop.cli.options import ApproveAs, NoBrowser, Yes, complete_endpoints
from workshop.cli.terminal import agreed, console
from workshop.core.errors import UsageError, reason
from workshop.core.result import Result
from workshop.core.text import plain

if TYPE_CHECKING:
    from workshop.course.connect import Connection

ClientName = Annotated[
    Literal["claude-code", "claude-desktop", "vscode", "cursor", "windsurf", "codex", "gemini", "inspector"],
    typer.Argument(),
]
Workload = Annotated[
    str,
    typer.Argument(
        help="The workload to connect to: github-remote, workshop, or a variation that runs.",
        autocompletion=complete_endpoints,
    ),
]
Write = Annotated[bool, typer.Option("--write", help="Write the entry into the client's configuration file.")]
HeaderFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--header-file",
        metavar="NAME=FILE",
        help="Send the header NAME with the value that FILE holds.",
        show_default=False,
    ),
]
Url = Annotated[str, typer.Argument(metavar="URL", help="An MCP server, such as http://localhost:8080/mcp.")]


def connect(
    client: ClientName,
    workload: Workload = "github-remote",
    *,
    write: Write = False,
    header_files: HeaderFiles = None,
    yes: Yes = False,
) -> Result:
    """Show how another MCP client connects, or write it into its configuration."""
    from workshop.course import connect as connecting

    found = connecting.connection(client, workload, _paths(header_files))
    if not write:
        return _shown(found, connecting.WHY_LOCALHOST)
    _ask(f"Write `{found.name}` into `{found.file or 'a configuration file'}`?", yes=yes)
    done = connecting.write(found)
    headline = f"`{found.name}` is in `{done.file}`" + ("" if done.changed else " already")
    lines = [*_backup(done.backup), *_exports(found), *_login(found)]
    following = f"`workshop disconnect {client} {workload}` takes it out again"
    return Result("connect", {**_data(found), "written": done}, headline, lines, next=following)


def disconnect(client: ClientName, workload: Workload = "github-remote", *, yes: Yes = False) -> Result:
    """Remove the workshop from another client's configuration."""
    from workshop.course import connect as connecting

    found = connecting.former(client, workload)
    _ask(f"Take `{found.name}` out of `{found.file or 'a configuration file'}`?", yes=yes)
    done = connecting.remove(found)
    headline = f"`{found.name}` is {'out of' if done.changed else 'not in'} `{done.file}`"
    own = f"{found.removal}, if you added it with the client's own command" if found.command else ""
    return Result("disconnect", done, headline, _backup(done.backup), next=own)


def bridge(
    url: Url,
    *,
    header_files: HeaderFiles = None,
    no_browser: NoBrowser = False,
    approve_as: ApproveAs = None,
) -> None:
    """Serve a remote MCP server over stdio, logged in, for clients without OAuth."""
    from workshop.agent.approval import approval_for
    from workshop.agent.bridge import Bridge
    from workshop.agent.token_store import TokenStore
    from workshop.core.instance import Instance
    from workshop.core.interrupts import interrupts
    from workshop.core.outgoing import is_loopback, no_token_for

    if not url.startswith("https://") and not (url.startswith("http://") and is_loopback(url)):
        raise no_token_for(url)
    headers = {name: _value(path) for name, path in _paths(header_files).items()}
    # A header may hold a credential, which no error may show.
    console().hide(list(headers.values()))
    interrupts.run(
        Bridge(
            url,
            TokenStore(Instance.locate().logins, observe),
            approval_for(no_browser=no_browser, approve_as=approve_as),
            headers=headers,
            observe=observe,
            failed=console().error,
        ).run()
    )


def _paths(options: Sequence[str] | None) -> dict[str, Path]:
    found = {}
    for option in options or ():
        name, equals, path = option.partition("=")
        if not equals or not name.replace("-", "").isalnum() or not path:
            raise UsageError(
                f"`{plain(option)}` is not NAME=FILE",
                hint="Name the header and its file, as in `--header-file x-github-pat=token.txt`",
            )
        # Names of headers ignore case (RFC 9110 section 5.1): the same one twice is one.
        found[name.lower()] = Path(path).expanduser()
    return found


def _value(path: Path) -> str:
    """The first line of a file; raises UsageError where it is not a header's value."""
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The header's file `{plain(str(path))}` cannot be read", why=plain(reason(error))
        ) from error
    # A line break in the value would begin another header (RFC 9110 section 5.5).
    if not value or not value.isprintable() or not value.isascii():
        raise UsageError(f"`{plain(str(path))}` does not hold one line of ASCII text, as a header needs")
    return value


def _shown(found: "Connection", why: str) -> Result:
    lines = _exports(found)
    if found.command:
        lines += ["Run:", f"  {found.command}"]
    entry = jsonlib.dumps({found.key: {found.name: found.entry}}, indent=2)
    if found.file:
        lines += [f"{'Or add' if found.command else 'Add'} to `{found.file}`:"]
        lines += [f"  {line}" for line in entry.splitlines()]
    elif found.variables and found.client == "codex":
        lines += ["Add to `~/.codex/config.toml`:", *(f"  {line}" for line in _toml(found))]
    elif found.variables:
        lines += [f"In the page, connect to {found.url} with these custom headers:"]
        lines += [f"  {_header(name)}: the value of ${name}" for name in found.variables]
    lines += _login(found)
    if found.removal:
        lines.append(f"To remove it: {found.removal}")
    lines.append(why)
    again = f"`workshop connect {found.client} {found.name} --write`"
    return Result(
        "connect", _data(found), lines=lines, next=f"{again} writes the entry" if found.file else ""
    )


def _toml(found: "Connection") -> list[str]:
    """The entry as Codex has it, with environment variables for the values of headers."""
    headers = ", ".join(f'"{_header(name)}" = "{name}"' for name in found.variables)
    return [f"[mcp_servers.{found.name}]", f'url = "{found.url}"', f"env_http_headers = {{ {headers} }}"]


def _header(variable: str) -> str:
    """The header whose value an environment variable holds."""
    return variable.lower().replace("_", "-")


def _exports(found: "Connection") -> list[str]:
    if not found.variables:
        return []
    # The shell reads the file, so the value is neither on the screen nor in its history.
    commands = [f'  export {name}="$(cat {shlex.quote(path)})"' for name, path in found.variables.items()]
    return ["Set, and start the client from the same shell:", *commands]


def _login(found: "Connection") -> list[str]:
    return [f"To log in: {found.login}"] if found.login else ["It needs no login"]


def _backup(path: str) -> list[str]:
    return [f"The previous version is saved as `{path}`"] if path else []


def _data(found: "Connection") -> dict[str, object]:
    data = asdict(found)
    entry = {data.pop("key"): {found.name: found.entry}}
    return {**data, "entry": entry if found.file else {}}


def _ask(question: str, *, yes: bool) -> None:
    if not agreed(question, yes=yes):
        raise typer.Exit
