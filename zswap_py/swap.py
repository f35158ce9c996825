# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands above zswap in the kernel (mm/page_io.c): the zero map, zswap, the swap device; a store of bytes over it.

zswap only takes pages that it likes. Who swaps needs a place for the others, and the order in which the places are
asked: that is SwapDevice. CompressedStore is for those who want neither slots nor pages, only bytes that take less
room.
"""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from collections.abc import Hashable, Iterator, MutableMapping
from types import TracebackType
from typing import Any

from zswap_py._native import ffi, lib, oserror
from zswap_py.zswap import MAX_FOLIO, Zswap, swp_entry

_EMPTY, _ZERO, _ZSWAP, _DEVICE = range(4)


def _temporary_file() -> int:
    with tempfile.TemporaryFile() as f:
        return os.dup(f.fileno())


def _bytes_of(buffer: Any) -> memoryview:
    """Any contiguous buffer as bytes, without a copy."""
    return memoryview(buffer).cast("B")


class SwapDevice:
    """One swap file of an instance: `pages` slots, backed by a file (a sparse temporary one, unless `path` is given).

    writeout() and read() go through the zero map, zswap and the device in the kernel's order. A page that was read from
    zswap has left it, and is the caller's alone; one that was read from the device is still there. All methods may be
    called from any thread; two on one slot at once are the caller's to keep apart, as the swap cache does it.
    """

    def __init__(self, z: Zswap, pages: int, path: str | os.PathLike[str] | None = None) -> None:
        self._z, self._page_size = z, z.page_size
        self.pages = pages
        self.type = z.swapon(pages)
        self._where = bytearray(pages)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600) if path else _temporary_file()
        self._lock = threading.Lock()  # for the counters
        self._counts = {"pswpin": 0, "pswpout": 0, "swpin_zero": 0, "swpout_zero": 0}

    def __enter__(self) -> SwapDevice:
        return self

    def __exit__(self, t: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """swapoff: drop all slots. Closing twice is fine."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
            if not self._z.closed:
                self._z.swapoff(self.type)

    def counts(self) -> dict[str, int]:
        """/proc/vmstat's pages: read from and written to the device, and those that only the zero map has seen."""
        with self._lock:
            return dict(self._counts)

    def _count(self, name: str, pages: int) -> None:
        with self._lock:
            self._counts[name] += pages

    def _slots(self, slot: int, nbytes: int) -> int:
        nr, rest = divmod(nbytes, self._page_size)
        if self._fd < 0:
            raise ValueError("this SwapDevice is closed")
        if rest or not nr:
            raise ValueError(f"a buffer of {nbytes} bytes: whole pages of {self._page_size}")
        if not 0 <= slot <= self.pages - nr:
            raise ValueError(f"slots {slot} to {slot + nr - 1}: this device has slots 0 to {self.pages - 1}")
        return nr

    def writeout(self, slot: int, folio: Any) -> str:
        """Swap a folio out to slots slot, slot + 1, ...: where it went, "zero", "zswap" or "device"."""
        view = _bytes_of(folio)
        nr = self._slots(slot, len(view))
        if lib.zswap_is_zero(ffi.from_buffer(view), len(view)):
            # an older entry of zswap's stays, as in the kernel: the zero map is asked first
            self._where[slot : slot + nr] = bytes([_ZERO]) * nr
            self._count("swpout_zero", nr)
            return "zero"
        if nr <= MAX_FOLIO and self._z.store(swp_entry(self.type, slot), view):
            self._where[slot : slot + nr] = bytes([_ZSWAP]) * nr
            return "zswap"
        offset = slot * self._page_size
        while view:
            n = os.pwrite(self._fd, view, offset)
            view, offset = view[n:], offset + n
        self._where[slot : slot + nr] = bytes([_DEVICE]) * nr
        self._count("pswpout", nr)
        return "device"

    def read(self, slot: int, out: Any) -> None:
        """Swap pages in, into a writable buffer of whole pages. KeyError for a slot that holds nothing.

        OSError EIO: zswap's object is corrupt, and stays. Pages before it are read then, and those of zswap gone from
        it.
        """
        view = _bytes_of(out)
        for i in range(self._slots(slot, len(view))):
            self._read_page(slot + i, view[i * self._page_size : (i + 1) * self._page_size])

    def _read_page(self, slot: int, page: memoryview) -> None:
        where = self._where[slot]
        if where == _EMPTY:
            raise KeyError(slot)
        if where == _ZERO:
            page[:] = bytes(len(page))
            self._count("swpin_zero", 1)
        elif self._z.load(swp_entry(self.type, slot), page):
            self._where[slot] = _EMPTY
        elif where == _DEVICE:
            if os.preadv(self._fd, [page], slot * self._page_size) != len(page):
                raise oserror(-errno.EIO, f"slot {slot}: a short read from the device")
            self._count("pswpin", 1)
        else:
            raise KeyError(slot)  # somebody invalidated it behind our back

    def peek(self, slot: int, out: Any) -> None:
        """Like read() for one page, which stays where it is."""
        if self._slots(slot, len(_bytes_of(out))) != 1:
            raise ValueError(f"peek() reads one page of {self._page_size} bytes")
        if self._where[slot] == _ZSWAP:
            if not self._z.peek(swp_entry(self.type, slot), out):
                raise KeyError(slot)
        else:
            self.read(slot, out)

    def free(self, slot: int, nr: int = 1) -> None:
        """The slots have no user any more: swap_range_free()."""
        if self._fd < 0:
            raise ValueError("this SwapDevice is closed")
        if nr < 1 or not 0 <= slot <= self.pages - nr:
            raise ValueError(f"slots {slot} to {slot + nr - 1}: this device has slots 0 to {self.pages - 1}")
        self._z.invalidate(swp_entry(self.type, slot), nr)
        self._where[slot : slot + nr] = bytes(nr)


