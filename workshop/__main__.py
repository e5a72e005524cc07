"""`workshop`, and `python -m workshop`."""

# Not `signal`, which loads enum: a Ctrl-C during that would be shown as a traceback.
import _signal  # type: ignore[import-not-found]
import sys


def run() -> None:
    """The console script."""
    _end_at_a_signal()
    # Inside, because this loads most of what a command needs.
    from workshop.core.collector import rare_collections

    with rare_collections():
        from workshop.cli.main import main

        code = main()
    _end_at_a_signal()
    sys.exit(code)


def _end_at_a_signal() -> None:
    """Let a signal end this process at once, without a traceback: the command has not begun, or is done."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(_signal, name, None)
        if number is not None and _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, _signal.SIG_DFL)


if __name__ == "__main__":
    run()
