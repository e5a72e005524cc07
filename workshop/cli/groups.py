"""Command groups: help under headings, plain because rich would double its time, and parts by number."""

from typing import Any

from typer.core import TyperGroup

from workshop.core.errors import UsageError


class HeadedGroup(TyperGroup):
    """Lists its commands under the heading each was given as `rich_help_panel`."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - Typer keeps these types private
        """Write one section a heading, in the order the headings first appear."""
        headed: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.commands[name]
            heading = getattr(command, "rich_help_panel", None)
            row = (name, command.get_short_help_str(formatter.width))
            headed.setdefault(heading if isinstance(heading, str) else "Commands", []).append(row)
        for heading, rows in headed.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


class PartGroup(TyperGroup):
    """A group whose commands are mostly numbers: an unknown one is an unknown part."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - Typer keeps these types private
        """Find the command, or raise UsageError naming the parts there are."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            there = ", ".join(name for name in self.commands if name.isdigit())
            raise UsageError(f"There is no part `{args[0]}`", hint=f"There are {there}: `workshop part list`")
        return super().resolve_command(ctx, args)
