# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands' options share: the parser, the types of arguments, the options of
output.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any, NoReturn

from zswap_py import crypto, kernels
from zswap_py._lib.names import shown

MAX_PID = 1 << 22  # PID_MAX_LIMIT
MAX_LABEL = 256  # characters
DEFAULT_SEED = 1

FORMATS = ("table", "json", "csv", "markdown")
ENDINGS = {".json": "json", ".csv": "csv", ".md": "markdown"}
"""The format of a file, by the ending of its name."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that escapes unprintable characters in its messages."""

    def error(self, message: str) -> NoReturn:
        super().error(shown(message))


class Help(argparse.RawDescriptionHelpFormatter):
    """Formats --help: an option and its help in one line, as far as they fit."""

    def __init__(self, prog: str, **how: Any) -> None:
        super().__init__(prog, **({"max_help_position": 26} | how))

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        argument = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {argument}"


def add_command(commands: Any, name: str, **how: Any) -> argparse.ArgumentParser:
    """Adds a command, with --help and --color, which its help does not list: the help
    of zswap-py itself does.
    """
    sub: argparse.ArgumentParser = commands.add_parser(
        name, formatter_class=Help, allow_abbrev=False, add_help=False, **how
    )
    sub.add_argument("-h", "--help", action="help", help=argparse.SUPPRESS)
    add_color(sub, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    sub.set_defaults(usage_error=sub.error)
    return sub


def add_color(parser: argparse.ArgumentParser, **how: Any) -> None:
    """Adds --color: before the command, or after it."""
    parser.add_argument("--color", choices=("auto", "always", "never"), metavar="WHEN", **how)


def _cut(text: str) -> str:
    """Quotes an argument for a message, cut to 40 characters."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def size(text: str) -> int:
    """Parses a size: 65536, 64K, 64M, 1.5G; an i or iB may follow the letter."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise argparse.ArgumentTypeError(f"{_cut(text)} is not a size: give bytes, 64M or 1.5G")
    nbytes = float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " ")
    if nbytes >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{_cut(text)} is too large: give less than 2^63 bytes")
    return int(nbytes)


def kernel(text: str) -> str:
    """Parses the Linux release to model; "host" is the one that runs here."""
    if text != "host":
        try:
            kernels.rules(text, None)
        except ValueError:
            known = ", ".join(reversed(kernels.KERNELS))
            raise argparse.ArgumentTypeError(
                f"{_cut(text)} is not modelled: give host, {known}, or a stable release as 6.12.109"
            ) from None
    return text


def amount(text: str) -> int | float:
    """Parses a size in bytes, an int, or a share, a float: 2%."""
    return share(text) if text.strip().endswith("%") else size(text)


def share(text: str) -> float:
    """Parses a share: 5% or 0.05, above 0 and up to 100%."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*(%?)", text.strip(), re.ASCII)
    if not match or not 0 < (found := float(match[1]) / (100 if match[2] else 1)) <= 1:
        raise argparse.ArgumentTypeError(f"{_cut(text)} is not a share: give 5% or 0.05")
    return found


def number(most: int) -> Callable[[str], int]:
    """Returns a parser of whole numbers from 1 to `most`."""

    def number(text: str) -> int:
        if not text.isdecimal() or not text.strip("0"):
            raise argparse.ArgumentTypeError(f"{_cut(text)} is not a whole number from 1")
        if len(text) > 20 or int(text) > most:
            raise argparse.ArgumentTypeError(f"{_cut(text)} is too large: give {most} or less")
        return int(text)

    return number


def seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # also for too many digits
        raise argparse.ArgumentTypeError(f"{_cut(text)} is not a whole number") from None


def compressor(text: str) -> str:
    """Checks that NAME or NAME:BACKEND is known, available or not."""
    if not 0 < len(text) <= 64:
        raise argparse.ArgumentTypeError(
            f"{_cut(text)} is not a compressor: zswap-py --version lists them"
        )
    known = crypto.compressors()
    if text in {c.name for c in known} | {f"{c.name}:{c.backend}" for c in known}:
        return text
    try:
        return crypto.find(text).spec
    except OSError as e:
        raise argparse.ArgumentTypeError(e.strerror or str(e)) from None


def output_file(text: str) -> str:
    """Checks that a name ends as a format's, or as a directory: in a slash."""
    if not text.endswith((*ENDINGS, "/")):
        raise argparse.ArgumentTypeError(
            f"{_cut(text)} tells no format: end the name in {', '.join(ENDINGS)}, or "
            "that of a directory in /"
        )
    return text


def label(text: str) -> tuple[str, str]:
    """Parses K=V."""
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][\w.-]*", name, re.ASCII) or len(text) > MAX_LABEL:
        raise argparse.ArgumentTypeError(
            f"{_cut(text)} is not a label: give NAME=VALUE, at most {MAX_LABEL} characters"
        )
    return name, value


def add_seed(group: Any) -> None:
    group.add_argument(
        "--seed",
        type=seed,
        metavar="N",
        help=f"seed of what is chosen at random (default: {DEFAULT_SEED})",
    )


def add_by(group: Any) -> None:
    """Adds --by, whose argument is a name; the command checks it."""
    group.add_argument(
        "--by",
        metavar="WHAT",
        help="a row for each process, mapping, cgroup; in show, label",
    )


def add_output(group: Any) -> None:
    """Adds the options of output: -o, --format, and --json, a short form of it."""
    group.add_argument(
        "-o",
        "--output",
        dest="outputs",
        type=output_file,
        action="append",
        default=[],
        metavar="FILE",
        help=f"write FILE{', '.join(ENDINGS)}, or into DIR/; no table",
    )
    group.add_argument(
        "--format",
        choices=FORMATS,
        metavar="NAME",
        help=f"print {', '.join(FORMATS)}; --json: json",
    )
    group.add_argument(
        "--json", dest="format", action="store_const", const="json", help=argparse.SUPPRESS
    )


def add_names(group: Any) -> None:
    """Adds the options on names in a report."""
    group.add_argument(
        "--label",
        dest="labels",
        type=label,
        action="append",
        default=[],
        metavar="K=V",
        help="add a label to the report, for zswap-py show",
    )
    group.add_argument(
        "--no-names",
        action="store_true",
        help="leave out command, labels, paths, pids, hostname",
    )
