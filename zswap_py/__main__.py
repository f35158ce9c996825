# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: zswap-py, and python -m zswap_py."""

import signal
import sys

from zswap_py import cli
from zswap_py._lib import interrupt


def main() -> int:
    """Runs the command line. Returns the exit code.

    Ctrl-C prints no traceback, before cli.main() and after it either.
    """
    try:
        interrupt.raise_again()
        return cli.main()
    except KeyboardInterrupt:  # just before or after cli.main()
        return cli.INTERRUPTED
    finally:
        cli.settle()
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # the exit code is settled


if __name__ == "__main__":
    sys.exit(main())
