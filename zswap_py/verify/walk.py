# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends pages through this machine's kernel, or ours, and returns the figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from zswap_py._lib.signals import Check
from zswap_py.corpus import FIGURES, Driver, churn
from zswap_py.crypto import CompressorInfo
from zswap_py.swap import SwapDevice
from zswap_py.verify.data import Steps
from zswap_py.verify.host import PAGE_SIZE, Host
from zswap_py.zram import Zram
from zswap_py.zswap import Zswap

ZSWAP_FIGURES = (*FIGURES, "reject_compress_poor", "reject_compress_fail")
ZRAM_FIGURES = ("mem_used_total", "compr_data_size", "same_pages", "huge_pages")


class Walk(NamedTuple):
    """What one side told of pages that were stored, loaded and freed by `churn`.

    `sizes` are the sizes of all stores, in order, in bytes; None if they are not told.
    `by` is what compressed, and what it claims for that kernel; None for the kernel's.
    """

    steps: Steps
    sizes: list[int] | None = None
    by: CompressorInfo | None = None


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
    """A Zram for `churn`. A load keeps the page."""

    def __init__(self, zram: Zram) -> None:
        self.store, self.load, self.invalidate = zram.write, zram.read, zram.discard
        self.stats = zram.mm_stat

    def compr_data_size(self) -> int:
        """Returns the compressed size of all pages, in bytes."""
        return self.stats()["compr_data_size"]


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
        with Zswap(spec, max_pool_percent=100, series=None, **self._machine()) as z:
            driver = OurZswap(z, len(pages))
            try:
                steps = churn(driver, pages, ZSWAP_FIGURES, check)
            finally:
                driver.close()
            return Walk(steps, by=z.pool.info)

    def zram(self, spec: str, pages: Sequence[bytes], check: Check = lambda: None) -> Walk:
        """Walks through our zram."""
        with Zram(spec, pages=len(pages), **self._machine()) as z:
            return _zram(OurZram(z), pages, check)._replace(by=z.info)

    def _machine(self) -> dict[str, Any]:
        return {
            "kernel": self.kernel,
            "page_size": PAGE_SIZE,
            "chain_size": self.chain_size,
            "nr_cpus": 1,
        }
