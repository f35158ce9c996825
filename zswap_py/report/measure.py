# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures compressors: each has a zswap of its own, and every piece of memory goes
through all of them in turn.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import statistics
import uuid
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timezone
from typing import Any, NamedTuple

from zswap_py import crypto
from zswap_py._lib.params import whole
from zswap_py._native import check, ffi, lib
from zswap_py.cpuhp import NR_CPUS
from zswap_py.pool import SizeClass
from zswap_py.report import estimate
from zswap_py.report.cost import Stopwatch, on_thread
from zswap_py.report.data import (
    SCHEMA,
    Coldness,
    Figures,
    Group,
    GroupSavings,
    Report,
    Sample,
    Unavailable,
)
from zswap_py.report.format import size
from zswap_py.report.host import read_host
from zswap_py.report.tally import Rows, RowsMark, Tally, TallyMark
from zswap_py.sources.pages import PIECE, Pages
from zswap_py.sources.source import Cell, SourceError
from zswap_py.zram import Zram
from zswap_py.zswap import Zswap

#: Compressors of a report that names none.
DEFAULT_COMPRESSORS = ("lzo", "lzo-rle", "lz4", "zstd", "deflate")

#: Pages between two reads of the clock, which is the thread's CPU time.
RUN_PAGES = 64

#: Bytes measured from which a report is made even if memory then runs short.
WORTH_REPORTING = 64 << 20

#: Bytes of a page's slot in the index; the index itself grows in larger steps.
SLOT_BYTES = 8

#: Bytes of a slot in zram's table.
ZRAM_SLOT_BYTES = 16

#: What can be measured, beside zswap.
TARGETS = ("zswap", "zram")

Progress = Callable[[float], None]
"""Called with the bytes done. A piece counts in equal parts as each compressor finishes
it.
"""


class MemoryLimit(SourceError):
    """Pools and copies would take too much of this machine's memory. The message has
    the figure and the option to give.
    """


class BudgetSpent(Exception):
    """The budget of CPU time is spent. The message has the figure and the remedy."""


class Result(NamedTuple):
    """A report, and the exception that ended it early, if any: KeyboardInterrupt,
    MemoryLimit or BudgetSpent. After BudgetSpent the report is complete if a random
    sample of each cell had been read.
    """

    report: Report
    stopped: BaseException | None


class _Mark(NamedTuple):
    """The state of a meter after a piece."""

    stored_pages: int
    stored_incompressible_pages: int
    rejected_pages: int
    compressed_bytes: int
    pool_total_size: int
    page_metadata: int  #: bytes, of all stored pages
    zspage_metadata: int  #: bytes, of all zspages
    classes: tuple[SizeClass, ...]
    store_runs: int
    load_runs: int
    intact: bool
    tally: TallyMark


class _State(NamedTuple):
    """What was read at some time, and what the meters hold of it."""

    read: int  #: pages
    zero_pages: int
    cells: tuple[Cell, ...]
    rows: RowsMark
    marks: list[_Mark]


