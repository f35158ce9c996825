# SPDX-License-Identifier: GPL-2.0-or-later
"""Parameters' syntax: the kernel's for what a module parameter is, and whole numbers
with limits for what is ours.
"""

from __future__ import annotations

import errno
import numbers
import operator
import re
import reprlib
from typing import Any

from zswap_py._native import ffi, oserror


def index(name: str, value: Any) -> int:
    """The int that a value stands for by its __index__; TypeError that names it, if it
    has none.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}={reprlib.repr(value)}: an int") from None


def buffer(name: str, value: Any, writable: bool = False) -> Any:
    """The bytes of any contiguous buffer, for C; TypeError or BufferError that name it,
    if it is none.
    """
    try:
        return ffi.from_buffer("uint8_t[]", value, writable)
    except (TypeError, BufferError) as e:
        raise no_buffer(name, value, e) from None


def no_buffer(name: str, value: Any, e: TypeError | BufferError) -> TypeError | BufferError:
    """The same error, with the argument's name."""
    return type(e)(
        f"{name}={reprlib.repr(value)}: a contiguous buffer, and one to be written if "
        f"it is read into ({e})"
    )


def whole(name: str, value: int, least: int, most: int, of: str | None = None) -> int:
    """The value, if it is an int from least to most; else TypeError or ValueError that
    name it, and whose it is.
    """
    said = f"{of}({name}={reprlib.repr(value)})" if of else f"{name}={reprlib.repr(value)}"
    if not hasattr(type(value), "__index__") or isinstance(value, bool):
        raise TypeError(f"{said}: an int")
    n = index(name, value)
    if not least <= n <= most:
        raise ValueError(f"{said}: {least} to {_power(most)}")
    return n


def share(name: str, value: Any) -> float:
    """The float that a number stands for; TypeError that names it, if it is none."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"{name}={reprlib.repr(value)}: a number, 0 to 1")
    return float(value)


def text(name: str, value: str) -> str:
    """The value, if it is a str; else TypeError that names it."""
    if not isinstance(value, str):
        raise TypeError(f"{name}={reprlib.repr(value)}: a str")
    return value


def _power(n: int) -> str:
    """2^62 rather than its 19 digits."""
    if n < 1 << 31:
        return str(n)
    return f"2^{n.bit_length() - 1}" if n & (n - 1) == 0 else f"2^{n.bit_length()} - 1"


def kstrtobool(value: bool | int | str, name: str) -> bool:
    """A switch, in the kernel's syntax: Y, N, 1, 0, on, off. OSError EINVAL for another
    text or number.
    """
    s = value if isinstance(value, str) else {0: "0", 1: "1"}.get(index(name, value), "")
    if s[:1] in tuple("yYtT1") or s[:2].lower() == "on":
        return True
    if s[:1] in tuple("nNfF0") or s[:2].lower() == "of":
        return False
    raise oserror(-errno.EINVAL, f"{name}={reprlib.repr(value)}: Y or N")


def kstrtouint(value: int | str, name: str) -> int:
    """Decimal, 0x or octal by a leading 0, as a string with at most a newline after it;
    or an int.
    """
    if isinstance(value, str):
        digits = re.fullmatch(
            r"\+?(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))\n?", value, re.ASCII
        )
        if digits is None:
            raise oserror(-errno.EINVAL, f"{name}={value!r}: a number, 0 or more")
        n = next(int(d, base) for d, base in zip(digits.groups(), (16, 8, 10), strict=True) if d)
    else:
        n = index(name, value)
    if n < 0:
        raise oserror(-errno.EINVAL, f"{name}={value}: 0 or more")
    if n >= 1 << 32:
        raise oserror(-errno.ERANGE, f"{name}={value}: below 2^32")
    return n
