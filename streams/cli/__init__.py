"""The command line `fvq`: one file for each group of commands. A command parses its arguments and calls; it has no logic."""

import signal


def main() -> None:
    """Run `fvq`. Ctrl-C while its libraries are loaded ends it like any program, without a trace of Python."""
    handled = signal.getsignal(signal.SIGINT)
    if handled is signal.default_int_handler:  # not where whoever started it has it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from streams.cli.app import main as run

    signal.signal(signal.SIGINT, handled)
    run()
