"""`workshop room`: a seat for each attendee on one cluster."""

from workshop.cli.groups import EXAMPLES, Commands

_HELP = "Create, watch and remove a room: a seat for each attendee on one cluster."


def build_group() -> Commands:
    """The commands under `workshop room`."""
    return Commands(_HELP, EXAMPLES.get("room", ()))
