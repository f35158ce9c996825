# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends the same pages through this machine's own zswap and zram and through ours, and
compares the figures.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from zswap_py import crypto
from zswap_py._lib.signals import Check, interruptions
from zswap_py.corpus import FIGURES, Driver, churn
from zswap_py.kernels import KERNELS
from zswap_py.verify.data import SCHEMA, Comparison, Steps, Verdict
from zswap_py.verify.host import PAGE_SIZE, Host, HostError
from zswap_py.zswap import Zswap

#: Runs on the kernel before its figures count as unsteady: its counters are those of
#: the whole machine.
RUNS = 3

#: Bytes that must be free for each byte of the pages: the pages, the kernel's copy and
#: pool, our pool.
ROOM = 4

ZRAM_FIGURES = ("mem_used_total", "compr_data_size", "same_pages", "huge_pages")

Progress = Callable[[str], None]
"""Called with the name of the next comparison: "zswap lzo"."""

T = TypeVar("T")


class _ZramDriver(Driver, Protocol):
    def compr_data_size(self) -> int: ...


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


def settled(run: Callable[[], T], expected: Sequence[T]) -> tuple[T, bool]:
    """Runs until the kernel's figures are expected ones, or repeat. Returns them and
    True; after RUNS runs the last figures and False.

    Other memory that is swapped at the same time adds pages to the figures. It does not
    make them agree by chance.
    """
    seen: list[T] = []
    for _ in range(RUNS):
        figures = run()
        if figures in expected or figures in seen:
            return figures, True
        seen.append(figures)
    return seen[-1], False


class _Verifying:
    """One verification: the pages, the kernel's side and ours."""

    def __init__(
        self,
        host: Host,
        pages: Sequence[bytes],
        directory: str | Path,
        check: Check,
        progress: Progress,
    ):
        self.host, self.pages, self.directory = host, pages, directory
        self.check, self.progress = check, progress
        self.rules = rules_of(host)
        self.chain_size = host.chain_size()
        self.codecs = [
            c for c in crypto.compressors() if c.available and c.name in crypto.KERNEL_NAMES
        ]
        self.names = list(dict.fromkeys(c.name for c in self.codecs))
        self.found: list[Comparison] = []
        self.missing: dict[str, str] = {}  # the reason, by name
        self.broken_off: dict[str, str] = {}  # the error, by name

    def _of(self, name: str) -> list[crypto.CompressorInfo]:
        return [c for c in self.codecs if c.name == name]

    def _ours(self, codec: crypto.CompressorInfo, **settings: Any) -> Zswap:
        z = Zswap(
            f"{codec.name}:{codec.backend}",
            page_size=PAGE_SIZE,
            chain_size=self.chain_size,
            nr_cpus=1,
            max_pool_percent=100,
            kernel=self.rules,
            series=None,
            **settings,
        )
        z.swapon(len(self.pages))
        return z

    # ---- zswap ----

    def zswap(self, name: str) -> Iterator[Comparison]:
        """Compares each backend of `name` with the kernel's zswap."""
        self.progress(f"zswap {name}")
        codecs = self._of(name)
        ours = [self._our_zswap(codec) for codec in codecs]
        kernel, steady = settled(lambda: self._host_zswap(name), ours)
        for codec, steps in zip(codecs, ours, strict=True):
            yield _comparison("zswap", codec, kernel, steps, steady=steady)

    def _our_zswap(self, codec: crypto.CompressorInfo) -> Steps:
        with self._ours(codec) as z:
            return churn(z, self.pages, FIGURES, self.check)

    def _host_zswap(self, name: str) -> Steps:
        with self.host.zswap(name, len(self.pages), self.directory) as zswap:
            return churn(zswap, self.pages, FIGURES, self.check)

    # ---- zram ----

    def zram(self, name: str) -> Iterator[Comparison]:
        """Compares each backend of `name` with the kernel's zram, also page by page."""
        self.progress(f"zram {name}")
        codecs = self._of(name)
        ours = [self._our_zram(codec) for codec in codecs]
        (kernel, sizes), steady = settled(lambda: self._host_zram(name), ours)
        for codec, (steps, ours_sizes) in zip(codecs, ours, strict=True):
            yield _comparison(
                "zram", codec, kernel, steps, steady=steady, sizes=(sizes, ours_sizes)
            )

    def _our_zram(self, codec: crypto.CompressorInfo) -> tuple[Steps, list[int]]:
        with self._ours(codec, incompressible="store") as z:
            driver = _Sized(OurZram(z))
            return churn(driver, self.pages, ZRAM_FIGURES, self.check), driver.sizes

    def _host_zram(self, name: str) -> tuple[Steps, list[int]]:
        with self.host.zram(name, len(self.pages)) as zram:
            driver = _Sized(zram)
            return churn(driver, self.pages, ZRAM_FIGURES, self.check), driver.sizes

    # ---- both ----

    def run(self) -> None:
        """Fills `found`, `missing` and `broken_off`. Raises OSError only if `found` is
        empty.
        """
        if reason := self.host.no_zswap():
            self.missing["zswap"] = reason
        else:
            self._each("zswap", lambda: self.host.zswap_compressors(self.names), self.zswap)
        if reason := self.host.no_zram():
            self.missing["zram"] = reason
        else:
            self._each("zram", self.host.zram_algorithms, self.zram)

    def _each(
        self,
        where: str,
        taken: Callable[[], list[str]],
        compare: Callable[[str], Iterable[Comparison]],
    ) -> None:
        """Compares each compressor that the kernel takes there. An error after the
        first comparison goes to `broken_off`, so that the table is still printed.
        """
        what = where
        try:
            for name in taken():
                if name in self.names:
                    what = f"{where} {name}"
                    self.found.extend(compare(name))
        except OSError as e:
            if not self.found:
                raise
            self.broken_off[what] = str(e)


