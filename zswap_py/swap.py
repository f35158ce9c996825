# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands above zswap in the kernel (mm/page_io.c): the zero map, zswap, the swap
device; a store of bytes over it.

zswap only takes pages that it likes. Who swaps needs a place for the others, and the
order in which the places are asked: that is SwapDevice. CompressedStore is for those
who want neither slots nor pages, only bytes that take less room.
"""

from __future__ import annotations

import contextlib
import errno
import os
import reprlib
import tempfile
import threading
import weakref
from collections.abc import Hashable, Iterator, MutableMapping
from types import TracebackType
from typing import Any

from zswap_py._lib.fixed import Owner
from zswap_py._lib.params import buffer, whole
from zswap_py._native import ffi, lib, oserror
from zswap_py.zswap import MAX_FOLIO, SWP_TYPE_SHIFT, Zswap, swp_entry

_EMPTY, _ZERO, _ZSWAP, _DEVICE = range(4)
_Exception = type[BaseException] | None


class _File:
    """A file, closed with the last reference to it: never under a thread that still
    uses its descriptor.
    """

    __slots__ = ("__weakref__", "fd")

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        if path is None:
            with tempfile.TemporaryFile() as f:
                self.fd = os.dup(f.fileno())
        else:
            self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        weakref.finalize(self, os.close, self.fd).atexit = False


def _bytes_of(name: str, value: Any, writable: bool = False) -> memoryview:
    """Any contiguous buffer as bytes, without a copy."""
    buffer(name, value, writable)
    return memoryview(value).cast("B")


class SwapDevice(Owner):
    """One swap file of an instance: `pages` slots, backed by a file (a sparse temporary
    one, unless `path` is given).

    writeout() and read() go through the zero map, zswap and the device in the kernel's
    order. A page that was read from zswap has left it, and is the caller's alone; one
    that was read from the device is still there. All methods may be called from any
    thread; two on one slot at once are the caller's to keep apart, as the swap cache
    does it.

    One that is dropped without close() closes its file; what its slots hold stays in
    the Zswap until that is closed.
    """

    __slots__ = (
        "__weakref__",
        "_counts",
        "_file",
        "_lock",
        "_page_size",
        "_pages",
        "_type",
        "_where",
        "_z",
    )
    _instead = (
        "a copy would be a second device on the same slots; read the pages, and write them to "
        "another one"
    )

    def __init__(self, z: Zswap, pages: int, path: str | os.PathLike[str] | None = None) -> None:
        if not isinstance(z, Zswap):
            raise TypeError(f"z={z!r}: a Zswap")
        if path is not None and not isinstance(path, (str, bytes, os.PathLike)):
            raise TypeError(f"path={path!r}: a path, or None for a temporary file")
        self._z, self._page_size = z, z.page_size
        self._pages = whole("pages", pages, 1, (1 << SWP_TYPE_SHIFT) - 1)
        self._lock = threading.RLock()  # for the counters
        self._counts = {"pswpin": 0, "pswpout": 0, "swpin_zero": 0, "swpout_zero": 0}
        self._file: _File | None = _File(path)
        try:
            self._where = bytearray(self._pages)
        except MemoryError:
            raise oserror(-errno.ENOMEM, f"SwapDevice(pages={pages})") from None
        self._type = z.swapon(self._pages)

    @property
    def pages(self) -> int:
        """Its slots."""
        return self._pages

    @property
    def type(self) -> int:
        """Its swap type."""
        return self._type

    def __enter__(self) -> SwapDevice:
        return self

    def __exit__(self, t: _Exception, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """swapoff: drop all slots. Closing twice is fine."""
        with self._lock:
            file, self._file = self._file, None
        if file is None or self._z.closed:
            return
        try:
            self._z.swapoff(self._type)
        except OSError:
            self._file = file  # from inside a compressor: nothing has changed
            raise

    def _open_file(self) -> _File:
        file = self._file
        if file is None:
            raise ValueError("this SwapDevice is closed")
        return file

    def counts(self) -> dict[str, int]:
        """/proc/vmstat's pages: read from and written to the device, and those that
        only the zero map has seen.
        """
        with self._lock:
            return dict(self._counts)

    def _count(self, name: str, pages: int) -> None:
        with self._lock:
            self._counts[name] += pages

    def _slots(self, name: str, slot: int, nbytes: int) -> tuple[int, int]:
        """The first slot, and how many there are for so many bytes."""
        nr, rest = divmod(nbytes, self._page_size)
        if rest or not nr:
            raise ValueError(
                f"{name}: a buffer of {nbytes} bytes: whole pages of {self._page_size}"
            )
        if nr > self._pages:
            raise ValueError(f"{name}: {nr} pages, but this device has {self._pages} slots")
        return whole("slot", slot, 0, self._pages - nr), nr

    def writeout(self, slot: int, folio: Any) -> str:
        """Swap a folio out to slots slot, slot + 1, ...: where it went, "zero", "zswap"
        or "device".
        """
        file, view = self._open_file(), _bytes_of("folio", folio)
        slot, nr = self._slots("folio", slot, len(view))
        if lib.zswap_is_zero(ffi.from_buffer(view), len(view)):
            # an older entry of zswap's stays, as in the kernel: the zero map is asked
            # first
            self._where[slot : slot + nr] = bytes([_ZERO]) * nr
            self._count("swpout_zero", nr)
            return "zero"
        if nr <= MAX_FOLIO and self._z.store(swp_entry(self.type, slot), view):
            self._where[slot : slot + nr] = bytes([_ZSWAP]) * nr
            return "zswap"
        offset = slot * self._page_size
        while view:
            n = os.pwrite(file.fd, view, offset)
            view, offset = view[n:], offset + n
        self._where[slot : slot + nr] = bytes([_DEVICE]) * nr
        self._count("pswpout", nr)
        return "device"

    def read(self, slot: int, out: Any) -> None:
        """Swap pages in, into a writable buffer of whole pages. KeyError for a slot
        that holds nothing.

        OSError EIO: zswap's object is corrupt, and stays. Pages before it are read
        then, and those of zswap gone from it.
        """
        file, view = self._open_file(), _bytes_of("out", out, writable=True)
        slot, nr = self._slots("out", slot, len(view))
        for i in range(nr):
            self._read_page(file, slot + i, view[i * self._page_size : (i + 1) * self._page_size])

    def _read_page(self, file: _File, slot: int, page: memoryview) -> None:
        where = self._where[slot]
        if where == _EMPTY:
            raise KeyError(slot)
        if where == _ZERO:
            page[:] = bytes(len(page))
            self._count("swpin_zero", 1)
        elif self._z.load(swp_entry(self.type, slot), page):
            self._where[slot] = _EMPTY
        elif where == _DEVICE:
            if os.preadv(file.fd, [page], slot * self._page_size) != len(page):
                raise oserror(-errno.EIO, f"slot {slot}: a short read from the device")
            self._count("pswpin", 1)
        else:
            raise KeyError(slot)  # somebody invalidated it behind our back

    def peek(self, slot: int, out: Any) -> None:
        """Like read() for one page, which stays where it is."""
        self._open_file()
        slot, nr = self._slots("out", slot, len(_bytes_of("out", out, writable=True)))
        if nr != 1:
            raise ValueError(f"out: {nr} pages, but peek() reads one of {self._page_size} bytes")
        if self._where[slot] == _ZSWAP:
            if not self._z.peek(swp_entry(self.type, slot), out):
                raise KeyError(slot)
        else:
            self.read(slot, out)

    def free(self, slot: int, nr: int = 1) -> None:
        """The slots have no user any more: swap_range_free()."""
        self._open_file()
        nr = whole("nr", nr, 1, self._pages)
        slot = whole("slot", slot, 0, self._pages - nr)
        self._z.invalidate(swp_entry(self.type, slot), nr)
        self._where[slot : slot + nr] = bytes(nr)


class CompressedStore(Owner, MutableMapping[Hashable, bytes]):
    """A mapping whose values are bytes, kept compressed.

    `capacity` is in bytes, of the values as they are; further keywords are Zswap's.
    Values are padded with zeros to whole pages, so small ones gain nothing. What does
    not compress, or comes when the pool is at its limit, goes to a temporary file.

    A signal handler or a `__del__` that comes in the middle of a call, and makes
    another one, gets OSError EDEADLK.
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

    def __exit__(self, t: _Exception, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def zswap(self) -> Zswap:
        """The Zswap that the values are in."""
        return self._zswap

    def close(self) -> None:
        """Drop everything. Closing twice is fine."""
        with self._call("close()"):
            self._device.close()
            self._zswap.close()

    @contextlib.contextmanager
    def _call(self, what: str) -> Iterator[None]:
        """One call at a time, and none in the middle of another one of the same
        thread.
        """
        with self._lock:
            if self._changing:
                raise oserror(
                    -errno.EDEADLK,
                    f"{what}: called by a signal handler or a __del__ "
                    "in the middle of "
                    "another call of this CompressedStore",
                )
            self._changing = True
            try:
                yield
            finally:
                self._changing = False

    def _allocate(self, pages: int) -> list[tuple[int, int]]:
        """Extents of `pages` in all; OSError ENOSPC if there are not so many."""
        if sum(n for _, n in self._free) < pages:
            what = (
                f"{pages} pages of {self._page_size} bytes: the capacity is {self._device.pages} "
                "in all"
            )
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
        try:
            data = memoryview(value).tobytes()
        except TypeError:
            raise TypeError(f"value={reprlib.repr(value)}: bytes") from None
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
        """Bytes: of the values, of the pools that hold them, and of what went to the
        file instead.
        """
        with self._call("sizes()"):
            device = sum(
                1
                for _, extents in self._values.values()
                for slot, n in extents
                for i in range(n)
                if self._device._where[slot + i] == _DEVICE
            )
            return {
                "values": sum(length for length, _ in self._values.values()),
                "pool_total_size": self._zswap.stats()["pool_total_size"],
                "device": device * self._page_size,
            }
