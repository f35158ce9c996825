# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends pages through this machine's kernel, or ours, and returns the figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from zswap_py.corpus import FIGURES, Driver, churn
from zswap_py.swap import SwapDevice
from zswap_py.verify.data import Steps
from zswap_py.verify.host import PAGE_SIZE, Check, Host, HostError
from zswap_py.zswap import Zswap

ZSWAP_FIGURES = (*FIGURES, "reject_compress_poor", "reject_compress_fail")
ZRAM_FIGURES = ("mem_used_total", "compr_data_size", "same_pages", "huge_pages")


class Walk(NamedTuple):
    """What one side told of pages that were stored, loaded and freed by `churn`.

    `sizes` are the sizes of all stores, in order, in bytes; None if they are not told.
    """

    steps: Steps
    sizes: list[int] | None = None


class _ZramDriver(Driver, Protocol):
    def compr_data_size(self) -> int: ...


class OurZswap:
    """A Zswap with a swap file below it, for `churn`: pages that zswap refuses go to
    the file.
    """

    def __init__(self, zswap: Zswap, pages: int) -> None:
        self.stats = zswap.stats
        self._device = SwapDevice(zswap, pages)
        self.load, self.invalidate = self._device.read, self._device.free

    def store(self, entry: int, folio: bytes) -> None:
        """Swaps a page out."""
        self._device.writeout(entry, folio)

    def close(self) -> None:
        """Frees all pages."""
        self._device.close()


class OurZram:
    """zram's rules over our zsmalloc, for `churn`. A page of one repeated word is only
    counted. A page of the huge class is stored raw.
    """

    def __init__(self, zswap: Zswap) -> None:
        self._zswap = zswap
        self._huge_from = zswap.pool.huge_class_size
        self._sizes: dict[int, int] = {}
        self._total = 0
        self._same: dict[int, bytes] = {}  # the repeated word, which is in no pool

    def store(self, entry: int, folio: bytes) -> None:
        """Writes a page."""
        if folio[:8] * (len(folio) // 8) == folio:
            self.invalidate(entry)
            self._same[entry] = folio[:8]
            return
        if not self._zswap.store(entry, folio):
            raise HostError(
                f"zswap_py did not store page {entry}: memory is short; give fewer pages"
            )
        length = self._zswap.length(entry)
        self._forget(entry)
        self._sizes[entry] = length if length < self._huge_from else len(folio)
        self._total += self._sizes[entry]

    def load(self, entry: int, out: bytearray) -> None:
        """Reads a page and keeps it."""
        if entry in self._same:
            out[:] = self._same[entry] * (len(out) // 8)
        else:
            self._zswap.peek(entry, out)

    def _forget(self, entry: int) -> None:
        self._total -= self._sizes.pop(entry, 0)
        self._same.pop(entry, None)

    def invalidate(self, entry: int) -> None:
        """Discards a page."""
        self._zswap.invalidate(entry)
        self._forget(entry)

    def compr_data_size(self) -> int:
        """Returns the compressed size of all pages, in bytes."""
        return self._total

    def stats(self) -> dict[str, int]:
        """Returns the fields of mm_stat that depend on the pages."""
        huge = sum(length == self._zswap.page_size for length in self._sizes.values())
        return {
            "compr_data_size": self._total,
            "mem_used_total": self._zswap.stats()["pool_total_size"],
            "same_pages": len(self._same),
            "huge_pages": huge,
        }


class _Sized:
    """A zram driver that records the compressed size of each store."""

    def __init__(self, driver: _ZramDriver) -> None:
        self._driver = driver
        self._held: dict[int, int] = {}
        self.sizes: list[int] = []
        self.load, self.stats = driver.load, driver.stats

    def store(self, entry: int, folio: bytes) -> None:
        before = self._driver.compr_data_size() - self._held.get(entry, 0)
        self._driver.store(entry, folio)
        self._held[entry] = self._driver.compr_data_size() - before
        self.sizes.append(self._held[entry])

    def invalidate(self, entry: int) -> None:
        self._driver.invalidate(entry)
        self._held.pop(entry, None)


def _zram(driver: _ZramDriver, pages: Sequence[bytes], check: Check) -> Walk:
    sized = _Sized(driver)
    return Walk(churn(sized, pages, ZRAM_FIGURES, check), sized.sizes)


# ---- the kernel's side ----


def host_zswap(
    host: Host, name: str, pages: Sequence[bytes], directory: str | Path, check: Check
) -> Walk:
    """Walks through the zswap of this machine, which swaps to a file in `directory`."""
    with host.zswap(name, len(pages), directory) as zswap:
        return Walk(churn(zswap, pages, ZSWAP_FIGURES, check))


def host_zram(host: Host, name: str, pages: Sequence[bytes], check: Check) -> Walk:
    """Walks through a zram device of this machine."""
    with host.zram(name, len(pages)) as zram:
        return _zram(zram, pages, check)


# ---- ours ----


class Ours(NamedTuple):
    """What of ours is compared: a kernel of zswap_py.kernels and its configuration."""

    kernel: str
    chain_size: int

    def zswap(self, spec: str, pages: Sequence[bytes], check: Check = lambda: None) -> Walk:
        """Walks through our zswap. `spec` is name:backend."""
        with self._of(spec) as z:
            driver = OurZswap(z, len(pages))
            try:
                return Walk(churn(driver, pages, ZSWAP_FIGURES, check))
            finally:
                driver.close()

    def zram(self, spec: str, pages: Sequence[bytes], check: Check = lambda: None) -> Walk:
        """Walks through our zram."""
        with self._of(spec, incompressible="store") as z:
            z.swapon(len(pages))
            return _zram(OurZram(z), pages, check)

    def _of(self, spec: str, incompressible: str | None = None) -> Zswap:
        return Zswap(
            spec,
            page_size=PAGE_SIZE,
            chain_size=self.chain_size,
            nr_cpus=1,
            max_pool_percent=100,
            kernel=self.kernel,
            series=None,
            incompressible=incompressible,
        )
