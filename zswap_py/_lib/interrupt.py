# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C while the command loads its modules, the package's own first: it ends the
process without a traceback.

A KeyboardInterrupt in the import of a module cannot be caught everywhere. A program
that imports the package keeps its own handler.
"""

import os
import signal
import sys


def is_command() -> bool:
    """Whether this is zswap-py, or python -m zswap_py, whose sys.argv[0] is -m while
    the package is loaded.
    """
    program = os.path.basename((getattr(sys, "argv", None) or [""])[0])
    return program == "zswap-py" or (program == "-m" and "zswap_py" in sys.orig_argv)


def end_quietly() -> None:
    """From now on SIGINT ends the process at once. A background job, which ignores it,
    goes on to.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_again() -> None:
    """From now on SIGINT raises KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(*_: object) -> None:
    try:
        os.write(2, b"zswap-py: interrupted before anything was measured\n")
    finally:
        os._exit(130)


if is_command():
    end_quietly()
