# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures compressors: each has a zswap of its own, and every piece of memory goes
through all of them in turn.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, NamedTuple

from zswap_py import crypto
from zswap_py._lib.params import whole
from zswap_py._native import check, ffi, lib
from zswap_py.cpuhp import NR_CPUS
from zswap_py.pool import SizeClass
from zswap_py.report.data import SCHEMA, Figures, Report, Unavailable, scale_of
from zswap_py.report.format import size
from zswap_py.sources.pages import PIECE, Pages
from zswap_py.sources.source import SourceError
from zswap_py.zswap import Zswap

#: Compressors of a report that names none.
DEFAULT_COMPRESSORS = ("lzo", "lzo-rle", "lz4", "zstd", "deflate")

#: Pages between two reads of the clock, which is the thread's CPU time.
RUN_PAGES = 64

#: Bytes measured from which a report is made even if memory then runs short.
WORTH_REPORTING = 64 << 20

#: Bytes of a page's slot in the index; the index itself grows in larger steps.
SLOT_BYTES = 8

Progress = Callable[[float], None]
"""Called with the bytes done. A piece counts in equal parts as each compressor finishes
it.
"""


class MemoryLimit(SourceError):
    """Pools and copies would take too much of this machine's memory. The message has
    the figure and the option to give.
    """


class Result(NamedTuple):
    """A report, and the exception that ended it early, if any: KeyboardInterrupt or
    MemoryLimit.
    """

    report: Report
    stopped: BaseException | None


class _Mark(NamedTuple):
    """The state of a meter after a piece."""

    stats: dict[str, int]
    events: dict[str, int]
    memory: dict[str, int]
    classes: tuple[SizeClass, ...]
    store_runs: int
    load_runs: int
    given: int
    intact: bool


class _Pool(NamedTuple):
    """The size of a pool that one CPU fills, in bytes."""

    total_size: int
    metadata: int