class CompressedStore(MutableMapping[Hashable, bytes]):
    """A mapping whose values are bytes, kept compressed.

    `capacity` is in bytes, of the values as they are; further keywords are Zswap's. Values are padded with zeros to
    whole pages, so small ones gain nothing. What does not compress, or comes when the pool is at its limit, goes to a
    temporary file.
    """

    def __init__(self, capacity: int = 1 << 30, **zswap: Any) -> None:
        self.zswap = Zswap(**zswap)
        self._page_size = self.zswap.page_size
        self._device = SwapDevice(self.zswap, max(1, -(-capacity // self._page_size)))
        self._lock = threading.RLock()
        self._values: dict[Hashable, tuple[int, list[tuple[int, int]]]] = {}  # length, extents (slot, pages)
        self._free = [(0, self._device.pages)]  # extents, by slot

    def __enter__(self) -> CompressedStore:
        return self

    def __exit__(self, t: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Drop everything."""
        self._device.close()
        self.zswap.close()

    def _allocate(self, pages: int) -> list[tuple[int, int]]:
        """Extents of `pages` in all; OSError ENOSPC if there are not so many."""
        if sum(n for _, n in self._free) < pages:
            what = f"{pages} pages of {self._page_size} bytes: the capacity is {self._device.pages} in all"
            raise oserror(-errno.ENOSPC, what)
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
        data = bytes(value)
        pages = -(-len(data) // self._page_size)
        padded = data.ljust(pages * self._page_size, b"\0")
        with self._lock:
            extents = self._allocate(pages)
            at = 0
            for slot, n in extents:
                self._device.writeout(slot, padded[at : at + n * self._page_size])
                at += n * self._page_size
            old = self._values.get(key)
            self._values[key] = (len(data), extents)
            if old is not None:
                self._give_back(old[1])

    def __getitem__(self, key: Hashable) -> bytes:
        with self._lock:
            length, extents = self._values[key]
            out = bytearray(sum(n for _, n in extents) * self._page_size)
            view = memoryview(out)
            for slot, n in extents:
                for i in range(n):
                    self._device.peek(slot + i, view[: self._page_size])
                    view = view[self._page_size :]
            return bytes(out[:length])

    def __delitem__(self, key: Hashable) -> None:
        with self._lock:
            self._give_back(self._values.pop(key)[1])

    def __iter__(self) -> Iterator[Hashable]:
        with self._lock:
            return iter(list(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def sizes(self) -> dict[str, int]:
        """Bytes: of the values, of the pools that hold them, and of what went to the file instead."""
        with self._lock:
            device = sum(
                1 for _, extents in self._values.values() for slot, n in extents for i in range(n)
                if self._device._where[slot + i] == _DEVICE
            )
            return {
                "values": sum(length for length, _ in self._values.values()),
                "pool_total_size": self.zswap.stats()["pool_total_size"],
                "device": device * self._page_size,
            }
