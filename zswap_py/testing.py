# SPDX-License-Identifier: GPL-2.0-or-later
"""For test harnesses: instances that are checked as they are closed, and compressors
that are registered for the time of a block.

with checked(Zswap("lz4")) as z, registered("pairs", base="lzo", batch_size=2):
    ...

zswap_py.pytest_plugin has both as fixtures.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from zswap_py.crypto import Compressor, find, register_compressor, unregister_compressor
from zswap_py.zswap import Zswap


def close_checked(z: Zswap) -> None:
    """Close an instance; AssertionError if it does not add up, or keeps a pool.

    Index, LRU, allocator and references are checked first, so no other thread may be in
    a call. An instance that is closed already passes.
    """
    if z.closed:
        return
    pools = z.pools
    try:
        z.verify()
    finally:
        z.close()
    kept = [repr(pool) for pool in pools if not pool.released.is_set()]
    if kept:
        raise AssertionError(f"close() did not release {', '.join(kept)}")


@contextmanager
def checked(z: Zswap) -> Iterator[Zswap]:
    """The instance for a block, which ends with close_checked(), by an exception
    too.
    """
    try:
        yield z
    finally:
        close_checked(z)


@contextmanager
def registered(name: str, *args: Any, **kwargs: Any) -> Iterator[Compressor]:
    """register_compressor() for a block, which ends with unregister_compressor().

    Pools that use the compressor go on. The block may unregister it itself.
    """
    compressor = register_compressor(name, *args, **kwargs)
    try:
        yield compressor
    finally:
        with suppress(OSError):  # unregistered already
            if find(name) is compressor:
                unregister_compressor(name)
