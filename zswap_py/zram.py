# SPDX-License-Identifier: GPL-2.0-or-later
"""Zram: one zram device's pages and counters."""

from __future__ import annotations

import errno
import os
from types import TracebackType
from typing import Any

from zswap_py import crypto, kernels
from zswap_py._lib.fixed import Owner
from zswap_py._lib.params import buffer, index, whole
from zswap_py._native import check, ffi, lib, oserror, struct_dict
from zswap_py.cpuhp import NR_CPUS
from zswap_py.crypto.methods import method
from zswap_py.pool import SizeClass
from zswap_py.zswap import total_ram_bytes

MAX_SLOTS = 1 << 40


class Zram(Owner):
    """A zram device on one simulated machine.

    It has the kernel's figures: mem_used_total to the byte, as pages are written,
    overwritten and discarded, and each page's length. It rejects nothing: a page that
    is huge by its own bound is kept raw, and a page of one repeated word takes no
    memory. Write-back and recompression are not modelled. Every method may be called
    from any thread.

     - `comp_algorithm`: "name" or "name:backend", as Zswap's compressor
     - `pages`: the device's size in pages
     - `level`: of zstd and deflate, as the kernel's algorithm_params take it (default:
       the kernel's)
     - `kernel`: the release, as Zswap has it
     - `page_size`, `chain_size`, `nr_cpus`: the machine, as Zswap has it
    """

    __slots__ = (
        "__weakref__",
        "_chain_size",
        "_chosen",
        "_closed",
        "_comp_algorithm",
        "_compressor",
        "_kernel",
        "_level",
        "_nr_cpus",
        "_page_size",
        "_pages",
        "_zram",
    )
    _instead = "make a Zram with the same arguments, in each process, and write the pages there"

    def __init__(
        self,
        comp_algorithm: str = "lzo-rle",
        *,
        pages: int,
        level: int | None = None,
        kernel: str = "6.18",
        page_size: int = 4096,
        chain_size: int = 8,
        nr_cpus: int | None = None,
    ) -> None:
        rules = kernels.rules(kernel, None)
        self._kernel, self._level = kernel, level
        self._pages = whole("pages", pages, 1, MAX_SLOTS)
        self._page_size = index("page_size", page_size)
        if self._page_size not in (4096, 16384, 65536):
            raise ValueError(f"page_size={page_size}: must be 4096, 16384 or 65536 bytes")
        self._chain_size = whole("chain_size", chain_size, 4, 16)
        self._nr_cpus = whole("nr_cpus", nr_cpus or os.cpu_count() or 1, 1, NR_CPUS)
        self._compressor = crypto.find(comp_algorithm)
        self._comp_algorithm = comp_algorithm.strip()
        if isinstance(self._compressor, crypto.DeviceCompressor):
            raise ValueError(f"comp_algorithm={comp_algorithm!r}: zram compresses in software only")
        by = method(self._compressor.codec, rules, zram=True, level=level or 0)
        self._chosen = self._compressor.choose(by)

        config = ffi.new("struct zram_config *")
        config.page_shift = self._page_size.bit_length() - 1
        config.chain_size, config.nr_cpus = self._chain_size, self._nr_cpus
        config.nr_slots = self._pages
        config.totalram_pages = total_ram_bytes() // self._page_size
        err = ffi.new("int *")
        zram = lib.zram_create(config, self._chosen.alg, err)
        if zram == ffi.NULL:
            raise oserror(err[0], "cannot create a Zram")
        self._zram = ffi.gc(zram, lib.zram_destroy)
        self._closed = False

    # ---- lifetime ----

    def __enter__(self) -> Zram:
        return self

    def __exit__(
        self, t: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Waits for running calls, then frees all pages. Later calls raise ValueError.

        Raises OSError EDEADLK when called from a compressor of this Zram.
        """
        self._check(lib.zram_shutdown(self._zram), "close()")
        self._closed = True

    @property
    def closed(self) -> bool:
        """True once close() has freed the pages."""
        return self._closed

    # ---- fixed at creation ----

    @property
    def comp_algorithm(self) -> str:
        """The compressor, as it was given."""
        return self._comp_algorithm

    @property
    def compressor(self) -> crypto.Compressor:
        """The compressor of that name."""
        return self._compressor

    @property
    def info(self) -> crypto.CompressorInfo:
        """What compresses here, as Pool.info."""
        return crypto.info_of(self._compressor, self._chosen, self._page_size)

    @property
    def kernel_sizes(self) -> bool:
        """True if the known pages compressed to the sizes of this kernel's zram, and
        pages of this size do. False with a level: no sizes are recorded for one.
        """
        return self.info.kernel_sizes

    @property
    def level(self) -> int | None:
        """The compressor's level; None: the kernel's default."""
        return self._level

    @property
    def kernel(self) -> str:
        """The kernel release that is modelled."""
        return self._kernel

    @property
    def pages(self) -> int:
        """The device's size in pages."""
        return self._pages

    @property
    def page_size(self) -> int:
        """The size of a page in bytes."""
        return self._page_size

    @property
    def chain_size(self) -> int:
        """The most pages in a zspage: CONFIG_ZSMALLOC_CHAIN_SIZE."""
        return self._chain_size

    @property
    def nr_cpus(self) -> int:
        """The number of CPUs: each has a stream of its own."""
        return self._nr_cpus

    @property
    def huge_class_size(self) -> int:
        """The smallest compressed length in bytes from which on a page is kept raw."""
        return self._struct("zram_info", lib.zram_info)["huge_class_size"]

    @property
    def size_classes(self) -> tuple[SizeClass, ...]:
        """zsmalloc's classes, smallest first."""
        found: dict[int, SizeClass] = {}
        info, i = ffi.new("struct zram_class_info *"), 0
        while (rc := lib.zram_class_info(self._zram, i, info)) != -errno.ENOENT:
            self._check(rc, "size_classes")
            found[info.index] = SizeClass(
                info.size,
                info.pages_per_zspage,
                info.objs_per_zspage,
                info.zspages,
                info.objs_inuse,
            )
            i += 1
        return tuple(found[k] for k in sorted(found))

    # ---- pages ----

    def _check(self, rc: int, what: str) -> int:
        """Returns the result of a C call. Raises the exception of the Python compressor
        that the call ran, else the one for a negative result.
        """
        crypto.reraise()
        return check(rc, what, "Zram")

    def _slot(self, slot: int, nr: int = 1) -> int:
        return whole("slot", slot, 0, self._pages - nr)

    def _on(self, cpu: int | None) -> int:
        return 0 if cpu is None else whole("cpu", cpu, 0, self._nr_cpus - 1)

    def _page(self, name: str, page: Any, writable: bool = False) -> Any:
        found = buffer(name, page, writable)
        if len(found) != self._page_size:
            raise ValueError(f"{name} has {len(found)} bytes: must be a page of {self._page_size}")
        return found

    def write(self, slot: int, page: Any, *, cpu: int | None = None) -> None:
        """Writes a page, a contiguous buffer, to a slot. `cpu` selects the stream
        (default: 0).

        Raises OSError ENOMEM if the machine's memory is used up, or the compressor's
        error. Raises ValueError for a slot outside of the device.
        """
        slot, on = self._slot(slot), self._on(cpu)
        self._check(
            lib.zram_write(self._zram, on, slot, self._page("page", page)), f"write({slot})"
        )

    def read(self, slot: int, out: Any, *, cpu: int | None = None) -> None:
        """Reads a slot's page into `out`, a writable buffer; zeros if it is empty. The
        page stays.

        Raises OSError EIO if the object is corrupt.
        """
        slot, on = self._slot(slot), self._on(cpu)
        self._check(
            lib.zram_read(self._zram, on, slot, self._page("out", out, True)), f"read({slot})"
        )

    def discard(self, slot: int, nr: int = 1, *, cpu: int | None = None) -> None:
        """Empties slots `slot` to `slot` + `nr` - 1."""
        nr = whole("nr", nr, 0, self._pages)
        slot, on = self._slot(slot, nr), self._on(cpu)
        self._check(lib.zram_discard(self._zram, on, slot, nr), f"discard({slot}, {nr})")

    def length(self, slot: int) -> int:
        """Returns the bytes that a slot's page takes in the pool: page_size if it is
        kept raw, 0 if it is one repeated word. Raises KeyError if the slot is empty.
        """
        slot = self._slot(slot)
        rc = lib.zram_length(self._zram, 0, slot)
        if rc == -errno.ENOENT:
            raise KeyError(slot)
        return self._check(rc, f"length({slot})")

    @property
    def mapped(self) -> int:
        """The bytes that this process maps for objects, without the table of slots."""
        return self._struct("zram_info", lib.zram_info)["mapped"]

    # ---- counters ----

    def _struct(self, name: str, get: Any) -> dict[str, int]:
        p = ffi.new(f"struct {name} *")
        self._check(get(self._zram, p), name)
        return struct_dict(p)

    def mm_stat(self) -> dict[str, int]:
        """Returns the fields of the device's mm_stat that its pages make, by name, in
        bytes or pages.
        """
        return self._struct("zram_mm_stat", lib.zram_mm_stat)

    def memory(self) -> dict[str, int]:
        """Returns the bytes allocated besides the pool's pages, by kind: the table of
        slots, the objects' handles, the zspages' descriptors.
        """
        info = self._struct("zram_info", lib.zram_info)
        return {kind: info[kind] for kind in ("table", "handle", "zspage")}
