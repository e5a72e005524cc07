"""The body of a request that is passed on: whole, bounded, and refused with a reason."""

from starlette.types import Receive

from workshop.auth.challenge import RefusedError
from workshop.auth.limits import RELAY_BYTES, BodyTooLargeError, SlowBodyError, read_body
from workshop.auth.responses import private_json


async def relayed_body(receive: Receive, seconds: float) -> bytes:
    """At most RELAY_BYTES; raises RefusedError for more and for a slow one, ClientGoneError."""
    try:
        return await read_body(receive, RELAY_BYTES, seconds)
    except BodyTooLargeError as error:
        raise too_large() from error
    except SlowBodyError as error:
        raise _refused(408, "request_timeout", "The body did not arrive in time") from error


def too_large() -> RefusedError:
    return _refused(413, "content_too_large", f"A request body has at most {RELAY_BYTES} bytes")


def _refused(status: int, error: str, description: str) -> RefusedError:
    return RefusedError(private_json({"error": error, "error_description": description}, status=status))
