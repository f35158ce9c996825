# SPDX-License-Identifier: GPL-2.0-or-later
"""The one door to the C library: `ffi`, `lib`, and what its results mean in Python.

Errors are raised here and nowhere else: `OSError` with the kernel's errno for what the
kernel would answer, `ValueError` for a caller's mistake; both name the value.
"""

from __future__ import annotations

import errno
import logging
import os
from typing import Any

try:
    from zswap_py._zswap import ffi, lib
except ImportError as e:
    raise ImportError(
        "zswap_py's C library is not built for this interpreter: run `pip install .` in the "
        "source tree and leave it, "
        f"or `python setup.py build_ext -i` to work there ({e})"
    ) from None

__all__ = [
    "check",
    "drain_iaa_messages",
    "drain_messages",
    "ffi",
    "lib",
    "oserror",
    "string",
    "strings",
    "struct_dict",
]

log = logging.getLogger("zswap_py")

_SYSLOG = {1: logging.CRITICAL, 3: logging.ERROR}


def oserror(err: int, message: str) -> OSError:
    """The exception for a negative errno."""
    return OSError(-err, f"{message}: {os.strerror(-err)}")


def check(rc: int, what: str) -> int:
    """The result of a C call, or the exception for a negative one; 'what' names the
    call and its values.
    """
    if rc >= 0:
        return rc
    if rc == -errno.ESHUTDOWN:
        raise ValueError(f"{what}: this Zswap is closed")
    if rc == -errno.ECHILD:
        raise oserror(
            rc,
            f"{what}: this Zswap was made before fork(), in the parent; make one in each process",
        )
    if rc == -errno.EBADSLT:
        raise ValueError(f"{what}: not inside a swap file; make one with swapon(pages=...)")
    if rc == -errno.EDEADLK:
        raise oserror(
            rc, f"{what}: called by a compressor of the same Zswap, which holds its locks"
        )
    if rc == -errno.ENODEV:
        raise oserror(
            rc,
            f"{what}: this CPU has no compression context; bring it online, or pass another cpu=",
        )
    raise oserror(rc, what)


def string(p: Any) -> str:
    """A C string."""
    return ffi.string(p).decode()  # type: ignore[no-any-return]


def strings(get: Any, *args: int) -> list[str]:
    """The names that a C function numbers from 0; NULL is past the last."""
    names: list[str] = []
    while (p := get(*args, len(names))) != ffi.NULL:
        names.append(string(p))
    return names


def struct_dict(p: Any) -> dict[str, int]:
    """A C struct of numbers, in its own order."""
    return {name: getattr(p, name) for name, _ in ffi.typeof(p).item.fields}


def drain_messages(z: Any) -> None:
    """Hand what the C library would have logged in the kernel to Python's logging."""
    _drain(lib.zswap_next_message, z, "zswap: ")


def drain_iaa_messages(iaa: Any) -> None:
    """The same for the accelerator's driver."""
    _drain(lib.iaa_next_message, iaa, "iaa_crypto: ")


def _drain(next_message: Any, owner: Any, prefix: str) -> None:
    buf = ffi.new("char[160]")
    while level := next_message(owner, buf, len(buf)):
        log.log(_SYSLOG.get(level, logging.WARNING), "%s%s", prefix, string(buf))
