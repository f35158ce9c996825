# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends the same pages through this machine's own zswap and zram and through ours, and
compares the figures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from zswap_py import crypto
from zswap_py._lib.signals import Check, interruptions
from zswap_py.kernels import OLDEST, kernel_for, parse
from zswap_py.verify.data import POOL, SCHEMA, Comparison, Steps, Verdict
from zswap_py.verify.host import PAGE_SIZE, ZSMALLOC, Host, HostError
from zswap_py.verify.walk import Ours, Walk, host_zram, host_zswap

#: Runs on the kernel before its figures count as unsteady: its counters are those of
#: the whole machine.
RUNS = 3

#: Bytes that must be free for each byte of the pages: the pages, the kernel's copy and
#: pool, our pool.
ROOM = 4

#: Codecs whose sizes are other ones in kernels before kernels.OLDEST.
SIZES_CHANGED = ("zstd",)

Progress = Callable[[str], None]
"""Called with the name of the next comparison: "zswap lzo"."""

T = TypeVar("T")


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
        self.ours = Ours(rules_of(host.release), host.chain_size())
        self.codecs = [
            c for c in crypto.compressors() if c.available and c.name in crypto.KERNEL_NAMES
        ]
        self.names = list(dict.fromkeys(c.name for c in self.codecs))
        self.found: list[Comparison] = []
        self.missing: dict[str, str] = {}  # the reason, by name
        self.broken_off: dict[str, str] = {}  # the error, by name

    def _of(self, name: str) -> list[crypto.CompressorInfo]:
        return [c for c in self.codecs if c.name == name]

    def _compare(
        self,
        where: str,
        name: str,
        ours: Callable[[str, Sequence[bytes], Check], Walk],
        kernels: Callable[[], Walk],
    ) -> Iterator[Comparison]:
        """Compares each backend of `name` with the kernel's."""
        self.progress(f"{where} {name}")
        codecs = self._of(name)
        walks = [ours(f"{c.name}:{c.backend}", self.pages, self.check) for c in codecs]
        kernel, steady = settled(kernels, [walk._replace(by=None) for walk in walks])
        for codec, walk in zip(codecs, walks, strict=True):
            found = comparison(where, codec, kernel, walk, steady=steady)
            yield as_modelled(found, self.host.release)

    def zswap(self, name: str) -> Iterator[Comparison]:
        """Compares each backend of `name` with the kernel's zswap."""

        def kernels() -> Walk:
            return host_zswap(self.host, name, self.pages, self.directory, self.check)

        return self._compare("zswap", name, self.ours.zswap, kernels)

    def zram(self, name: str) -> Iterator[Comparison]:
        """Compares each backend of `name` with the kernel's zram, also page by page."""

        def kernels() -> Walk:
            return host_zram(self.host, name, self.pages, self.check)

        return self._compare("zram", name, self.ours.zram, kernels)

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
            if reason := self.host.no_pool():
                self.missing["zram's pool"] = reason
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


def comparison(
    where: str,
    codec: crypto.CompressorInfo,
    kernel: Walk,
    ours: Walk,
    *,
    steady: bool = True,
) -> Comparison:
    """Compares what the kernel and a backend of ours told of the same walk."""
    claim = ours.by or codec
    off = None
    if kernel.sizes is not None and ours.sizes is not None:
        off = [b - a for a, b in zip(kernel.sizes, ours.sizes, strict=True)]
    return Comparison(
        where=where,
        name=codec.name,
        backend=codec.backend or "",
        library_version=claim.library_version,
        kernel_sizes=claim.kernel_sizes,
        remedy=claim.remedy,
        kernel=kernel.steps,
        ours=ours.steps,
        steady=steady,
        page_stores=None if off is None else len(off),
        page_stores_differ=None if off is None else sum(map(bool, off)),
        page_largest_difference=None if off is None else max(off, key=abs, default=0),
    )


def without_pool(c: Comparison) -> Comparison:
    """Leaves the pool's size out of a comparison."""

    def rest(steps: Steps) -> Steps:
        return [{k: n for k, n in step.items() if k != POOL[c.where]} for step in steps]

    return dataclasses.replace(c, kernel=rest(c.kernel), ours=rest(c.ours))


def as_modelled(c: Comparison, release: str) -> Comparison:
    """Leaves out of a comparison what is not modelled of a kernel of that release: the
    pool of an older zsmalloc, and the claim of a codec whose sizes changed since.
    """
    version = parse(release)
    if version < parse(OLDEST) and c.name in SIZES_CHANGED:
        c = dataclasses.replace(c, kernel_sizes=False, remedy=None)
    return without_pool(c) if version < ZSMALLOC else c


def rules_of(release: str) -> str:
    """Returns the kernel whose rules stand for a release, as uname -r prints it."""
    return kernel_for(release).name


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
        host=host.described(),
        source=source,
        page_size=PAGE_SIZE,
        chain_size=verifying.ours.chain_size,
        rules=verifying.ours.kernel,
        remark=kernel_for(host.release).remark,
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
