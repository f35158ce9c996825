# SPDX-License-Identifier: GPL-2.0-or-later
"""Parameters' syntax: the kernel's for what a module parameter is, and whole numbers with limits for what is ours."""

from __future__ import annotations

import errno
import operator
import re

from zswap_py._native import oserror


def whole(name: str, value: int, least: int, most: int, of: str | None = None) -> int:
    """The value, if it is an int from least to most; else TypeError or ValueError that name it, and whose it is."""
    said = f"{of}({name}={value!r})" if of else f"{name}={value!r}"
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{said}: an int")
    if not least <= value <= most:
        raise ValueError(f"{said}: {least} to {_power(most)}")
    return value


def _power(n: int) -> str:
    """2^62 rather than its 19 digits."""
    if n < 1 << 31:
        return str(n)
    return f"2^{n.bit_length() - 1}" if n & (n - 1) == 0 else f"2^{n.bit_length()} - 1"


def kstrtobool(value: bool | int | str, name: str) -> bool:
    """A switch, in the kernel's syntax: Y, N, 1, 0, on, off. OSError EINVAL for another text."""
    if isinstance(value, int):
        return bool(value)
    s = str(value)
    if s[:1] in tuple("yYtT1") or s[:2].lower() == "on":
        return True
    if s[:1] in tuple("nNfF0") or s[:2].lower() == "of":
        return False
    raise oserror(-errno.EINVAL, f"{name}={value!r}: Y or N")


def kstrtouint(value: int | str, name: str) -> int:
    """Decimal, 0x or octal by a leading 0, as a string with at most a newline after it; or an int."""
    if isinstance(value, str):
        digits = re.fullmatch(r"\+?(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))\n?", value, re.ASCII)
        if digits is None:
            raise oserror(-errno.EINVAL, f"{name}={value!r}: a number, 0 or more")
        n = next(int(d, base) for d, base in zip(digits.groups(), (16, 8, 10), strict=True) if d)
    else:
        n = operator.index(value)
    if n < 0:
        raise oserror(-errno.EINVAL, f"{name}={value}: 0 or more")
    if n >= 1 << 32:
        raise oserror(-errno.ERANGE, f"{name}={value}: below 2^32")
    return n
