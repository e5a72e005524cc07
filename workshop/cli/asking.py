"""Ask a person before something is done; without a terminal nobody is asked."""

import typer

from workshop.cli.terminal import console
from workshop.core.errors import UsageError


def agreed(question: str, *, yes: bool) -> bool:
    """Whether to go ahead; raises UsageError when nobody can be asked and `--yes` was not given."""
    if yes:
        return True
    if not console().can_ask:
        raise UsageError(
            "This would have to be asked, and there is nobody to ask here",
            why=question,
            hint="`--yes` goes ahead without asking",
        )
    return typer.confirm(question, err=True)