def _pool(mark: _Mark, page_size: int, scale: float = 1) -> _Pool:
    """Returns the pool that holds `scale` times as many objects of each size.

    Multiplying the pool itself would multiply the zspages that are not full. With one
    CPU each class has one such zspage at most; with several CPUs it has more, by
    chance.
    """
    zspages = pages = 0
    for c in mark.classes:
        n = -(-round(c.objs_inuse * scale) // c.objs_per_zspage)
        zspages += n
        pages += n * c.pages_per_zspage
    per_page = (
        mark.memory["entry"] + mark.memory["handle"] + SLOT_BYTES * mark.stats["stored_pages"]
    )
    descriptor = mark.memory["zspage"] / max(1, sum(c.zspages for c in mark.classes))
    return _Pool(pages * page_size, round(per_page * scale + descriptor * zspages))


class _Meter:
    """One compressor with a zswap of its own, and the times of its runs."""

    def __init__(
        self,
        compressor: crypto.Compressor,
        spec: str,
        slots: int,
        *,
        page_size: int,
        folio_pages: int,
        jobs: int,
        kernel: str,
    ) -> None:
        self.compressor = compressor
        self.page_size, self.folio_pages = page_size, folio_pages
        self.run_pages = max(RUN_PAGES, folio_pages)
        # zswap itself has no limit here: _Measuring checks the memory
        self.zswap = Zswap(
            spec, max_pool_percent=100, page_size=page_size, nr_cpus=jobs, kernel=kernel
        )
        self.zswap.swapon(slots)
        self._scratch = [ffi.new("uint8_t[]", self.run_pages * page_size) for _ in range(jobs)]
        self._given = self._loaded = self._wrong = 0
        self._store_ns, self._load_ns = array("d"), array("d")  # nanoseconds a page, one item a run

    def close(self) -> None:
        self.zswap.close()

    def piece(self, threads: ThreadPoolExecutor, pages: Any, nr_pages: int) -> None:
        """Stores nr_pages pages, none of them in a zero folio, then peeks and compares
        them.
        """
        spans = list(self._spans(pages, nr_pages, len(self._scratch)))
        for ns in list(threads.map(self._store, spans, range(len(spans)))):
            self._store_ns.extend(ns)
        for ns, loaded, wrong in list(threads.map(self._load, spans, range(len(spans)))):
            self._load_ns.extend(ns)
            self._loaded += loaded
            self._wrong += wrong
        self._given += nr_pages

    def _spans(self, pages: Any, nr_pages: int, jobs: int) -> Iterator[Any]:
        """Yields the pages in one part per job, cut between runs."""
        runs = -(-nr_pages // self.run_pages)
        step = -(-runs // jobs) * self.run_pages
        for start in range(0, nr_pages, step) if step else ():
            span = ffi.new("struct zswap_span *")
            span.swp = self._given + start
            span.pages = pages + start * self.page_size
            span.nr_pages = min(step, nr_pages - start)
            span.page_size, span.folio_pages, span.run_pages = (
                self.page_size,
                self.folio_pages,
                self.run_pages,
            )
            yield span

    def _runs(self, span: Any) -> Any:
        return ffi.new("struct zswap_run[]", -(-span.nr_pages // self.run_pages))

    def _store(self, span: Any, cpu: int) -> list[float]:
        runs = self._runs(span)
        check(
            lib.zswap_store_runs(self.zswap._z, cpu, span, runs), f"{self.compressor.spec}: store"
        )
        return [run.ns / run.pages for run in runs]

    def _load(self, span: Any, cpu: int) -> tuple[list[float], int, int]:
        runs, wrong = self._runs(span), ffi.new("uint64_t *")
        rc = lib.zswap_peek_runs(self.zswap._z, cpu, span, self._scratch[cpu], runs, wrong)
        check(rc, f"{self.compressor.spec}: load")
        return (
            [run.ns / run.pages for run in runs if run.pages],
            sum(run.pages for run in runs),
            wrong[0],
        )

    def mapped(self) -> int:
        """Returns the bytes that this process maps for the stored pages."""
        events = self.zswap.events()
        return events["arena_mapped"] + events["slab_mapped"] + self.zswap.memory()["tree"]

    def mark(self) -> _Mark:
        events = self.zswap.events()
        intact = not self._wrong and self._loaded == events["zswpout"]
        return _Mark(
            self.zswap.stats(),
            events,
            self.zswap.memory(),
            self.zswap.pool.size_classes,
            len(self._store_ns),
            len(self._load_ns),
            self._given,
            intact,
        )

    def figures(self, mark: _Mark, scale: float) -> Figures:
        """Returns the figures at a mark, and the estimates for `scale` times as many
        pages.
        """
        c, stored = self.compressor, mark.stats["stored_pages"]
        pool, estimated = _pool(mark, self.page_size), _pool(mark, self.page_size, scale)
        # the kernel's own counter, which includes the holes that rejected folios left
        if len(self._scratch) == 1:
            pool = pool._replace(total_size=mark.stats["pool_total_size"])
            estimated = estimated if scale > 1 else pool
        return Figures(
            name=c.name,
            backend=c.backend,
            library_version=c.library_version,
            kernel_sizes=c.kernel_sizes_at(self.page_size),
            stored_pages=stored,
            stored_incompressible_pages=mark.stats["stored_incompressible_pages"],
            rejected_pages=mark.given - mark.events["zswpout"],
            compressed_bytes=mark.events["zswap_bytes"],
            pool_total_size=pool.total_size,
            ratio=stored * self.page_size / pool.total_size if pool.total_size else None,
            net_saved_bytes=stored * self.page_size - sum(pool),
            estimated_pool_total_size=estimated.total_size,
            estimated_net_saved_bytes=round(stored * scale) * self.page_size - sum(estimated),
            **_quartiles("store_ns", self._store_ns[: mark.store_runs]),
            **_quartiles("load_ns", self._load_ns[: mark.load_runs]),
            intact=mark.intact,
        )


def _quartiles(name: str, ns: Sequence[float]) -> dict[str, Any]:
    if not ns:
        return dict.fromkeys((f"{name}_p50", f"{name}_p25", f"{name}_p75"))
    p25, p50, p75 = (
        statistics.quantiles(ns, n=4, method="inclusive") if len(ns) > 1 else [ns[0]] * 3
    )
    return {f"{name}_p50": p50, f"{name}_p25": p25, f"{name}_p75": p75}


def mem_available() -> int:
    """Returns MemAvailable of /proc/meminfo, in bytes."""
    with open("/proc/meminfo", encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("MemAvailable:"))


class _Measuring:
    """The meters over a set of pages."""

    def __init__(
        self, pages: Pages, specs: Sequence[str], folio_pages: int, jobs: int, kernel: str
    ) -> None:
        self.pages = pages
        self.meters: list[_Meter] = []
        self.rows: list[_Meter | Unavailable] = []
        self.folio_pages = folio_pages
        self.run_pages = max(RUN_PAGES, folio_pages)
        # a piece has no runs for more threads, and each thread needs a buffer of a run
        self.jobs = min(jobs, max(1, PIECE // (self.run_pages * pages.page_size)))
        self.zero_pages = 0
        self.limit = mem_available() // 4
        # assigned once a piece, so that after an interrupt all compressors stand at the
        # same page
        self.done: tuple[int, int, list[_Mark]] = (0, 0, [])
        planned = pages.pages_planned
        self._check_room(
            len(dict.fromkeys(specs)),
            0 if planned is None else min(PIECE, planned * pages.page_size),
        )
        # the length of a stream is unknown: unused slots cost next to nothing
        slots = (1 << 32) if planned is None else min(1 << 32, max(1, planned))
        for spec in dict.fromkeys(specs):
            try:
                meter = _Meter(
                    crypto.find(spec),
                    spec,
                    slots,
                    page_size=pages.page_size,
                    folio_pages=folio_pages,
                    jobs=self.jobs,
                    kernel=kernel,
                )
            except OSError as e:
                name, _, backend = spec.partition(":")
                reason = (e.strerror or str(e)).removeprefix(f"compressor {spec} not available: ")
                self.rows.append(Unavailable(name, backend or None, reason))
            else:
                self.meters.append(meter)
                self.rows.append(meter)
        self.done = (0, 0, [meter.mark() for meter in self.meters])

    def close(self) -> None:
        for meter in self.meters:
            meter.close()

    def run(self, progress: Progress) -> None:
        with ThreadPoolExecutor(self.jobs, "zswap-report") as threads:
            for piece in self.pages.pieces(skip_holes=True):
                self._check_room(len(self.meters), len(piece))
                self._piece(threads, piece, progress)
        self._mark()  # a hole at the end

    def _mark(self) -> None:
        zero_pages = self.zero_pages + self.pages.hole_pages
        self.done = (self.pages.pages_read, zero_pages, [meter.mark() for meter in self.meters])

    def _piece(self, threads: ThreadPoolExecutor, piece: memoryview, progress: Progress) -> None:
        nr_pages, page_size = len(piece) // self.pages.page_size, self.pages.page_size
        before = (self.pages.pages_read - nr_pages) * page_size
        # released at once: a traceback that holds on to a view of a memoryview can
        # crash CPython's garbage collector
        with ffi.from_buffer("uint8_t[]", piece, True) as buffer:
            span = ffi.new("struct zswap_span *")
            span.pages, span.nr_pages, span.page_size = buffer, nr_pages, page_size
            span.folio_pages, span.run_pages = self.folio_pages, self.run_pages
            check(lib.zswap_drop_zero_folios(span), "zero folios")
            self.zero_pages += nr_pages - span.nr_pages
            for i, meter in enumerate(self.meters, 1):
                meter.piece(threads, span.pages, span.nr_pages)
                progress(before + len(piece) * i / len(self.meters))
        self._mark()

    def _check_room(self, meters: int, piece: int) -> None:
        """Raises MemoryLimit if the pools would pass the limit: at the present rate, at
        first by the worst case of the next piece.
        """
        used = sum(meter.mapped() for meter in self.meters)
        copies = PIECE + meters * self.jobs * self.run_pages * self.pages.page_size
        done, planned = self.done[0], self.pages.pages_planned
        pools = used * max(1.0, planned / done) if done and planned else used + meters * piece
        if pools + copies <= self.limit:
            return
        remedy = "read less with --sample SIZE" if planned is not None else "pipe in less"
        if meters > 1:
            remedy += ", or compare fewer compressors with -c"
        raise MemoryLimit(
            f"pools and copies would take {size(pools + copies)}, more than {size(self.limit)}, a "
            f"quarter of the available memory: {remedy}"
        )


def measure(
    pages: Pages,
    compressors: Sequence[str] = DEFAULT_COMPRESSORS,
    *,
    folio_pages: int = 1,
    jobs: int | None = None,
    kernel: str = "6.18",
    command: str = "",
    progress: Progress = lambda done: None,
) -> Result:
    """Stores all of `pages` with each compressor, in folios of `folio_pages` pages,
    then loads and compares each page.

    `jobs` is the number of threads (default: the number of cores), 1 to NR_CPUS. A
    piece has a limited number of runs, and no more threads than these are started.
    Ctrl-C ends the measuring: the result then holds the state after the last whole
    piece, and the KeyboardInterrupt. Raises MemoryLimit if pools and copies would pass
    a quarter of MemAvailable; the result holds it instead if WORTH_REPORTING bytes were
    measured. Raises SourceError for a source that cannot be read, and, with the
    reasons, if no compressor is available.
    """
    stopped: BaseException | None = None
    with ExitStack() as stack:
        threads = (
            min(os.cpu_count() or 1, NR_CPUS) if jobs is None else whole("jobs", jobs, 1, NR_CPUS)
        )
        measuring = _Measuring(pages, compressors, folio_pages, threads, kernel)
        stack.callback(measuring.close)
        if not measuring.meters:
            raise SourceError(
                "; ".join(
                    f"compressor {row.name} is not available: {row.unavailable}"
                    for row in measuring.rows
                    if isinstance(row, Unavailable)
                )
            )
        try:
            measuring.run(progress)
        except KeyboardInterrupt as e:
            stopped = e
        except MemoryLimit as e:
            if measuring.done[0] * pages.page_size < WORTH_REPORTING:
                raise
            stopped = e
        complete = stopped is None and not any(source.incomplete for source in pages.sources)
        return Result(_report(measuring, kernel, command, complete), stopped)


def _report(measuring: _Measuring, kernel: str, command: str, complete: bool) -> Report:
    pages = measuring.pages
    read, zero_pages, marks = measuring.done
    by_meter = dict(zip(measuring.meters, marks, strict=True))
    scale = scale_of(pages.pages_total, read, pages.not_read.vanished) if complete else 1.0
    return Report(
        schema=SCHEMA,
        complete=complete,
        command=command,
        host={"cpu": _cpu_model(), "kernel": os.uname().release},
        source=[
            {k: v for k, v in dataclasses.asdict(s).items() if v is not None} for s in pages.sources
        ],
        kernel=kernel,
        series=measuring.meters[0].zswap.series,
        page_size=pages.page_size,
        folio_pages=measuring.folio_pages,
        pages_total=pages.pages_total,
        estimated=pages.estimated,
        pages=read,
        zero_pages=zero_pages,
        not_read=pages.not_read.as_dict(),
        processes_gone=sorted(pages.processes_gone),
        compressors=[
            row.figures(by_meter[row], scale) if isinstance(row, _Meter) else row
            for row in measuring.rows
        ],
    )


def _cpu_model() -> str:
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
        for line in f:
            if line.startswith(("model name", "Model", "cpu model")):
                return " ".join(line.partition(":")[2].split())
    return os.uname().machine
