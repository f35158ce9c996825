# SPDX-License-Identifier: GPL-2.0-or-later
"""For test harnesses: Zswaps that are checked when they are closed, and compressors
that are registered for a block.

with checked(Zswap("lz4")) as z, registered("pairs", base="lzo", batch_size=2):
    ...

zswap_py.pytest_plugin provides both as fixtures.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from zswap_py.crypto import Compressor, find, register_compressor, unregister_compressor
from zswap_py.zswap import Zswap


def close_checked(z: Zswap) -> None:
    """Runs Zswap.check(), then closes the Zswap. A closed Zswap passes.

    Raises AssertionError if the check fails, or if close() has not released a pool. No
    other thread may be in a call of this Zswap.
    """
    if z.closed:
        return
    pools = z.pools
    try:
        z.check()
    finally:
        z.close()
    kept = [repr(pool) for pool in pools if not pool.released.is_set()]
    if kept:
        raise AssertionError(f"close() did not release {', '.join(kept)}")


@contextmanager
def checked(z: Zswap) -> Iterator[Zswap]:
    """Yields the Zswap for a block, which ends with close_checked() in any case."""
    try:
        yield z
    finally:
        close_checked(z)


@contextmanager
def registered(name: str, *args: Any, **kwargs: Any) -> Iterator[Compressor]:
    """Registers a compressor for a block. Takes register_compressor()'s arguments.

    Pools that use the compressor continue to do so after the block. The block may
    unregister it itself.
    """
    compressor = register_compressor(name, *args, **kwargs)
    try:
        yield compressor
    finally:
        with suppress(OSError):  # unregistered already
            if find(name) is compressor:
                unregister_compressor(name)
