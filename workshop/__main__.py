"""`workshop`, and `python -m workshop`."""

import signal
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
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    run()
