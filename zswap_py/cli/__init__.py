# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: arguments, streams, exit codes.

0: done; 1: failed; 2: wrong usage; 3: verify found a difference; 130: interrupted.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from typing import Any

import zswap_py
from zswap_py import crypto
from zswap_py._lib.names import quoted, shown
from zswap_py.cli.options import Help, Parser, add_color
from zswap_py.cli.report import add_report
from zswap_py.cli.show import add_show
from zswap_py.cli.streams import INTERRUPTED, CommandError, say, settle, standard_streams, write
from zswap_py.cli.verify import add_verify
from zswap_py.sources.source import SourceError

__all__ = ["INTERRUPTED", "main", "parser", "settle", "version"]

MAX_OPTIONS = 10_000  # argparse takes seconds for these; its time grows with the square

DESCRIPTION = "zswap in user space: how much of this memory would the kernel's zswap save?"


class _Version(argparse.Action):
    """Prints the version. Looks for the codecs only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(version(), flush=True)
        parser.exit()


def version() -> str:
    """Returns the version, and a line for each compressor, available or not."""
    lines = [f"zswap-py {zswap_py.__version__}"]
    for c in crypto.compressors():
        name = f"{c.name}:{c.backend}" if c.backend else c.name
        if not c.available:
            lines.append(f"  {name:20} not available: {c.reason}")
            continue
        sizes = "the kernel's sizes" if c.kernel_sizes else "sizes may differ from the kernel's"
        lines.append(f"  {name:20} {c.library_version or 'built in':18} {sizes}")
    return "\n".join(map(shown, lines))


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the whole command line."""
    top = Parser("zswap-py", description=DESCRIPTION, formatter_class=Help, allow_abbrev=False)
    top.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        help="print the version and all compressors; for a missing one, the reason",
    )
    add_color(
        top,
        default="auto",
        help="auto (default): on a terminal, unless NO_COLOR is set; always; never",
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    add_report(commands)
    add_show(commands)
    add_verify(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line, by default sys.argv's, and returns the exit code. argparse
    raises SystemExit by itself.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        standard_streams()
        try:
            return _run(argv)
        finally:
            write("")  # --help leaves a flush that may fail to the interpreter's exit
    except BrokenPipeError:  # the reader has closed its end
        return 1
    except KeyboardInterrupt:
        say("interrupted before anything was measured")
        return INTERRUPTED
    except (CommandError, SourceError, OSError) as e:
        say(str(e))
        return 1


def _run(argv: list[str]) -> int:
    made = parser()
    options = sum(arg.startswith("-") for arg in itertools.takewhile(lambda arg: arg != "--", argv))
    if options > MAX_OPTIONS:
        made.error(f"{options:,} options are too many: give {MAX_OPTIONS:,} or fewer")
    args = made.parse_args(argv)
    args.command_line = " ".join(map(quoted, ["zswap-py", *argv]))
    return int(args.run(args))
