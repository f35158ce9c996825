# SPDX-License-Identifier: GPL-2.0-or-later
"""measure.py and csrc/measure.c: whole runs over files, whose figures the kernel has
given.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus import SEEDS, corpus

from zswap_py import crypto
from zswap_py._native import ffi, lib
from zswap_py.report import Figures, Unavailable, measure
from zswap_py.report.cost import Stopwatch
from zswap_py.report.data import Estimate, Report, Savings
from zswap_py.report.measure import BudgetSpent, MemoryLimit, Result
from zswap_py.report.tally import Rows, Tally
from zswap_py.sources.coldness import Cold
from zswap_py.sources.pagemap import Runs
from zswap_py.sources.pages import Run, SourceError, open_pages
from zswap_py.zswap import Zswap

P = 4096
KERNEL = json.loads((Path(__file__).parent / "data" / "kernel_figures.json").read_text())

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != P, reason=("the corpora's pages are of 4,096 bytes")
)


def run(
    path: Path, *compressors: str, sample: int | None = None, seed: int = 0, **how: Any
) -> Result:
    with open_pages([path], sample_bytes=sample, seed=seed) as pages:
        return measure.measure(pages, compressors or ("lz4",), **how)


def only(result: Result | Report, name: str | None = None) -> Figures:
    report = result.report if isinstance(result, Result) else result
    (f,) = (f for f in report.figures if name in (None, f.name))
    return f


def stored(f: Figures) -> int:
    return f.sample["stored_pages"]


def write(path: Path, *pages: bytes) -> Path:
    path.write_bytes(b"".join(pages))
    return path


# ---- the figures ----


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("compressor", ["deflate", "lzo"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_figures_are_the_kernels(tmp_path: Path, seed: int, compressor: str, jobs: int) -> None:
    kernel = KERNEL[f"corpus:{seed}"][f"churn:{compressor}"][0]  # the step that stores all
    result = run(write(tmp_path / "memory", *corpus(seed)), compressor, jobs=jobs)
    f = only(result)
    assert f.kernel_sizes
    assert {name: f.sample[name] for name in kernel} == kernel
    # all was read: the estimates are the kernel's figures, too
    exact = {name: Estimate.exactly(n) for name, n in kernel.items()}
    assert {name: getattr(f.all, name) for name in kernel} == exact
    assert result.report.zero_pages == Estimate.exactly(2000 - kernel["stored_pages"])
    assert f.all.net_saved_bytes == Estimate.exactly(f.sample["net_saved_bytes"])
    assert f.intact
    assert result.report.complete
    assert result.stopped is None


def test_deflates_sizes_of_large_pages_are_not_claimed(tmp_path: Path) -> None:
    path = write(tmp_path / "memory", *corpus(1)[:64])
    with open_pages([path], page_size=4 * P) as pages:
        report = measure.measure(pages, ("deflate", "lz4")).report
    assert [(f.name, f.kernel_sizes) for f in report.figures] == [("deflate", False), ("lz4", True)]


def test_figures_hang_together(memory: Path) -> None:
    report = run(memory, "lzo", "lzo-rle", "lz4", "zstd", "deflate").report
    assert [c.name for c in report.compressors] == ["lzo", "lzo-rle", "lz4", "zstd", "deflate"]
    for f in report.figures:
        assert f.intact
        stored, pool = f.sample["stored_pages"], f.sample["pool_total_size"]
        assert (
            report.sample.zero_pages + stored + f.sample["rejected_pages"]
            == report.sample.pages
            == report.pages_total
            == 2000
        )
        metadata = stored * P - pool - f.sample["net_saved_bytes"]
        assert 64 * stored <= metadata <= 100 * stored
        assert 0 < f.sample["compressed_bytes"] < pool
        classes = {int(size): n for size, (n,) in f.classes.items()}
        assert sum(classes.values()) == stored
        # an object has its handle and its padding
        assert sum(size * n for size, n in classes.items()) > f.sample["compressed_bytes"]
        assert {name: getattr(f.all, name) for name in f.sample} == {
            name: Estimate.exactly(n) for name, n in f.sample.items()
        }
        for kind in ("store", "load"):
            p25, p50, p75 = (getattr(f, f"{kind}_ns_p{q}") for q in (25, 50, 75))
            assert 0 < p25 <= p50 <= p75 < 1e9


def test_the_times_are_zswaps(memory: Path) -> None:
    """Half the runs take longer than the median a page: together they cannot take
    longer than the whole did.
    """
    began = time.monotonic_ns()
    f = only(run(memory, "deflate", jobs=1))
    took = time.monotonic_ns() - began
    assert f.store_ns_p50 is not None
    assert f.load_ns_p50 is not None
    assert f.store_ns_p50 / 2 * f.sample["stored_pages"] < took
    # a page of deflate is 10 us and more on any machine: two units apart from a mistake
    # in the unit
    assert 5_000 < f.store_ns_p50 < 5_000_000
    assert f.load_ns_p50 < f.store_ns_p50


SLEEP = 0.002  # seconds, a page


@pytest.fixture
def sleeper() -> Iterator[str]:
    """A compressor that sleeps, as a thread does that waits for the CPU."""

    def packed(page: Any, room: int) -> bytes:
        time.sleep(SLEEP)
        return bytes(page[:64])

    def page(packed: Any, room: int) -> bytes:
        time.sleep(SLEEP)
        return bytes(packed) * 64

    crypto.register_compressor("sleeper", packed, page)
    yield "sleeper"
    crypto.unregister_compressor("sleeper")


def test_times_are_the_threads_own_on_the_cpu(tmp_path: Path, sleeper: str) -> None:
    """Neither its sleep nor the work that another thread does meanwhile."""
    memory = write(tmp_path / "memory", *[bytes([i]) * P for i in range(1, 129)])
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            hashlib.sha256(b"x" * (1 << 20))  # without the interpreter's lock

    worker = threading.Thread(target=work)
    worker.start()
    try:
        f = only(run(memory, sleeper, jobs=1))
    finally:
        done.set()
        worker.join()
    assert f.intact
    for kind in ("store", "load"):
        assert 0 < getattr(f, f"{kind}_ns_p25") <= getattr(f, f"{kind}_ns_p75") < SLEEP * 1e9 / 2


def test_the_runs_are_what_the_thread_took(tmp_path: Path) -> None:
    """Of all that the thread took on the CPU the runs are most, and never more."""
    pages = b"".join(page for page in corpus(1) if any(page))
    made, _keep = span(pages, run_pages=64)
    runs = ffi.new("struct zswap_run[]", -(-len(pages) // P // 64))
    with Zswap("deflate", nr_cpus=1) as z:
        z.swapon(len(pages) // P)
        began = time.thread_time_ns()
        assert lib.zswap_store_runs(z._z, 0, made, runs) == 0
        took = time.thread_time_ns() - began
    assert 0.9 * took < sum(r.ns for r in runs) <= took


@pytest.mark.parametrize("jobs", [2, 3, 7])
def test_jobs_change_no_figure(memory: Path, jobs: int) -> None:
    one, many = only(run(memory, jobs=1)), only(run(memory, jobs=jobs))
    assert one.sample == many.sample
    assert one.all == many.all
    assert one.classes == many.classes
    assert many.intact


def test_pieces_and_folios_that_do_not_come_out_even(tmp_path: Path) -> None:
    """Over a piece's end, and a last folio that is short."""
    noise = os.urandom(5000 * P)
    f = only(run(write(tmp_path / "memory", noise), folio_pages=16, jobs=3))
    raw = f.sample["stored_pages"], f.sample["stored_incompressible_pages"]
    assert (*raw, f.intact) == (5000, 5000, True)


