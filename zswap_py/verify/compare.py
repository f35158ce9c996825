# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends the same pages through this machine's own zswap and zram and through ours, and
compares the figures.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from zswap_py import crypto
from zswap_py.corpus import FIGURES, Driver, churn
from zswap_py.kernels import Kernel, kernel_for
from zswap_py.verify.data import SCHEMA, Comparison, Steps, Verdict
from zswap_py.verify.host import PAGE_SIZE, Check, Host, HostError, interruptions
from zswap_py.zram import Zram
from zswap_py.zswap import Zswap

#: Runs on the kernel before its figures count as unsteady: its counters are those of
#: the whole machine.
RUNS = 3

#: Bytes that must be free for each byte of the pages: the pages, the kernel's copy and
#: pool, our pool.
ROOM = 4

ZSWAP_FIGURES = (*FIGURES, "reject_compress_fail", "reject_compress_poor")
ZRAM_FIGURES = ("mem_used_total", "compr_data_size", "same_pages", "huge_pages")

Progress = Callable[[str], None]
"""Called with the name of the next comparison: "zswap lzo"."""

T = TypeVar("T")


class _ZramDriver(Driver, Protocol):
    def compr_data_size(self) -> int: ...


class OurZswap:
    """Our zswap for `churn`, with the disk below it: a rejected page goes there."""

    def __init__(self, zswap: Zswap) -> None:
        self._zswap = zswap
        self._disk: dict[int, bytes] = {}
        self.stats = zswap.stats

    def store(self, entry: int, folio: bytes) -> None:
        """Swaps a page out."""
        if self._zswap.store(entry, folio):
            self._disk.pop(entry, None)
        else:
            self._disk[entry] = folio

    def load(self, entry: int, out: bytearray) -> None:
        """Swaps a page in."""
        if not self._zswap.load(entry, out):
            out[:] = self._disk.get(entry, b"")

    def invalidate(self, entry: int) -> None:
        """Frees a page."""
        self._zswap.invalidate(entry)
        self._disk.pop(entry, None)


class OurZram:
    """Our zram for `churn`. A load keeps the page."""

    def __init__(self, zram: Zram) -> None:
        self._zram = zram
        self.store, self.load, self.invalidate = zram.write, zram.read, zram.discard
        self.stats = zram.mm_stat

    def compr_data_size(self) -> int:
        """Returns the compressed size of all pages, in bytes."""
        return self._zram.mm_stat()["compr_data_size"]


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


class Claim(NamedTuple):
    """What a backend claims for the host's kernel, and by which library."""

    kernel_sizes: bool
    library_version: str | None
    remedy: str | None


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
        self.kernel: Kernel = kernel_for(host.release)
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

    def _machine(self) -> dict[str, Any]:
        """Returns the arguments that Zswap and Zram share."""
        return {
            "kernel": self.kernel.name,
            "page_size": PAGE_SIZE,
            "chain_size": self.chain_size,
            "nr_cpus": 1,
        }

    # ---- zswap ----

    def zswap(self, name: str) -> Iterator[Comparison]:
        """Compares each backend of `name` with the kernel's zswap."""
        self.progress(f"zswap {name}")
        codecs = self._of(name)
        ours = [self._our_zswap(codec) for codec in codecs]
        kernel, steady = settled(lambda: self._host_zswap(name), [steps for _, steps in ours])
        for codec, (claim, steps) in zip(codecs, ours, strict=True):
            yield _comparison("zswap", codec, claim, kernel, steps, steady=steady)

    def _our_zswap(self, codec: crypto.CompressorInfo) -> tuple[Claim, Steps]:
        spec = f"{codec.name}:{codec.backend}"
        with Zswap(spec, max_pool_percent=100, series=None, **self._machine()) as z:
            z.swapon(len(self.pages))
            steps = churn(OurZswap(z), self.pages, ZSWAP_FIGURES, self.check)
            return Claim(z.pool.kernel_sizes, z.pool.library_version, z.pool.remedy), steps

    def _host_zswap(self, name: str) -> Steps:
        with self.host.zswap(name, len(self.pages), self.directory) as zswap:
            return churn(zswap, self.pages, ZSWAP_FIGURES, self.check)

    # ---- zram ----

    def zram(self, name: str) -> Iterator[Comparison]:
        """Compares each backend of `name` with the kernel's zram, also page by page."""
        self.progress(f"zram {name}")
        codecs = self._of(name)
        ours = [self._our_zram(codec) for codec in codecs]
        (kernel, sizes), steady = settled(
            lambda: self._host_zram(name), [figures for _, figures in ours]
        )
        for codec, (claim, (steps, ours_sizes)) in zip(codecs, ours, strict=True):
            yield _comparison(
                "zram", codec, claim, kernel, steps, steady=steady, sizes=(sizes, ours_sizes)
            )

    def _our_zram(self, codec: crypto.CompressorInfo) -> tuple[Claim, tuple[Steps, list[int]]]:
        spec = f"{codec.name}:{codec.backend}"
        with Zram(spec, pages=len(self.pages), **self._machine()) as z:
            driver = _Sized(OurZram(z))
            steps = churn(driver, self.pages, ZRAM_FIGURES, self.check)
            return Claim(z.kernel_sizes, z.library_version, z.remedy), (steps, driver.sizes)

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
    claim: Claim,
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
        library_version=claim.library_version,
        kernel_sizes=claim.kernel_sizes,
        remedy=claim.remedy,
        kernel=kernel,
        ours=ours,
        steady=steady,
        page_stores=None if off is None else len(off),
        page_stores_differ=None if off is None else sum(map(bool, off)),
        page_largest_difference=None if off is None else max(off, key=abs, default=0),
    )


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
        rules=verifying.kernel.name,
        remark=verifying.kernel.remark,
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
