# SPDX-License-Identifier: GPL-2.0-or-later
"""The C library: `ffi`, `lib`, and the exceptions for its results.

check() raises OSError with the kernel's errno for what fails in the kernel too, and
ValueError for a caller's mistake. Messages name the call and its values.
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
        "source tree, then leave that directory; or run `python setup.py build_ext -i` to work "
        f"in it ({e})"
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
    """Returns the OSError for -errno `err`, with strerror() after the message."""
    return OSError(-err, f"{message}: {os.strerror(-err)}")


def check(rc: int, what: str, owner: str = "Zswap") -> int:
    """Returns the result of a C call; raises the exception for a negative one.

    `what` names the call and its values, `owner` the class of the instance.
    """
    if rc >= 0:
        return rc
    if rc == -errno.ESHUTDOWN:
        raise ValueError(f"{what}: this {owner} is closed")
    if rc == -errno.ECHILD:
        raise oserror(
            rc,
            f"{what}: this {owner} was made before fork(), in the parent; make one in each process",
        )
    if rc == -errno.EBADSLT:
        raise ValueError(f"{what}: outside of all swap files; make one with swapon(pages=...)")
    if rc == -errno.EDEADLK:
        raise oserror(
            rc, f"{what}: called by a compressor of the same {owner}, which holds its locks"
        )
    if rc == -errno.ENODEV:
        raise oserror(
            rc,
            f"{what}: this CPU has no compression context; bring it online, or pass another cpu=",
        )
    raise oserror(rc, what)


def string(p: Any) -> str:
    """Returns a C string as a str."""
    return ffi.string(p).decode()  # type: ignore[no-any-return]


def strings(get: Any, *args: int) -> list[str]:
    """Returns the names that get(*args, 0), get(*args, 1), ... return up to NULL."""
    names: list[str] = []
    while (p := get(*args, len(names))) != ffi.NULL:
        names.append(string(p))
    return names


def struct_dict(p: Any) -> dict[str, int]:
    """Returns the fields of a C struct of numbers by name, in their order."""
    return {name: getattr(p, name) for name, _ in ffi.typeof(p).item.fields}


def drain_messages(z: Any) -> None:
    """Passes the messages that the kernel would log on to Python's logging."""
    _drain(lib.zswap_next_message, z, "zswap: ")


def drain_iaa_messages(iaa: Any) -> None:
    """Passes the messages of the accelerator's driver on to Python's logging."""
    _drain(lib.iaa_next_message, iaa, "iaa_crypto: ")


def _drain(next_message: Any, owner: Any, prefix: str) -> None:
    buf = ffi.new("char[160]")
    while level := next_message(owner, buf, len(buf)):
        log.log(_SYSLOG.get(level, logging.WARNING), "%s%s", prefix, string(buf))
