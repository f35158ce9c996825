# SPDX-License-Identifier: GPL-2.0-or-later
"""CompressedStore: a mapping of compressed bytes over a Zswap and a SwapDevice."""

from __future__ import annotations

import contextlib
import errno
import reprlib
import threading
from collections.abc import Hashable, Iterator, MutableMapping
from types import TracebackType
from typing import Any

from zswap_py._lib.fixed import Owner
from zswap_py._lib.params import whole
from zswap_py._native import oserror
from zswap_py.swap import SwapDevice
from zswap_py.zswap import MAX_FOLIO, Zswap


class CompressedStore(Owner, MutableMapping[Hashable, bytes]):
    """A mapping of hashable keys to bytes, kept compressed.

    `capacity` is the room for uncompressed values in bytes, rounded up to pages; other
    keywords are Zswap's. A value is padded with zeros to whole pages, so values much
    smaller than a page save nothing. Pages that zswap rejects go to a temporary file.

    Every method may be called from any thread; calls run one at a time. A call from a
    signal handler or a `__del__` that interrupted another one of the same thread raises
    OSError EDEADLK. Setting a value raises OSError ENOSPC beyond the capacity.
    """

    __slots__ = (
        "__weakref__",
        "_changing",
        "_device",
        "_free",
        "_lock",
        "_page_size",
        "_values",
        "_zswap",
    )
    _instead = "make another one, and update() it with this one"

    def __init__(self, capacity: int = 1 << 30, **zswap: Any) -> None:
        capacity = whole("capacity", capacity, 0, 1 << 56)
        self._zswap = Zswap(**zswap)
        self._page_size = self._zswap.page_size
        try:
            self._device = SwapDevice(self._zswap, max(1, -(-capacity // self._page_size)))
        except BaseException:
            self._zswap.close()
            raise
        self._lock = threading.RLock()
        self._changing = False
        # length, extents (slot, pages)
        self._values: dict[Hashable, tuple[int, list[tuple[int, int]]]] = {}
        self._free = [(0, self._device.pages)]  # extents, by slot

    def __enter__(self) -> CompressedStore:
        return self

    def __exit__(
        self, t: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    @property
    def zswap(self) -> Zswap:
        """The Zswap that holds the values."""
        return self._zswap

    def close(self) -> None:
        """Frees all values and the file. A second close() does nothing."""
        with self._call("close()"):
            self._device.close()
            self._zswap.close()

    @contextlib.contextmanager
    def _call(self, what: str) -> Iterator[None]:
        """Holds the lock for a call. Raises OSError EDEADLK within a call of the same
        thread.
        """
        with self._lock:
            if self._changing:
                raise oserror(
                    -errno.EDEADLK,
                    f"{what}: called by a signal handler or a __del__ "
                    "in the middle of another call of this CompressedStore",
                )
            self._changing = True
            try:
                yield
            finally:
                self._changing = False

    def _allocate(self, pages: int) -> list[tuple[int, int]]:
        """Takes free extents (slot, pages) of `pages` in all.

        Raises OSError ENOSPC if fewer are free.
        """
        if sum(n for _, n in self._free) < pages:
            free = sum(n for _, n in self._free)
            raise oserror(
                -errno.ENOSPC,
                f"value of {pages} pages of {self._page_size} bytes: {free} of a capacity of "
                f"{self._device.pages} are free; delete values, or pass a larger capacity=",
            )
        extents = []
        while pages:
            slot, n = self._free.pop(0)
            take = min(n, pages, MAX_FOLIO)
            extents.append((slot, take))
            pages -= take
            if n > take:
                self._free.insert(0, (slot + take, n - take))
        return extents

    def _give_back(self, extents: list[tuple[int, int]]) -> None:
        for slot, n in extents:
            self._device.free(slot, n)
        merged: list[tuple[int, int]] = []
        for slot, n in sorted(self._free + extents):
            if merged and sum(merged[-1]) == slot:
                merged[-1] = (merged[-1][0], merged[-1][1] + n)
            else:
                merged.append((slot, n))
        self._free = merged

    def __setitem__(self, key: Hashable, value: bytes) -> None:
        try:
            data = memoryview(value).tobytes()
        except TypeError:
            raise TypeError(f"value={reprlib.repr(value)}: must be bytes") from None
        pages = -(-len(data) // self._page_size)
        padded = data.ljust(pages * self._page_size, b"\0")
        with self._call("store[key] = value"):
            old = self._values.get(key)
            extents = self._allocate(pages)
            try:
                at = 0
                for slot, n in extents:
                    self._device.writeout(slot, padded[at : at + n * self._page_size])
                    at += n * self._page_size
                self._values[key] = (len(data), extents)
            except BaseException:
                self._give_back(extents)
                raise
            if old is not None:
                self._give_back(old[1])

    def __getitem__(self, key: Hashable) -> bytes:
        with self._call("store[key]"):
            length, extents = self._values[key]
            out = bytearray(sum(n for _, n in extents) * self._page_size)
            view = memoryview(out)
            for slot, n in extents:
                for i in range(n):
                    self._device.peek(slot + i, view[: self._page_size])
                    view = view[self._page_size :]
            return bytes(out[:length])

    def __delitem__(self, key: Hashable) -> None:
        with self._call("del store[key]"):
            self._give_back(self._values.pop(key)[1])

    def __iter__(self) -> Iterator[Hashable]:
        with self._call("iter(store)"):
            return iter(list(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def sizes(self) -> dict[str, int]:
        """Returns sizes in bytes: "values" as they are, "pool_total_size" of the pools,
        "device" for the pages in the file.
        """
        with self._call("sizes()"):
            device = sum(
                self._device._in_file(slot, n)
                for _, extents in self._values.values()
                for slot, n in extents
            )
            return {
                "values": sum(length for length, _ in self._values.values()),
                "pool_total_size": self._zswap.stats()["pool_total_size"],
                "device": device * self._page_size,
            }
