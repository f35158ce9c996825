# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands' options share: the parser, the types of arguments, the options of
output.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any, NoReturn

from zswap_py import crypto
from zswap_py._lib.names import shown

MAX_PID = 1 << 22  # PID_MAX_LIMIT


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that escapes unprintable characters in its messages."""

    def error(self, message: str) -> NoReturn:
        super().error(shown(message))


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


def add_output(group: Any) -> None:
    group.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object with raw numbers, not the table",
    )
    group.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto: on a terminal, unless NO_COLOR is set (default: %(default)s)",
    )
