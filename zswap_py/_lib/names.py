# SPDX-License-Identifier: GPL-2.0-or-later
"""Names that others gave, of files, processes or control groups: how a terminal may
have them.

A name may hold anything: escape codes, newlines, marks that turn the writing round,
bytes that are no UTF-8.
"""

from __future__ import annotations

import os
import re
import shlex

_NOT_UTF8 = re.compile("[\udc80-\udcff]")


def shown(name: str | bytes | os.PathLike[str]) -> str:
    r"""The name, or a text of one line that holds names, with each character that does
    not print escaped.

    Escapes are Python's: ``\n``, ``\x1b``, ``\u202e``; a byte that is no UTF-8 is
    ``\xff``. A backslash stays as it is, so that showing what was shown changes
    nothing.
    """
    return "".join(c if c.isprintable() else _escape(c) for c in os.fsdecode(name))


def _escape(c: str) -> str:
    if _NOT_UTF8.match(c):
        return f"\\x{ord(c) & 0xFF:02x}"
    return ascii(c)[1:-1]


def quoted(word: str) -> str:
    r"""The word as a shell takes it: 'a b', and $'\033' where it does not print."""
    if word.isprintable():
        return shlex.quote(word)
    text = word.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{''.join(c if c.isprintable() else _octal(c) for c in text)}'"


def _octal(c: str) -> str:
    """Octal of at most three digits: the characters after it can be no part of it, as
    they can after \\x1b.
    """
    return "".join(f"\\{byte:03o}" for byte in c.encode("utf-8", "surrogateescape"))


def operand(path: str | os.PathLike[str]) -> str:
    """The path as a command takes it that we suggest: ./-x for -x, which would pass for
    an option.
    """
    name = os.fspath(path)
    return quoted(f"./{name}" if name.startswith("-") else name)