def _pool_total_size(mark: _Mark, page_size: int) -> int:
    """Returns the bytes of the pool that one CPU fills with as many objects of each
    size. With several CPUs each class has more zspages that are not full, by chance.
    """
    zspages = ((-(-c.objs_inuse // c.objs_per_zspage), c.pages_per_zspage) for c in mark.classes)
    return sum(n * pages for n, pages in zspages) * page_size


class _Meter:
    """One compressor with a zswap of its own, and the times of its runs."""

    target = "zswap"

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
        rows: Rows,
    ) -> None:
        self.compressor = compressor
        self.page_size, self.folio_pages = page_size, folio_pages
        self.run_pages = max(RUN_PAGES, folio_pages)
        self._open(spec, slots, page_size=page_size, nr_cpus=jobs, kernel=kernel)
        self._tally = Tally(self.size_classes(), page_size, rows)
        self._scratch = [ffi.new("uint8_t[]", self.run_pages * page_size) for _ in range(jobs)]
        self._given = self._loaded = self._wrong = 0
        self._store_ns, self._load_ns = array("d"), array("d")  # nanoseconds a page, one item a run

    def _open(self, spec: str, slots: int, **machine: Any) -> None:
        # zswap itself has no limit here: _Measuring checks the memory
        self.zswap = Zswap(spec, max_pool_percent=100, **machine)
        self.zswap.swapon(slots)
        self._c = self.zswap._z
        self._store_runs, self._load_runs, self._tally_span = (
            lib.zswap_store_runs,
            lib.zswap_peek_runs,
            lib.zswap_tally_span,
        )

    def close(self) -> None:
        self.zswap.close()

    def size_classes(self) -> tuple[SizeClass, ...]:
        return self.zswap.pool.size_classes

    def info(self) -> crypto.CompressorInfo:
        """Returns what compresses, and what it claims for the kernel."""
        return self.zswap.pool.info

    def piece(self, threads: ThreadPoolExecutor, span: Any) -> None:
        """Stores the pages of a span, none of them in a zero folio, then peeks and
        compares them.
        """
        nr_pages = span.nr_pages
        spans = list(self._spans(span.pages, nr_pages, len(self._scratch)))
        for ns in list(threads.map(self._store, spans, range(len(spans)))):
            self._store_ns.extend(ns)
        for ns, loaded, wrong in list(threads.map(self._load, spans, range(len(spans)))):
            self._load_ns.extend(ns)
            self._loaded += loaded
            self._wrong += wrong
        self._given += nr_pages

    def add_up(self, span: Any) -> None:
        """Adds up what it holds of the last piece."""
        span.swp = self._given - span.nr_pages
        self._tally.add(self._tally_span, self._c, span)

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
        check(self._store_runs(self._c, cpu, span, runs), f"{self.compressor.spec}: store")
        return [run.ns / run.pages for run in runs]

    def _load(self, span: Any, cpu: int) -> tuple[list[float], int, int]:
        runs, wrong = self._runs(span), ffi.new("uint64_t *")
        rc = self._load_runs(self._c, cpu, span, self._scratch[cpu], runs, wrong)
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

    def _counted(self) -> dict[str, int]:
        """Returns the fields of a mark that zswap counts."""
        stats, events, memory = self.zswap.stats(), self.zswap.events(), self.zswap.memory()
        stored = stats["stored_pages"]
        return {
            "stored_pages": stored,
            "stored_incompressible_pages": stats["stored_incompressible_pages"],
            "rejected_pages": self._given - events["zswpout"],
            "compressed_bytes": events["zswap_bytes"],
            "pool_total_size": stats["pool_total_size"],
            "page_metadata": memory["entry"] + memory["handle"] + SLOT_BYTES * stored,
            "zspage_metadata": memory["zspage"],
        }

    def mark(self) -> _Mark:
        counted = self._counted()
        taken = self._given - counted["rejected_pages"]
        return _Mark(
            **counted,
            classes=self.size_classes(),
            store_runs=len(self._store_ns),
            load_runs=len(self._load_ns),
            intact=not self._wrong and self._loaded == taken,
            tally=self._tally.mark(),
        )

    def held(self, mark: _Mark) -> estimate.Held:
        """Returns what it held at a mark, as the statistics take it."""
        zspages = sum(c.zspages for c in mark.classes)
        return self._tally.held(
            mark.tally,
            page_metadata=mark.page_metadata / max(1, mark.stored_pages),
            zspage_metadata=mark.zspage_metadata / max(1, zspages),
            # the kernel's own counter, which includes the holes that rejected folios
            # left; None if several CPUs filled the pool
            pool_total_size=mark.pool_total_size if len(self._scratch) == 1 else None,
        )

    def counts(self, mark: _Mark) -> dict[str, int]:
        """Returns what was counted in the pages read."""
        stored, held = mark.stored_pages, self.held(mark)
        pool = held.pool_total_size
        if pool is None:
            pool = _pool_total_size(mark, self.page_size)
        zspages = sum(-(-c.objs_inuse // c.objs_per_zspage) for c in mark.classes)
        metadata = held.page_metadata * stored + held.zspage_metadata * zspages
        return {
            "stored_pages": stored,
            "stored_incompressible_pages": mark.stored_incompressible_pages,
            "rejected_pages": mark.rejected_pages,
            "compressed_bytes": mark.compressed_bytes,
            "pool_total_size": pool,
            "net_saved_bytes": stored * self.page_size - pool - round(metadata),
        }

    def times(self, mark: _Mark) -> dict[str, Any]:
        """Returns the quartiles of the runs' times."""
        return {
            **_quartiles("store_ns", self._store_ns[: mark.store_runs]),
            **_quartiles("load_ns", self._load_ns[: mark.load_runs]),
        }


class _ZramMeter(_Meter):
    """One compressor with a zram device of its own."""

    target = "zram"

    def _open(self, spec: str, slots: int, **machine: Any) -> None:
        self.zram = Zram(spec, pages=slots, **machine)
        self._c = self.zram._zram
        self._store_runs, self._load_runs, self._tally_span = (
            lib.zram_write_runs,
            lib.zram_read_runs,
            lib.zram_tally_span,
        )

    def close(self) -> None:
        self.zram.close()

    def size_classes(self) -> tuple[SizeClass, ...]:
        return self.zram.size_classes

    def info(self) -> crypto.CompressorInfo:
        return self.zram.info

    def mapped(self) -> int:
        return self.zram.mapped + ZRAM_SLOT_BYTES * self._given

    def _counted(self) -> dict[str, int]:
        stat, memory = self.zram.mm_stat(), self.zram.memory()
        stored = stat["orig_data_size"] // self.page_size
        return {
            "stored_pages": stored,
            "stored_incompressible_pages": stat["huge_pages"],
            "rejected_pages": 0,
            "compressed_bytes": stat["compr_data_size"],
            "pool_total_size": stat["mem_used_total"],
            "page_metadata": ZRAM_SLOT_BYTES * stored + memory["handle"],
            "zspage_metadata": memory["zspage"],
        }


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
        self,
        pages: Pages,
        specs: Sequence[str],
        folio_pages: int,
        jobs: int,
        kernel: str,
        seed: int,
        zram: bool,
    ) -> None:
        self.pages = pages
        self.seed = seed
        self.meters: list[_Meter] = []
        self.rows: list[tuple[str, _Meter | Unavailable]] = []  # with the target
        self.zram = zram
        self.folio_pages = folio_pages
        self.run_pages = max(RUN_PAGES, folio_pages)
        # a piece has no runs for more threads, and each thread needs a buffer of a run
        self.jobs = min(jobs, max(1, PIECE // (self.run_pages * pages.page_size)))
        self.zero_pages = 0
        self.limit = mem_available() // 4
        self.stopping = False  # set by another thread
        self.ended: set[int] = set()  # cells that are known well enough
        self.table = Rows(len(pages.cells), seed)
        planned = pages.pages_planned
        self._check_room(
            0,
            len(dict.fromkeys(specs)) * (2 if zram else 1),
            0 if planned is None else min(PIECE, planned * pages.page_size),
        )
        # the length of a stream is unknown: unused slots cost next to nothing
        slots = (1 << 32) if planned is None else min(1 << 32, max(1, planned))
        kinds: tuple[type[_Meter], ...] = (_Meter, _ZramMeter) if zram else (_Meter,)
        for spec, kind in itertools.product(dict.fromkeys(specs), kinds):
            try:
                meter = kind(
                    crypto.find(spec),
                    spec,
                    slots,
                    page_size=pages.page_size,
                    folio_pages=folio_pages,
                    jobs=self.jobs,
                    kernel=kernel,
                    rows=self.table,
                )
            except OSError as e:
                name, _, backend = spec.partition(":")
                reason = (e.strerror or str(e)).removeprefix(f"compressor {spec} not available: ")
                # what zswap does not have either is said once
                if kind is _Meter or isinstance(self.rows[-1][1], _Meter):
                    missing = Unavailable(name, backend or None, reason)
                    self.rows.append((kind.target, missing))
            else:
                self.meters.append(meter)
                self.rows.append((kind.target, meter))
        # the state after the last whole piece, and after the last piece that ended a
        # round: assigned at once, so that all compressors stand at the same page
        self.done = self.round = self._state()

    def close(self) -> None:
        for meter in self.meters:
            meter.close()

    def stop(self) -> None:
        """Makes run() raise KeyboardInterrupt soon; for another thread."""
        self.stopping = True

    def run(
        self,
        progress: Progress,
        precision: float | None,
        budget: float | None,
        watch: Stopwatch,
    ) -> None:
        longest = 0.0
        with ThreadPoolExecutor(self.jobs, "zswap-report") as threads:
            for piece in self.pages.pieces(skip_holes=True):
                began = watch.cpu_seconds()
                self._check_room(self.done.read, len(self.meters), len(piece))
                self._piece(threads, piece, progress)
                if self.pages.round_ended:
                    self.round = self.done
                    self._end_cells(precision)
                spent = watch.cpu_seconds()
                longest = max(longest, spent - began)
                # a piece more, and the statistics, which take about as long
                if budget is not None and self._ahead() and spent + 1.5 * longest > budget:
                    raise BudgetSpent(self._spent(budget))
        holes = self.pages.runs  # behind the last piece
        self.table.add(holes, self.table.clusters(holes))
        self.done = self.round = self._state()

    def _spent(self, budget: float) -> str:
        spent = f"the budget of {budget:g} CPU seconds is spent"
        if self.round.read:
            return f"{spent}: a larger --budget makes the figures surer"
        return (
            f"{spent} before a random sample was read, and the figures cover no more than the "
            "pages read: give a larger --budget, or fewer compressors with -c"
        )

    def _ahead(self) -> bool:
        """Returns whether there is more to read, as far as that is known."""
        planned = self.pages.pages_planned
        return planned is None or self.pages.pages_read < planned

    def _state(self) -> _State:
        pages = self.pages
        return _State(
            pages.pages_read,
            self.zero_pages + pages.hole_pages,
            tuple(dataclasses.replace(cell) for cell in pages.cells),
            self.table.mark(),
            [meter.mark() for meter in self.meters],
        )

    def _piece(self, threads: ThreadPoolExecutor, piece: memoryview, progress: Progress) -> None:
        nr_pages, page_size = len(piece) // self.pages.page_size, self.pages.page_size
        before, runs = (self.pages.pages_read - nr_pages) * page_size, self.pages.runs
        # released at once: a traceback that holds on to a view of a memoryview can
        # crash CPython's garbage collector
        with ffi.from_buffer("uint8_t[]", piece, True) as buffer:
            span, clusters = ffi.new("struct zswap_span *"), self.table.clusters(runs)
            span.pages, span.nr_pages, span.page_size = buffer, nr_pages, page_size
            span.folio_pages, span.run_pages = self.folio_pages, self.run_pages
            span.clusters, span.nr_clusters = clusters, len(runs)
            check(lib.zswap_drop_zero_folios(span), "zero folios")
            for i, meter in enumerate(self.meters, 1):
                meter.piece(threads, span)
                progress(before + len(piece) * i / len(self.meters))
                if self.stopping:
                    raise KeyboardInterrupt
            for meter in self.meters:
                meter.add_up(span)
        self.zero_pages += nr_pages - span.nr_pages
        self.table.add(runs, clusters)
        self.done = self._state()

    def _end_cells(self, precision: float | None) -> None:
        """Ends the reading of the cells that are known as well as was asked for."""
        if precision is None or not self._ahead():
            return
        sample = self.sample(self.round, whole=True)
        everything, all_cold = sample.everything, sample.cold
        for part in range(len(self.pages.parts)):
            cells = [i for i in everything if sample.cells[i].part == part]
            if self.ended.issuperset(cells) or not sample.is_sure(cells, everything, precision):
                continue
            cold = [i for i in cells if sample.cells[i].cold]
            sure = sample.is_sure(cold, all_cold, precision)
            for cell in cells if sure else {*cells} - {*cold}:
                self.pages.enough(cell)
                self.ended.add(cell)

    def sample(self, state: _State, whole: bool) -> estimate.Sample:
        """Returns a state as the statistics take it: as a sample of the `whole`, or for
        itself.
        """
        rows = state.rows
        return estimate.Sample(
            self.pages.page_size,
            [
                estimate.CellSample(
                    cell.part,
                    cell.cold,
                    _pages_of(cell) if whole else cell.pages_read,
                    cell.pages_read,
                    i * rows.cell_rows,
                    rows.used[i],
                )
                for i, cell in enumerate(state.cells)
            ],
            rows.pages,
            rows.zero_pages,
            [meter.held(mark) for meter, mark in zip(self.meters, state.marks, strict=True)],
            self.seed,
        )

    def _check_room(self, done: int, meters: int, piece: int) -> None:
        """Raises MemoryLimit if the pools would pass the limit: at the present rate, at
        first by the worst case of the next piece.
        """
        used = sum(meter.mapped() for meter in self.meters)
        copies = PIECE + meters * self.jobs * self.run_pages * self.pages.page_size
        planned = self.pages.pages_planned
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


def _pages_of(cell: Cell) -> float:
    """Returns the pages of a cell. Pages of a sample that vanished stand for others
    that vanished.
    """
    gone = cell.pages_read + cell.vanished
    if cell.pages is None or not gone:
        return cell.pages_read if cell.pages is None else cell.pages
    return cell.pages * (cell.pages_read / gone)


def measure(
    pages: Pages,
    compressors: Sequence[str] = DEFAULT_COMPRESSORS,
    *,
    folio_pages: int = 1,
    jobs: int | None = None,
    kernel: str = "6.18",
    precision: float | None = None,
    budget: float | None = None,
    idle: bool = False,
    seed: int = 0,
    zram: bool = False,
    cold: Coldness | None = None,
    command: str | None = None,
    watch: Stopwatch | None = None,
    progress: Progress = lambda done: None,
) -> Result:
    """Stores all of `pages` with each compressor, in folios of `folio_pages` pages,
    then loads and compares each page.

    `jobs` is the number of threads (default: the number of cores; one if `idle`), 1 to
    NR_CPUS. A piece has a limited number of runs, and no more threads than these are
    started. If `idle`, they have the policy SCHED_IDLE.

    `precision` ends the reading of a sample that comes in rounds, part by part, once
    half the interval of the best compressor's savings is at most that share of them;
    where coldness is known, of the cold pages' too. `budget` ends it after that many
    CPU seconds, counted by `watch`, which the caller may have started before: all that
    was read in whole rounds is then the sample. If no round was whole, the report is
    not complete, and covers the pages read.

    `zram` measures zram, too, with the same compressors.

    Ctrl-C ends the measuring: the result then holds the state after the last whole
    piece, and the KeyboardInterrupt. Raises MemoryLimit if pools and copies would pass
    a quarter of MemAvailable; the result holds it instead if WORTH_REPORTING bytes were
    measured. Raises SourceError for a source that cannot be read, and, with the
    reasons, if no compressor is available; ValueError for a wrong argument.
    """
    watch = watch or Stopwatch()
    stopped: BaseException | None = None
    if precision is not None and not 0 < precision < 1:
        raise ValueError(f"precision is {precision}: give more than 0 and less than 1")
    if budget is not None and not budget > 0:
        raise ValueError(f"budget is {budget}: give more than 0 CPU seconds")
    cores = 1 if idle else min(os.cpu_count() or 1, NR_CPUS)
    threads = cores if jobs is None else whole("jobs", jobs, 1, NR_CPUS)
    with ExitStack() as stack:
        measuring = _Measuring(pages, compressors, folio_pages, threads, kernel, seed, zram)
        stack.callback(measuring.close)
        if not measuring.meters:
            raise SourceError(
                "; ".join(
                    f"compressor {row.name} is not available: {row.unavailable}"
                    for target, row in measuring.rows
                    if target == "zswap" and isinstance(row, Unavailable)
                )
            )
        try:
            on_thread(
                lambda: measuring.run(progress, precision, budget, watch),
                idle=idle,
                stop=measuring.stop,
            )
        except (KeyboardInterrupt, BudgetSpent) as e:
            stopped = e
        except MemoryLimit as e:
            if measuring.done.read * pages.page_size < WORTH_REPORTING:
                raise
            stopped = e
        made = _Making(measuring, stopped, precision, seed)
        return Result(made.report(kernel, command, cold, watch, idle), stopped)


class _Making:
    """Makes a report of what was measured."""

    def __init__(
        self,
        measuring: _Measuring,
        stopped: BaseException | None,
        precision: float | None,
        seed: int,
    ) -> None:
        self.measuring, self.pages = measuring, measuring.pages
        self.stopped, self.precision, self.seed = stopped, precision, seed
        enough = isinstance(stopped, BudgetSpent) and measuring.round.read > 0
        self.whole = stopped is None or enough
        self.complete = self.whole and not any(source.incomplete for source in self.pages.sources)
        # pages of a round that was begun are no random sample
        self.state = measuring.round if self.whole else measuring.done
        # what is missing at the end of a source is not as what was read before it
        self.sample = measuring.sample(self.state, self.complete)
        self.everything = self.sample.everything
        known = any(cell.cold is not None for cell in self.sample.cells)
        self.cold = self.sample.cold if known else None

    def _cold(self, cells: Sequence[int]) -> list[int]:
        return [i for i in cells if self.sample.cells[i].cold]

    def _pages(self, cells: Sequence[int]) -> int:
        return round(sum(self.sample.cells[i].pages for i in cells))

    def report(
        self,
        kernel: str,
        command: str | None,
        cold: Coldness | None,
        watch: Stopwatch,
        idle: bool,
    ) -> Report:
        measuring, pages = self.measuring, self.pages
        return Report(
            schema=SCHEMA,
            id=uuid.uuid4().hex,
            time=datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z"),
            complete=self.complete,
            command=command,
            host=read_host(),
            labels={},
            source=[
                {k: v for k, v in dataclasses.asdict(s).items() if v is not None}
                for s in pages.sources
            ],
            kernel=kernel,
            target=",".join(TARGETS if measuring.zram else TARGETS[:1]),
            series=next((m.zswap.series for m in measuring.meters if m.target == "zswap"), None),
            page_size=pages.page_size,
            folio_pages=measuring.folio_pages,
            pages_total=self._pages(self.everything) if self.complete else pages.pages_total,
            cold_pages=None if self.cold is None else self._pages(self.cold),
            zero_pages=self.sample.zero_pages_of(self.everything),
            estimated=pages.estimated,
            cold=cold,
            compressors=self._compressors("zswap"),
            zram=self._compressors("zram") if measuring.zram else None,
            groups=self._groups(),
            sample=self._sample(),
            # last: the statistics cost, too
            cost=watch.cost(pages.pages_read * pages.page_size, measuring.jobs, idle),
        )

    def _compressors(self, target: str) -> list[Figures | Unavailable]:
        """Returns the rows of a target."""
        measuring = self.measuring
        return [
            self._figures(measuring.meters.index(row), row) if isinstance(row, _Meter) else row
            for of, row in measuring.rows
            if of == target
        ]

    def _figures(self, which: int, meter: _Meter) -> Figures:
        c, mark = meter.info(), self.state.marks[which]
        sample, everything = self.sample, self.everything
        sets = [everything] if self.cold is None else [everything, self.cold]
        by_class = zip(*(sample.classes(cells, which).objects for cells in sets), strict=True)
        return Figures(
            name=c.name,
            backend=meter.compressor.backend,
            library_version=c.library_version,
            kernel_sizes=c.kernel_sizes,
            intact=mark.intact,
            all=sample.savings(everything, which, everything),
            cold=None if self.cold is None else sample.savings(self.cold, which, self.cold),
            classes={
                str(class_.size): list(objects)
                for class_, objects in zip(sample.held[which].classes, by_class, strict=True)
                if any(objects)
            },
            **meter.times(mark),
            sample=meter.counts(mark),
        )

    def _groups(self) -> list[Group]:
        parts = self.pages.parts
        if [part.kind for part in parts] == ["all"]:
            return []
        return [
            self._group(part.kind, part.label, part.facts, cells)
            for number, part in enumerate(parts)
            if (cells := [i for i in self.everything if self.sample.cells[i].part == number])
        ]

    def _group(self, kind: str, label: str, facts: dict[str, int], cells: list[int]) -> Group:
        cold = None if self.cold is None else self._cold(cells)
        sample = self.sample
        meters = [m for m in self.measuring.meters if m.target == "zswap"]
        names = [meter.compressor.name for meter in meters]
        return Group(
            kind=kind,
            label=label,
            facts=facts,
            pages=self._pages(cells),
            cold_pages=None if cold is None else self._pages(cold),
            zero_pages=sample.zero_pages_of(cells),
            savings={
                # as Report.label() names it
                c.name if names.count(c.name) == 1 else f"{c.name}:{c.backend}": GroupSavings(
                    sample.savings(cells, which, self.everything),
                    None if cold is None else sample.savings(cold, which, self.cold or []),
                )
                for which, c in (
                    (self.measuring.meters.index(meter), meter.compressor) for meter in meters
                )
            },
        )

    def _sample(self) -> Sample:
        pages, state = self.pages, self.state
        return Sample(
            pages=state.read,
            zero_pages=state.zero_pages,
            runs=state.rows.runs,
            seed=self.seed,
            precision=self.precision,
            ended=self._ended(),
            not_read=pages.not_read.as_dict(),
            processes_gone=sorted(pages.processes_gone),
            processes_denied=pages.processes_denied,
            heated_pages=pages.heated,
            cells=[
                {"part": pages.parts[cell.part].label, "cold": cell.cold, "pages": cell.pages_read}
                for cell in state.cells
            ]
            if len(state.cells) > 1
            else [],
        )

    def _ended(self) -> str:
        if self.stopped is not None:
            return {KeyboardInterrupt: "interrupted", MemoryLimit: "memory"}.get(
                type(self.stopped), "budget"
            )
        if self.sample.exact(self.everything):
            return "all"
        return "precision" if self.precision and self._all_sure() else "sample"

    def _all_sure(self) -> bool:
        sets = [self.everything, *([self.cold] if self.cold else [])]
        return all(self.sample.is_sure(cells, cells, self.precision or 0.0) for cells in sets)
