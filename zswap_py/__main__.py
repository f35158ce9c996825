# SPDX-License-Identifier: GPL-2.0-or-later
"""The command: zswap-py, and python -m zswap_py. From its first line on Ctrl-C ends it without a traceback."""

try:
    import os
    import signal
    import sys
except KeyboardInterrupt:
    raise SystemExit(130) from None


def main() -> int:
    """Runs the command line; the exit code. This module and the package's own import nothing before that."""
    mine = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a background job ignores it
    if mine:
        signal.signal(signal.SIGINT, _interrupted)
    try:
        from zswap_py import cli
    except ImportError as e:
        remedy = ": pip install zswap-py installs all that it needs" if isinstance(e, ModuleNotFoundError) else ""
        print(f"zswap-py: cannot start: {e}{remedy}", file=sys.stderr)
        return 1
    try:
        if mine:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return cli.main()
    except KeyboardInterrupt:  # just outside of cli.main()
        return cli.INTERRUPTED
    finally:
        if mine:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is left to be said


def _interrupted(*_: object) -> None:
    """Ends the process at once: a KeyboardInterrupt in the import of a module cannot be caught everywhere."""
    try:
        os.write(2, b"zswap-py: interrupted before anything was measured\n")
    finally:
        os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
