# SPDX-License-Identifier: GPL-2.0-or-later
"""Ends the process without a traceback on Ctrl-C while the command loads its modules.

A KeyboardInterrupt that is raised in an import cannot be caught everywhere, so SIGINT
ends the process at once. This module is the first that the package imports. In a
program that imports the package it leaves the handler of SIGINT alone.
"""

import os
import signal
import sys


def is_command() -> bool:
    """Returns whether this process runs zswap-py or python -m zswap_py.

    sys.argv[0] of the latter is -m while Python imports the package.
    """
    program = os.path.basename((getattr(sys, "argv", None) or [""])[0])
    return program == "zswap-py" or (program == "-m" and "zswap_py" in sys.orig_argv)


def end_quietly() -> None:
    """Makes SIGINT end the process at once, unless a handler is set or it is ignored.

    The shell makes a background job ignore SIGINT.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_again() -> None:
    """Makes SIGINT raise KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(*_: object) -> None:
    try:
        os.write(2, b"zswap-py: interrupted before anything was measured\n")
    finally:
        os._exit(130)


if is_command():
    end_quietly()
