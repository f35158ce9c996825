# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the names of files, processes and control groups safe to print.

A name may hold escape codes, newlines, marks that reverse the direction of text, and
bytes that are not UTF-8.
"""

from __future__ import annotations

import os
import re
import shlex

_NOT_UTF8 = re.compile("[\udc80-\udcff]")


def shown(name: str | bytes | os.PathLike[str]) -> str:
    r"""Returns a name, or a line that holds names, with unprintable characters escaped.

    Escapes are Python's: ``\n``, ``\x1b``, ``\u202e``; a byte that is not UTF-8 is
    ``\xff``. A backslash stays as it is, so that a second call changes nothing.
    """
    return "".join(c if c.isprintable() else _escape(c) for c in os.fsdecode(name))


def _escape(c: str) -> str:
    if _NOT_UTF8.match(c):
        return f"\\x{ord(c) & 0xFF:02x}"
    return ascii(c)[1:-1]


def quoted(word: str) -> str:
    r"""Returns a word quoted for a shell: 'a b', or $'\033' if it is unprintable."""
    if word.isprintable():
        return shlex.quote(word)
    text = word.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{''.join(c if c.isprintable() else _octal(c) for c in text)}'"


def _octal(c: str) -> str:
    """Returns the octal escapes of a character.

    The shell reads at most three octal digits, but every hexadecimal digit after
    \\x1b.
    """
    return "".join(f"\\{byte:03o}" for byte in c.encode("utf-8", "surrogateescape"))


def operand(path: str | os.PathLike[str]) -> str:
    """Returns a path quoted for a suggested command: ./-x for -x, an option."""
    name = os.fspath(path)
    return quoted(f"./{name}" if name.startswith("-") else name)
