# SPDX-License-Identifier: GPL-2.0-or-later
"""The command: zswap-py, and python -m zswap_py."""

import signal
import sys

from zswap_py import cli
from zswap_py._lib import interrupt


def main() -> int:
    """Runs the command line; the exit code. Ctrl-C is quiet before it, and after it."""
    try:
        interrupt.raise_again()
        return cli.main()
    except KeyboardInterrupt:  # just outside of cli.main()
        return cli.INTERRUPTED
    finally:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is left to be said


if __name__ == "__main__":
    sys.exit(main())
