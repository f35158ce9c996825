# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks arguments: module parameters as the kernel does, others by type and range."""

from __future__ import annotations

import errno
import numbers
import operator
import re
import reprlib
from typing import Any

from zswap_py._native import ffi, oserror


def index(name: str, value: Any) -> int:
    """Returns a value's __index__() as an int; TypeError, with `name`, without one."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}={reprlib.repr(value)}: must be an int") from None


def buffer(name: str, value: Any, writable: bool = False) -> Any:
    """Returns the bytes of a contiguous buffer for C.

    Raises TypeError or BufferError, with `name`, for another value.
    """
    try:
        return ffi.from_buffer("uint8_t[]", value, writable)
    except (TypeError, BufferError) as e:
        raise no_buffer(name, value, e) from None


def no_buffer(name: str, value: Any, e: TypeError | BufferError) -> TypeError | BufferError:
    """Returns the error `e` of a buffer argument with the argument's name and value."""
    return type(e)(
        f"{name}={reprlib.repr(value)}: must be a contiguous buffer, writable if the call "
        f"writes it ({e})"
    )


def whole(name: str, value: int, least: int, most: int, of: str | None = None) -> int:
    """Returns an int from `least` to `most`; TypeError or ValueError for another value.

    The error names the value, and `of`, the call or class that it belongs to.
    """
    said = f"{of}({name}={reprlib.repr(value)})" if of else f"{name}={reprlib.repr(value)}"
    if not hasattr(type(value), "__index__") or isinstance(value, bool):
        raise TypeError(f"{said}: must be an int")
    n = index(name, value)
    if not least <= n <= most:
        raise ValueError(f"{said}: must be {least} to {_power(most)}")
    return n


def share(name: str, value: Any) -> float:
    """Returns a number as a float; TypeError, with `name`, for another value."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"{name}={reprlib.repr(value)}: must be a number, 0 to 1")
    return float(value)


def text(name: str, value: str) -> str:
    """Returns a str; TypeError, with `name`, for another value."""
    if not isinstance(value, str):
        raise TypeError(f"{name}={reprlib.repr(value)}: must be a str")
    return value


def _power(n: int) -> str:
    """Returns a number's digits, or a power of 2 for a large one: 2^62."""
    if n < 1 << 31:
        return str(n)
    return f"2^{n.bit_length() - 1}" if n & (n - 1) == 0 else f"2^{n.bit_length()} - 1"


def kstrtobool(value: bool | int | str, name: str) -> bool:
    """Parses a switch in the kernel's syntax: Y, N, 1, 0, on, off.

    Raises OSError EINVAL for another text or number.
    """
    s = value if isinstance(value, str) else {0: "0", 1: "1"}.get(index(name, value), "")
    if s[:1] in tuple("yYtT1") or s[:2].lower() == "on":
        return True
    if s[:1] in tuple("nNfF0") or s[:2].lower() == "of":
        return False
    raise oserror(-errno.EINVAL, f"{name}={reprlib.repr(value)}: must be Y or N")


def kstrtouint(value: int | str, name: str) -> int:
    """Parses a number in the kernel's syntax: decimal, 0x, or octal after a leading 0.

    A string may end in a newline; an int is taken as it is. Raises OSError EINVAL for
    another text or a negative number, ERANGE from 2^32 on.
    """
    if isinstance(value, str):
        digits = re.fullmatch(
            r"\+?(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))\n?", value, re.ASCII
        )
        if digits is None:
            raise oserror(-errno.EINVAL, f"{name}={value!r}: must be a number, 0 to 2^32 - 1")
        n = next(int(d, base) for d, base in zip(digits.groups(), (16, 8, 10), strict=True) if d)
    else:
        n = index(name, value)
    if n < 0:
        raise oserror(-errno.EINVAL, f"{name}={value}: must be 0 to 2^32 - 1")
    if n >= 1 << 32:
        raise oserror(-errno.ERANGE, f"{name}={value}: must be 0 to 2^32 - 1")
    return n
