# SPDX-License-Identifier: GPL-2.0-or-later
"""SwapDevice: the swap-out and swap-in paths above zswap (mm/page_io.c).

zswap rejects pages that do not compress, and all pages while its pools are full.
SwapDevice writes these to a file. It asks the zero map first, then zswap, then the
file, as the kernel does since 6.12. Up to 6.11 zswap itself recognised pages of one
repeated word.
"""

from __future__ import annotations

import errno
import os
import tempfile
import threading
import weakref
from types import TracebackType
from typing import Any

from zswap_py._lib.fixed import Owner
from zswap_py._lib.params import buffer, whole
from zswap_py._native import ffi, lib, oserror
from zswap_py.zswap import MAX_FOLIO, SWP_TYPE_SHIFT, Zswap, swp_entry

_EMPTY, _ZERO, _ZSWAP, _DEVICE = range(4)
_Exception = type[BaseException] | None


class _File:
    """A file that is closed with the last reference to it.

    A thread in a call holds a reference, so close() does not close its descriptor.
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
    """Returns a contiguous buffer as bytes, without a copy."""
    buffer(name, value, writable)
    return memoryview(value).cast("B")


class SwapDevice(Owner):
    """A swap file of `pages` slots on a Zswap, backed by the file at `path`.

    Without `path` the file is a sparse temporary one. writeout() and read() go through
    the zero map, zswap and the file in the kernel's order. A page that is read from
    zswap leaves it; a page that is read from the file stays there.

    Every method may be called from any thread. The caller must serialise calls on one
    slot, as the swap cache does in the kernel.

    Raises OSError EPERM while all 32 swap types are in use, or the file's own error. A
    SwapDevice that is dropped without close() closes its file; its entries stay in the
    Zswap until that is closed.
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
            raise TypeError(f"z={z!r}: must be a Zswap")
        if path is not None and not isinstance(path, (str, bytes, os.PathLike)):
            raise TypeError(f"path={path!r}: must be a path, or None for a temporary file")
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
        """The number of slots."""
        return self._pages

    @property
    def type(self) -> int:
        """The swap type, for swp_entry()."""
        return self._type

    def __enter__(self) -> SwapDevice:
        return self

    def __exit__(self, t: _Exception, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Frees all slots and the swap type, as swapoff does. A second close() does
        nothing.

        Raises OSError EDEADLK, and changes nothing, when called from a compressor of
        the Zswap.
        """
        with self._lock:
            file, self._file = self._file, None
        if file is None or self._z.closed:
            return
        try:
            self._z.swapoff(self._type)
        except OSError:
            self._file = file  # called from a compressor: nothing has changed
            raise

    def _open_file(self) -> _File:
        file = self._file
        if file is None:
            raise ValueError("this SwapDevice is closed")
        return file

    def counts(self) -> dict[str, int]:
        """Returns the counters of /proc/vmstat, in pages, by name.

        pswpin and pswpout count pages that the file served; swpin_zero and swpout_zero
        those that the zero map did.
        """
        with self._lock:
            return dict(self._counts)

    def _count(self, name: str, pages: int) -> None:
        with self._lock:
            self._counts[name] += pages

    def _slots(self, name: str, slot: int, nbytes: int) -> tuple[int, int]:
        """Returns (slot, number of slots) for a buffer of `nbytes` bytes.

        Raises ValueError unless these are whole pages and slots of this device.
        """
        nr, rest = divmod(nbytes, self._page_size)
        if rest or not nr:
            raise ValueError(
                f"{name}: a buffer of {nbytes} bytes: must be whole pages of {self._page_size}"
            )
        if nr > self._pages:
            raise ValueError(f"{name}: a buffer of {nr} pages: this device has {self._pages} slots")
        return whole("slot", slot, 0, self._pages - nr), nr

    def writeout(self, slot: int, folio: Any) -> str:
        """Swaps a folio out to slots `slot`, `slot` + 1, ... Returns "zero", "zswap" or
        "device".

        `folio` is a contiguous buffer of whole pages. One of more than 512 pages goes
        to the file. Raises OSError if the file cannot be written, ENODEV if the CPU has
        no context; ValueError for slots outside of this device.
        """
        file, view = self._open_file(), _bytes_of("folio", folio)
        slot, nr = self._slots("folio", slot, len(view))
        if lib.zswap_is_zero(ffi.from_buffer(view), len(view)):
            # zswap keeps an older entry of these slots, as in the kernel: a read asks
            # the zero map first
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
        """Swaps pages in from slots `slot`, `slot` + 1, ... into `out`.

        `out` is a writable contiguous buffer of whole pages. Raises KeyError for a slot
        that holds nothing. Raises OSError EIO for a short read of the file, or if
        zswap's object is corrupt; the object stays stored. The pages before the failed
        one have then been read, and have left zswap.
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
                raise oserror(-errno.EIO, f"slot {slot}: short read from the swap file")
            self._count("pswpin", 1)
        else:
            raise KeyError(slot)  # the caller invalidated the entry in the Zswap

    def peek(self, slot: int, out: Any) -> None:
        """Reads a slot's page into `out`, a writable buffer of one page. The page stays
        where it is.

        Raises the errors of read().
        """
        self._open_file()
        slot, nr = self._slots("out", slot, len(_bytes_of("out", out, writable=True)))
        if nr != 1:
            raise ValueError(f"out: a buffer of {nr} pages: must be one page of {self._page_size}")
        if self._where[slot] == _ZSWAP:
            if not self._z.peek(swp_entry(self.type, slot), out):
                raise KeyError(slot)
        else:
            self.read(slot, out)

    def free(self, slot: int, nr: int = 1) -> None:
        """Frees slots `slot` to `slot` + `nr` - 1, as swap_range_free() does."""
        self._open_file()
        nr = whole("nr", nr, 1, self._pages)
        slot = whole("slot", slot, 0, self._pages - nr)
        self._z.invalidate(swp_entry(self.type, slot), nr)
        self._where[slot : slot + nr] = bytes(nr)

    def _in_file(self, slot: int, nr: int) -> int:
        """Returns how many of `nr` slots the file holds."""
        return self._where.count(_DEVICE, slot, slot + nr)