def test_only_zero_pages(tmp_path: Path) -> None:
    report = run(write(tmp_path / "memory", bytes(300 * P))).report
    assert report.zero_pages == Estimate.exactly(300)
    f = report.figures[0]
    zero = Estimate.exactly(0)
    assert f.all == Savings(zero, zero, zero, zero, zero, zero)
    assert f.all.ratio(P) is f.store_ns_p50 is f.load_ns_p75 is None
    assert f.classes == {}
    assert f.intact


def test_zero_folios_never_come_to_zswap_but_zero_pages_of_others_do(tmp_path: Path) -> None:
    word = b"word" * (P // 4)
    memory = write(
        tmp_path / "memory",
        *[bytes(P)] * 16,
        *[bytes(P)] * 15,
        word,
        *[bytes(P)] * 16,
        word,
        bytes(P),
    )
    by_page, by_folio = run(memory).report, run(memory, folio_pages=16).report
    assert (by_page.zero_pages.value, stored(by_page.figures[0])) == (48, 2)
    assert (by_folio.zero_pages.value, stored(by_folio.figures[0])) == (32, 18)
    assert by_folio.folio_pages == 16
    assert by_folio.figures[0].intact


def test_linux_6_16_refuses_the_folio_of_a_page_that_does_not_shrink(tmp_path: Path) -> None:
    words = [b"%04d" % i * (P // 4) for i in range(32)]
    memory = write(tmp_path / "memory", *words[:20], os.urandom(P), *words[21:])
    pages = only(run(memory, "lzo", kernel="6.16"))
    assert (stored(pages), pages.sample["rejected_pages"], pages.intact) == (31, 1, True)
    folios = only(run(memory, "lzo", kernel="6.16", folio_pages=16))
    assert (stored(folios), folios.sample["rejected_pages"], folios.intact) == (16, 16, True)
    assert folios.all.rejected_pages == Estimate.exactly(16)
    # the kernel's counter has the zspages of the folio's first pages
    assert folios.all.pool_total_size == Estimate.exactly(folios.sample["pool_total_size"])
    kept = only(run(memory, "lzo", folio_pages=16))
    raw = kept.sample["stored_incompressible_pages"]
    assert (stored(kept), kept.sample["rejected_pages"], raw) == (32, 0, 1)


def test_a_sample_stands_for_all(tmp_path: Path) -> None:
    memory = write(tmp_path / "memory", *corpus(1), *corpus(2), *corpus(3))
    whole, part = run(memory).report, run(memory, sample=8 << 20).report
    assert 1900 <= part.sample.pages <= 2048
    assert part.pages_total == whole.sample.pages == 6000
    estimate, truth = part.figures[0], whole.figures[0]
    for name in truth.sample:
        e = getattr(estimate.all, name)
        assert e.low <= truth.sample[name] <= e.high
        assert e.value == pytest.approx(truth.sample[name], rel=0.1, abs=60)
    assert part.zero_pages.low <= whole.sample.zero_pages <= part.zero_pages.high
    scale = 6000 / part.sample.pages
    # multiplied as it is, each class's last zspage would count three times
    pool = estimate.all.pool_total_size
    assert estimate.sample["pool_total_size"] * scale > 1.1 * pool.value
    again, other = run(memory, sample=8 << 20).report, run(memory, sample=8 << 20, seed=1).report
    assert again.figures[0].all == estimate.all
    assert other.figures[0].all.compressed_bytes != estimate.all.compressed_bytes


# ---- the amount ----


def test_reading_ends_once_it_is_as_precise_as_asked_for(tmp_path: Path) -> None:
    memory = write(tmp_path / "memory", *(corpus(1) + corpus(2) + corpus(3)))
    read = []
    for precision in (0.2, 0.03, 0.0001):
        with open_pages([memory], precision=precision) as pages:
            report = measure.measure(pages, ("lzo", "zstd"), jobs=1, precision=precision).report
        read.append(report.sample.pages)
        assert report.complete
        assert (report.pages_total, report.sample.precision) == (6000, precision)
        saved = report.figures[0].all.net_saved_bytes
        assert saved.error <= precision * saved.value
    assert 512 <= read[0] < read[1] < read[2] == 6000
    assert (report.sample.ended, saved.exact) == ("all", True)


def test_each_part_is_as_precise_by_itself(tmp_path: Path) -> None:
    """Pages that are all alike need few runs, others many."""
    alike = write(tmp_path / "alike", *[b"%08d" % i * (P // 8) for i in range(4000)])
    mixed = write(tmp_path / "mixed", *(corpus(1) + corpus(2)))
    with open_pages([alike, mixed], precision=0.04, by="process") as pages:
        report = measure.measure(pages, ("lz4",), jobs=1, precision=0.04).report
    assert report.sample.ended == "precision"
    (first, second) = (cell["pages"] for cell in report.sample.cells)
    assert 512 <= first < second
    for group in report.groups:
        saved = group.savings["lz4"].all.net_saved_bytes
        assert saved.error <= 0.04 * saved.value
    assert [group.pages for group in report.groups] == [4000, 4000]


def test_noise_is_read_to_the_limit_as_nothing_of_it_is_saved(tmp_path: Path) -> None:
    memory = write(tmp_path / "noise", os.urandom(3000 * P))
    with open_pages([memory], precision=0.05) as pages:
        report = measure.measure(pages, ("lz4",), jobs=1, precision=0.05).report
    assert report.sample.pages == 3000


class Ticking(Stopwatch):
    """Each look at it takes a second."""

    ticks = 0.0

    def cpu_seconds(self) -> float:
        self.ticks += 1
        return self.ticks


def test_a_budget_ends_the_reading_with_what_was_read_in_whole_rounds(tmp_path: Path) -> None:
    memory = write(tmp_path / "memory", *(corpus(1) * 6))
    with open_pages([memory], precision=0.0001) as pages:
        result = measure.measure(pages, ("lz4",), jobs=1, budget=4, watch=Ticking())
    report = result.report
    assert isinstance(result.stopped, BudgetSpent)
    assert "the budget of 4 CPU seconds is spent: a larger --budget" in str(result.stopped)
    assert (report.complete, report.sample.ended, report.pages_total) == (True, "budget", 12000)
    assert 1000 <= report.sample.pages <= 2048
    truth = run(memory).report.figures[0].sample["net_saved_bytes"]
    saved = report.figures[0].all.net_saved_bytes
    assert saved.low < truth < saved.high
    assert not saved.exact


def test_a_budget_without_a_whole_round_is_not_complete(tmp_path: Path) -> None:
    memory = write(tmp_path / "memory", *(corpus(1) * 6))
    with open_pages([memory]) as pages:
        result = measure.measure(pages, ("lz4",), jobs=1, budget=3, watch=Ticking())
    assert str(result.stopped) == (
        "the budget of 3 CPU seconds is spent before a random sample was read, and the figures "
        "cover no more than the pages read: give a larger --budget, or fewer compressors with -c"
    )
    report = result.report
    assert (report.complete, report.sample.ended, report.sample.pages) == (False, "budget", 4096)
    f = report.figures[0]
    assert f.all.stored_pages == Estimate.exactly(stored(f))


def test_a_budget_that_is_enough_changes_nothing(memory: Path) -> None:
    with open_pages([memory]) as pages:
        result = measure.measure(pages, ("lz4",), jobs=1, budget=4, watch=Ticking())
    assert (result.stopped, result.report.sample.ended) == (None, "all")


@pytest.mark.parametrize(
    "wrong", [{"precision": 0}, {"precision": 1}, {"budget": 0}, {"budget": -1}]
)
def test_amounts_that_cannot_be(memory: Path, wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} is .*: give more than 0"):
        run(memory, **wrong)


def test_the_cost(memory: Path) -> None:
    watch = Stopwatch()
    report = run(memory, watch=watch, jobs=2).report
    cost = report.cost
    assert (cost.bytes_read, cost.threads, cost.policy) == (2000 * P, 2, "other")
    assert 0 < cost.cpu_seconds <= watch.cpu_seconds()
    assert 0 < cost.wall_seconds < 60
    assert 8 << 20 < cost.peak_memory < 4 << 30


@pytest.fixture
def policies() -> Iterator[set[int]]:
    """The policies of the threads that store with the compressor "noting"."""
    found: set[int] = set()

    def packed(page: Any, room: int) -> bytes:
        found.add(os.sched_getscheduler(0))
        return bytes(page[:64])

    crypto.register_compressor("noting", packed, lambda packed, room: bytes(packed) * 64)
    yield found
    crypto.unregister_compressor("noting")


@pytest.mark.parametrize("jobs", [None, 2])
def test_idle_threads_measure_and_the_caller_stays_as_it_is(
    tmp_path: Path, policies: set[int], jobs: int | None
) -> None:
    memory = write(tmp_path / "memory", *[bytes([i]) * P for i in range(1, 200)])
    before = os.sched_getscheduler(0)
    report = run(memory, "noting", idle=True, jobs=jobs).report
    assert policies == {os.SCHED_IDLE}
    assert (report.cost.policy, report.cost.threads) == ("idle", jobs or 1)
    policies.clear()
    run(memory, "noting", jobs=jobs)
    assert policies == {before} == {os.sched_getscheduler(0)}


def test_ctrl_c_stops_the_thread_that_measures(tmp_path: Path) -> None:
    """A signal comes to the main thread."""
    memory = write(tmp_path / "memory", *corpus(1) * 6)
    seen: list[float] = []

    def interrupt(done: float) -> None:
        if not seen:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        seen.append(done)

    result = run(memory, "lzo", "lz4", idle=True, progress=interrupt)
    assert isinstance(result.stopped, KeyboardInterrupt)
    assert len(seen) == 1
    assert result.report.sample.pages == 0
    assert not [t for t in threading.enumerate() if t.name.startswith("zswap-report")]


# ---- cold pages ----

# 512 pages of text, then 256 of noise and 256 of zeros, in one mapping
HALF_COLD = f"""
import ctypes, mmap, sys
m = mmap.mmap(-1, 1024 * {P}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
m.madvise(mmap.MADV_NOHUGEPAGE)
m[:] = sys.stdin.buffer.read(1024 * {P})
print(ctypes.addressof(ctypes.c_char.from_buffer(m)), flush=True)
sys.stdin.read()
"""


def test_cold_pages_are_a_pool_of_their_own(tmp_path: Path) -> None:
    text = b"".join(page for page in corpus(1) if any(page))[: 512 * P]
    hot = os.urandom(256 * P) + bytes(256 * P)
    alone = only(run(write(tmp_path / "cold", text), "zstd", "lz4").report, "lz4")
    with subprocess.Popen(
        [sys.executable, "-c", HALF_COLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(text + hot)
        child.stdin.flush()
        start = int(child.stdout.readline())
        cold = Cold(
            "damon", 5, {child.pid: Runs(array("Q", [start]), array("Q", [start + 512 * P]))}
        )
        how: Any = {"pids": [child.pid], "cold": cold, "by": "process"}
        with open_pages(full=True, **how) as pages:
            report = measure.measure(pages, ("zstd", "lz4"), jobs=1).report
        with open_pages(precision=0.1, **how) as pages:
            rough = measure.measure(pages, ("zstd", "lz4"), jobs=1, precision=0.1).report
        child.kill()
    f = only(report, "lz4")
    assert (report.cold_pages, report.groups[0].cold_pages) == (512, 512)
    # as if nothing but these pages were there
    assert f.cold == alone.all
    assert f.all.stored_pages.value > 512 + 256
    assert f.all.pool_total_size.value > f.cold.pool_total_size.value + 256 * P
    assert {size: n[1] for size, n in f.classes.items() if n[1]} == {
        size: n for size, (n,) in alone.classes.items()
    }
    # the one part's: its part of the pool is the pool
    (group,) = report.groups
    savings = group.savings["lz4"]
    assert savings.cold is not None
    for part, whole in ((savings.all, f.all), (savings.cold, f.cold)):
        for name in vars(whole):
            assert getattr(part, name).value == pytest.approx(getattr(whole, name).value, abs=1)
    # a sample stops when both are known well
    assert rough.cold_pages == 512
    for g in rough.figures:
        assert g.cold is not None
    best = rough.figures[0]
    for savings_of in (best.all, best.cold):
        assert savings_of is not None
        assert savings_of.net_saved_bytes.error <= 0.1 * savings_of.net_saved_bytes.value


# ---- what goes wrong ----


@pytest.fixture
def liar() -> Iterator[str]:
    """A compressor that gives another page back."""
    crypto.register_compressor(
        "liar", lambda page, room: bytes(page[:64]), lambda packed, room: bytes(packed) * 64
    )
    yield "liar"
    crypto.unregister_compressor("liar")


def test_a_page_that_comes_back_different_is_seen(memory: Path, liar: str) -> None:
    report = run(memory, "lz4", liar).report
    assert [f.intact for f in sorted(report.figures, key=lambda f: f.name)] == [False, True]


@pytest.mark.parametrize("fault", ["lost", "corrupt"])
def test_a_page_that_is_lost_or_corrupt_is_seen(
    memory: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    store = measure._Meter._store

    def faulty(self: measure._Meter, span: Any, cpu: int) -> list[float]:
        ns = store(self, span, cpu)
        if self.compressor.name == "deflate" and fault == "lost":
            self.zswap.invalidate(span.swp)
        elif self.compressor.name == "deflate":
            assert lib.zswap_flip(self.zswap._z, cpu, span.swp, 0, 0xFF) == 0
        return ns

    monkeypatch.setattr(measure._Meter, "_store", faulty)
    report = run(memory, "lz4", "deflate").report
    assert {f.name: f.intact for f in report.figures} == {"lz4": True, "deflate": False}


def test_what_cannot_be_had_is_listed_and_the_others_are_measured(memory: Path) -> None:
    report = run(memory, "842", "lz4").report
    gone, there = report.compressors
    assert isinstance(gone, Unavailable)
    assert gone.name == "842"
    assert gone.unavailable.startswith("no library has sw842")
    assert isinstance(there, Figures)
    assert stored(there) == 1948
    with pytest.raises(SourceError, match="compressor 842 is not available: no library has sw842"):
        run(memory, "842")


def test_a_compressor_is_measured_once(memory: Path) -> None:
    assert only(run(memory, "lz4", "lz4")).name == "lz4"


def test_ctrl_c_finds_all_compressors_at_the_same_page(tmp_path: Path) -> None:
    memory = write(tmp_path / "memory", *corpus(1) * 6)  # three pieces, the last one shorter

    def interrupt(done: float) -> None:
        if done > 24 << 20:  # the second piece, when the first compressor of two has done it
            raise KeyboardInterrupt

    result = run(memory, "lzo", "lz4", progress=interrupt)
    assert isinstance(result.stopped, KeyboardInterrupt)
    report = result.report
    assert (report.complete, report.sample.pages, report.pages_total) == (False, 4096, 12000)
    assert report.sample.ended == "interrupted"
    for f in report.figures:
        assert report.sample.zero_pages + stored(f) == 4096
        assert f.all.stored_pages == Estimate.exactly(stored(f))
        assert f.intact
    # the figures of the first piece alone
    first = run(write(tmp_path / "first", *(corpus(1) * 6)[:4096]), "lzo", "lz4").report
    assert [f.sample for f in report.figures] == [f.sample for f in first.figures]


def test_progress_is_bytes_and_ends_at_all(memory: Path) -> None:
    seen: list[float] = []
    run(memory, "lz4", "lzo", progress=seen.append)
    assert seen == [1000 * P, 2000 * P]


# ---- memory ----


@pytest.mark.parametrize("jobs", [0, -1, 8193, 30000, 10**20])
def test_jobs_have_a_bound_that_is_looked_at_first(
    memory: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    monkeypatch.setattr(measure, "_Measuring", None)  # nothing is made
    with pytest.raises(ValueError, match=rf"jobs={jobs}: must be 1 to 8192"):
        run(memory, jobs=jobs)


def test_more_jobs_than_runs_take_no_room(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Noted(measure._Meter):
        def __init__(self, *args: Any, jobs: int, **how: Any) -> None:
            made.append(jobs)
            super().__init__(*args, jobs=jobs, **how)

    monkeypatch.setattr(measure, "_Meter", Noted)
    assert stored(only(run(memory, jobs=8192))) == 1948
    only(run(memory, jobs=8192, folio_pages=512))
    assert made == [64, 8]


def test_refusal_comes_before_anything_is_made(
    memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "mem_available", lambda: 96 << 20)
    monkeypatch.setattr(measure, "_Meter", None)
    with pytest.raises(MemoryLimit, match=r"more than 24\.0 MiB"):
        run(memory, "lz4", "lzo")


def test_refusal_has_the_figure_and_the_remedy(
    memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "mem_available", lambda: 96 << 20)
    said = (
        r"would take 3\d\.\d MiB, more than 24.0 MiB, a quarter of .*: read less with --sample "
        r"SIZE, or compare"
    )
    with pytest.raises(MemoryLimit, match=said):
        run(memory, "lz4", "lzo")  # 16 MiB of a piece, two pools of 8 MiB at worst
    monkeypatch.setattr(measure, "mem_available", lambda: 160 << 20)
    assert stored(only(run(memory))) == 1948


def test_refusal_by_what_the_first_piece_came_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = write(tmp_path / "memory", os.urandom(48 << 20))
    # 16 of a piece, 48 of noise and its metadata
    monkeypatch.setattr(measure, "mem_available", lambda: 4 * (60 << 20))
    seen: list[float] = []
    with pytest.raises(MemoryLimit, match=r"would take 6\d\.\d MiB, more than 60.0 MiB"):
        run(memory, progress=seen.append)
    assert seen == [16 << 20]


def test_where_much_is_measured_it_stops_and_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = write(tmp_path / "memory", bytes(16 << 20), os.urandom(48 << 20))
    monkeypatch.setattr(measure, "mem_available", lambda: 4 * (40 << 20))
    monkeypatch.setattr(measure, "WORTH_REPORTING", 32 << 20)
    result = run(memory)
    assert isinstance(result.stopped, MemoryLimit)
    sample = result.report.sample
    assert (result.report.complete, sample.ended) == (False, "memory")
    assert (sample.pages, sample.zero_pages) == (8192, 4096)


def test_memory_that_is_available() -> None:
    assert 1 << 20 < measure.mem_available() < os.sysconf("SC_PHYS_PAGES") * P


# ---- the C functions ----


def span(pages: bytes, folio_pages: int = 1, run_pages: int = 4) -> Any:
    made = ffi.new("struct zswap_span *")
    buffer = ffi.new("uint8_t[]", pages)
    made.pages, made.nr_pages, made.page_size = buffer, len(pages) // P, P
    made.folio_pages, made.run_pages = folio_pages, run_pages
    return made, buffer


@pytest.mark.parametrize(("folio_pages", "run_pages"), [(0, 4), (1, 0), (3, 4), (1, 513)])
def test_spans_that_cannot_be(folio_pages: int, run_pages: int) -> None:
    made, _keep = span(bytes(P), folio_pages, run_pages)
    runs, wrong = ffi.new("struct zswap_run[1]"), ffi.new("uint64_t *")
    with Zswap("lz4") as z:
        assert lib.zswap_drop_zero_folios(made) == -errno.EINVAL
        assert lib.zswap_store_runs(z._z, 0, made, runs) == -errno.EINVAL
        assert lib.zswap_peek_runs(z._z, 0, made, ffi.NULL, runs, wrong) == -errno.EINVAL


def test_runs_count_their_pages_and_zswaps_errors_come_through() -> None:
    words = [b"%04d" % i * (P // 4) for i in range(10)]
    made, _keep = span(b"".join(words), folio_pages=2)
    runs, out, wrong = (
        ffi.new("struct zswap_run[3]"),
        ffi.new("uint8_t[]", 4 * P),
        ffi.new("uint64_t *"),
    )
    with Zswap("lz4", nr_cpus=1) as z:
        assert lib.zswap_store_runs(z._z, 0, made, runs) == -errno.EBADSLT
        z.swapon(pages=10)
        assert lib.zswap_store_runs(z._z, 1, made, runs) == -errno.EINVAL
        assert lib.zswap_store_runs(z._z, 0, made, runs) == 0
        assert [r.pages for r in runs] == [4, 4, 2]
        assert all(r.ns > 0 for r in runs)
        z.invalidate(5, 2)
        made.pages[9 * P + 7] ^= 1
        assert lib.zswap_peek_runs(z._z, 0, made, out, runs, wrong) == 0
        assert ([r.pages for r in runs], wrong[0]) == ([4, 2, 2], 1)
        assert lib.zswap_peek_runs(z._z, 1, made, out, runs, wrong) == -errno.EINVAL
        assert z.stats()["stored_pages"] == 8


def test_zero_folios_are_dropped_in_order() -> None:
    a, b, c = (bytes([i]) + bytes(P - 1) for i in (1, 2, 3))
    zero = bytes(P)
    made, keep = span(zero + zero + a + zero + zero + zero + zero + b + c, folio_pages=2)
    assert lib.zswap_drop_zero_folios(made) == 0
    assert made.nr_pages == 5
    assert bytes(ffi.buffer(keep, 5 * P)) == a + zero + zero + b + c


def clusters_of(made: Any, pages: list[int]) -> Any:
    """Gives a span clusters of so many pages, of one cell each."""
    clusters = ffi.new("struct zswap_cluster[]", len(pages))
    for i, n in enumerate(pages):
        clusters[i].number, clusters[i].cell, clusters[i].row = 10 + i, i % 2, i
        clusters[i].pages = n
    made.clusters, made.nr_clusters = clusters, len(pages)
    return clusters


def test_zero_folios_leave_their_clusters() -> None:
    a, b, c = (bytes([i]) + bytes(P - 1) for i in (1, 2, 3))
    zero = bytes(P)
    made, _keep = span(zero + zero + a + zero + zero + zero + zero + b + c, folio_pages=2)
    # the second folio lies in two clusters; the fourth cluster is empty as it is
    clusters = clusters_of(made, [3, 2, 2, 0, 2])
    assert lib.zswap_drop_zero_folios(made) == 0
    assert [cluster.pages for cluster in clusters] == [1, 1, 1, 0, 2]
    assert sum(cluster.pages for cluster in clusters) == made.nr_pages


def tallies(z: Zswap, cells: int, rows: int) -> Tally:
    table = Rows(cells, 0)
    assert table.size >= rows
    return Tally(z.pool.size_classes, P, table)


def test_tallies_are_what_the_zswap_holds() -> None:
    """By row and by class, refused pages and raw ones among them."""
    pages = [*[page for page in corpus(1) if any(page)][:300], os.urandom(P), os.urandom(P)]
    made, _keep = span(b"".join(pages))
    sizes = [100, 0, 7, 90, len(pages) - 197]
    _kept = clusters_of(made, sizes)
    with Zswap("lz4", nr_cpus=1) as z:
        z.swapon(len(pages))
        tally = tallies(z, 2, len(sizes))
        runs = ffi.new("struct zswap_run[]", -(-len(pages) // 4))
        assert lib.zswap_store_runs(z._z, 0, made, runs) == 0
        z.invalidate(3)
        tally.add(lib.zswap_tally_span, z._z, made)
        held = tally.held(tally.mark(), page_metadata=0.0, zspage_metadata=0.0)
        at = 0
        for row, n in enumerate(sizes):
            lengths = [z.length(i) for i in range(at, at + n) if i in z]
            stored, raw, nbytes, pool, zspages = held.rows[5 * row : 5 * row + 5]
            assert (stored, raw) == (len(lengths), lengths.count(P))
            assert nbytes == sum(lengths)
            assert pool >= nbytes
            assert (zspages > 0) == (n > 0)
            at += n
        classes = z.pool.size_classes
        objects, clusters = list(held.objects), list(held.clusters)
        n = len(classes)
        by_class = [a + b for a, b in zip(objects[:n], objects[n:], strict=True)]
        assert by_class == [c.objs_inuse for c in classes]
        filled = sum(n / c.objs_per_zspage for n, c in zip(by_class, classes, strict=True))
        assert sum(held.rows[4::5]) == pytest.approx(filled)
        # rows 0, 2 and 4 are of one cell: a class of theirs is in one to three of them
        assert all(
            (n > 0) <= within <= min(n, 3) for n, within in zip(objects, clusters, strict=True)
        )
        assert max(clusters) == 3
        assert lib.zswap_tally_span(z._z, 1, made, tally._c) == -errno.EINVAL
        _kept = clusters_of(made, [len(pages) - 1])
        assert lib.zswap_tally_span(z._z, 0, made, tally._c) == -errno.EINVAL
        made.folio_pages = 0
        assert lib.zswap_tally_span(z._z, 0, made, tally._c) == -errno.EINVAL


def test_a_run_that_goes_on_in_the_next_piece_keeps_its_row() -> None:
    table = Rows(2, 0)
    first = [Run(0, 0, 0, 8), Run(1, 1, 1, 8), Run(0, 0, 2, 3)]
    second = [Run(0, 0, 2, 5), Run(1, 1, 3, 8)]
    rows = [[c.row for c in table.clusters(runs)] for runs in (first, second)]
    assert rows[0][2] == rows[1][0]
    assert len({*rows[0], *rows[1]}) == 4
    for runs in (first, second):
        clusters = table.clusters(runs)
        clusters[0].pages -= 1  # a zero page
        table.add(runs, clusters)


def test_more_runs_than_rows_share_these() -> None:
    table = Rows(1, 5)
    runs = [Run(0, 0, i, 8) for i in range(3 * table.cell_rows)]
    clusters = table.clusters(runs)
    table.add(runs, clusters)
    mark = table.mark()
    assert (mark.used, mark.runs) == ((table.cell_rows,), len(runs))
    assert sum(mark.pages) == 8 * len(runs)
    assert min(mark.pages) == 8
    assert max(mark.pages) > 40
    # a host of many cells takes no more memory than one of few
    assert Rows(1000, 0).size <= 2 * Rows(64, 0).size