def _comparison(
    where: str,
    codec: crypto.CompressorInfo,
    kernel: Steps,
    ours: Steps,
    *,
    steady: bool,
    sizes: tuple[list[int], list[int]] | None = None,
) -> Comparison:
    off = [b - a for a, b in zip(*sizes, strict=True)] if sizes else None
    return Comparison(
        where=where,
        name=codec.name,
        backend=codec.backend or "",
        library_version=codec.library_version,
        kernel_sizes=codec.kernel_sizes,
        kernel=kernel,
        ours=ours,
        steady=steady,
        page_stores=None if off is None else len(off),
        page_stores_differ=None if off is None else sum(map(bool, off)),
        page_largest_difference=None if off is None else max(off, key=abs, default=0),
    )


def rules_of(host: Host) -> str:
    """Returns the newest of KERNELS that is not newer than the host's kernel; the
    oldest if all are newer.
    """
    older = [k for k in KERNELS if tuple(map(int, k.split("."))) <= host.version]
    return older[-1] if older else KERNELS[0]


def verify(
    pages: Sequence[bytes],
    *,
    source: str,
    directory: str | Path = "/var/tmp",
    command: str = "",
    host: Host | None = None,
    progress: Progress = lambda _: None,
) -> Verdict:
    """Compares pages of this machine's page size in its kernel and in ours.

    Raises HostError, with the reason, if the kernel cannot be asked, and
    KeyboardInterrupt on SIGINT, SIGTERM and SIGHUP. In every case it restores the
    machine's settings and compares them with their old values: `host.meanwhile` lists
    those that other programs changed.
    """
    host = host or Host()
    host.must_be_usable()
    if not pages:
        raise HostError(f"{source} has less than one page of {PAGE_SIZE} bytes: give a larger file")
    must_have_room(host, len(pages))
    with interruptions() as check:
        before = host.settings()
        try:
            verifying = _Verifying(host, pages, directory, check, progress)
            verifying.run()
        except AssertionError as e:
            raise HostError(f"the figures are invalid: {e}") from e
        finally:
            host.note_changes(before)
    return Verdict(
        schema=SCHEMA,
        command=command,
        host={"kernel": host.release, "machine": os.uname().machine},
        source=source,
        page_size=PAGE_SIZE,
        chain_size=verifying.chain_size,
        rules=verifying.rules,
        pages=len(pages),
        zero_pages=sum(not any(page) for page in pages),
        comparisons=verifying.found,
        not_compared=verifying.missing,
        broken_off=verifying.broken_off,
        meanwhile=list(host.meanwhile),
    )


def must_have_room(host: Host, pages: int) -> None:
    """Raises HostError if `pages` pages need more than the available memory."""
    need, there = ROOM * pages * PAGE_SIZE, host.mem_available()
    if need > there:
        raise HostError(
            f"{pages:,} pages need {need >> 20:,} MiB of memory, and {there >> 20:,} MiB are "
            "available: give fewer pages"
        )
