# SPDX-License-Identifier: GPL-2.0-or-later
"""The simulations of bench/batching.py: the published figures, the model fitted to
them, and its predictions.

The model has three constants, all for a page of 4 KiB. `host_ns` (h) is the submitting
CPU's time, one page after the other. `compress_ns` (s) is a device's time for a page
that it has to itself. `transfer_ns` (b) is the least time between two starts of a
device. Every figure comes from pages that zswap really stores, in virtual time.
"""

from __future__ import annotations

import dataclasses
import math
import multiprocessing
import multiprocessing.sharedctypes
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import zswap_py as zs
from zswap_py.clock import VirtualClock
from zswap_py.iaa import IAA, Accelerator, DeviceConfig, Profile, WorkQueueConfig

PAGE = 4096
SIXTY_FOUR_K, TWO_M = 16, 512  # folios, in pages
FOLIO_NAMES = {SIXTY_FOUR_K: "64 KiB", TWO_M: "2 MiB"}
CONSTANTS = ("host_ns", "compress_ns", "transfer_ns")

# v10 2/25: ns a page of a store, p50 and p99; one by one, batches of 8 on one device,
# batches of 8 over four
PUBLISHED_LATENCY = {
    "one by one": (3_503, 3_695),
    "8 on one": (1_356, 1_384),
    "8 over four": (706, 763),
}
# v10 cover, usemem30: KB/s before and after, by pages a folio; 30 processes of 10 GiB
# each
PUBLISHED_USEMEM = {SIXTY_FOUR_K: (6_078_729, 10_465_906), TWO_M: (6_351_981, 10_811_827)}
PUBLISHED_SYS_S = {SIXTY_FOUR_K: (2_361.88, 1_563.67), TWO_M: (2_018.92, 1_555.40)}
SWAP_OUTS = (58.0e6, 64.5e6)  # pages, before and after
PROCESSES = 30
PAGES_TOUCHED = PROCESSES * 10 * (1 << 30) // PAGE
SHARE, SHARE_AFTER = (outs / PAGES_TOUCHED for outs in SWAP_OUTS)
MAINLINE_NS = 136 + 32  # v10's logs: p50 that percpu_ref and a direct movdir64b save, a job

Figures = dict[str, float]


# ---- the closed form ----


def solve(one_by_one: float, on_one: float, over_four: float) -> tuple[float, float, float]:
    """Returns h, s, b in ns, so that h + s, (h + 7b + s) / 8 and (8h + s) / 8 are the
    three latencies, ns a page.

    Raises ValueError unless the solution has the order that these equations assume: on
    one device pages wait for the device (h <= b), over four for the CPU (b <= 4h).
    """
    h = (8 * over_four - one_by_one) / 7
    b = (8 * on_one - one_by_one) / 7
    s = one_by_one - h
    if not 0 < h <= b <= 4 * h or s <= 0:
        raise ValueError(
            f"h={h:.1f}, s={s:.1f}, b={b:.1f}: these latencies are not a pipeline's; "
            "0 < h <= b <= 4h"
        )
    return h, s, b


def closed_form(profile: Profile, batch: int, devices: int) -> float:
    """Returns the ns a page of one CPU that stores in batches of `batch` pages over
    `devices` devices in turn. Each batch begins on idle devices.
    """
    h, s, b = profile.host_ns, profile.compress_ns, profile.transfer_ns
    free, done = [0] * devices, 0
    for i in range(batch):
        start = max((i + 1) * h, free[i % devices])
        free[i % devices] = start + b
        done = max(done, start + s)
    return done / batch


# ---- a run ----


@dataclass(frozen=True)
class Run:
    """CPUs that store folios, all at once, each CPU its own folios.

    `driver` is "mainline" (one page at a time, one device a CPU) or "v10". `cpus` are
    some of `nr_cpus`. Each CPU touches `folios` folios of `folio` pages, spends
    `outside_ns` a page outside zswap, and stores the share `share` of them. It begins
    `apart_ns` after the CPU before it.
    """

    driver: str
    devices: int
    cpus: tuple[int, ...]
    folio: int
    folios: int
    batch: int = 8
    distribute: bool = True
    packages: int = 1
    nr_cpus: int = 0  # 0: len(cpus)
    entries: int = 128  # of each device's queue
    kernel: str = "6.18"
    compressible: bool = False  # only pages that compress
    outside_ns: float = 0
    share: float = 1
    apart_ns: int = 0
    profile: Profile = IAA

    def accelerator(self, clock: VirtualClock) -> Accelerator:
        """Returns the devices and the driver, with verify_compress off as in the
        published runs.
        """
        nr = self.nr_cpus or len(self.cpus)
        config = DeviceConfig(wqs=(WorkQueueConfig(size=self.entries),))
        mainline = self.driver == "mainline"
        return Accelerator(
            [config] * self.devices,
            nr_cpus=nr,
            nr_packages=self.packages,
            nr_nodes=self.packages,
            clock=clock,
            series=None if mainline else "v10",
            batch_size=1 if mainline else self.batch,
            verify_compress=False,
            distribute_comps=mainline or self.distribute,
            profile=self.profile,
        )

    def figures(self) -> Figures:
        """Simulate the run. Raises RuntimeError if the counters do not add up, a page
        comes back wrong, or an actor lost its turn.
        """
        clock = VirtualClock()
        series = None if self.driver == "mainline" else "v10"
        nr = self.nr_cpus or len(self.cpus)
        with (
            self.accelerator(clock) as acc,
            zs.Zswap(
                "deflate-iaa",
                nr_cpus=nr,
                nr_nodes=self.packages,
                series=series,
                kernel=self.kernel,
                max_pool_percent=100,
                total_ram=1 << 40,
            ) as z,
        ):
            z.swapon(len(self.cpus) * self.folios * self.folio)
            actors = [_Cpu(self, i, z, clock) for i in range(len(self.cpus))]
            clock.run([actor.work for actor in actors])
            ns = clock.now
            stats, calls = z.stats(), acc.stats()["total_comp_calls"]
            figures = self._figures(actors, ns, stats, calls)
            for actor in actors:
                actor.check_last_page()
            if clock.stalls:
                raise RuntimeError(
                    f"{self}: {clock.stalls} actors lost their turn, so the times "
                    "are wrong; run it again"
                )
        return figures

    def _figures(
        self, actors: Sequence[_Cpu], ns: int, stats: dict[str, int], calls: int
    ) -> Figures:
        latencies = sorted(latency for actor in actors for latency in actor.latencies)
        stored = sum(len(actor.stored) for actor in actors) * self.folio
        if stats["stored_pages"] != stored or not latencies:
            raise RuntimeError(
                f"{self}: {stored} pages were stored, but stored_pages is {stats['stored_pages']}"
            )
        figures = {
            "stores": float(len(latencies)),
            "p50_ns": percentile(latencies, 0.5) / self.folio,
            "p99_ns": percentile(latencies, 0.99) / self.folio,
            "gb_s": stored * PAGE / ns,
            "refused": 1 - stored / (len(latencies) * self.folio),
            "reject_compress_fail": float(stats["reject_compress_fail"]),
            "stored_pages": float(stored),
            "stored_incompressible_pages": float(stats["stored_incompressible_pages"]),
            "pool_total_size": float(stats["pool_total_size"]),
            "total_comp_calls": float(calls),
            "touched_kb_s": sum(
                self.folios * self.folio * (PAGE / 1024) * 1e9 / a.ns for a in actors
            ),
        }
        if self.kernel == "6.16" and self.compressible:  # then nothing else can fail
            figures["no_descriptor"] = stats["reject_compress_fail"] / (
                stats["reject_compress_fail"] + calls
            )
        return figures


class _Cpu:
    """One of a run's CPUs at work."""

    def __init__(self, run: Run, i: int, z: zs.Zswap, clock: VirtualClock) -> None:
        self.run, self.i, self.z, self.clock = run, i, z, clock
        self.pages = _compressible if run.compressible else _pages
        self.latencies: list[int] = []
        self.stored: list[int] = []  # numbers of folios
        self.ns = 0

    def folio(self, k: int) -> memoryview:
        """Returns the CPU's k-th folio. CPUs share the pages, from the start again
        where these are too few.
        """
        nr = len(self.pages) // PAGE // self.run.folio
        at = (self.i * self.run.folios + k) % nr * self.run.folio * PAGE
        return self.pages[at : at + self.run.folio * PAGE]

    def slot(self, k: int) -> int:
        return (self.i * self.run.folios + k) * self.run.folio

    def work(self) -> None:
        """The CPU's part of the run. CPUs that spend time outside zswap are out of step
        with each other.
        """
        run, clock = self.run, self.clock
        outside = round(run.outside_ns * run.folio)
        step = self.i / len(run.cpus)
        owed = step  # folios to be stored
        clock.sleep(self.i * run.apart_ns + round(step * outside))
        begin = clock.now
        for k in range(run.folios):
            if outside:
                clock.sleep(outside)
            owed += run.share
            if owed < 1:
                continue
            owed -= 1
            t = clock.now
            if self.z.store(self.slot(k), self.folio(k), cpu=run.cpus[self.i]):
                self.stored.append(k)
            self.latencies.append(clock.now - t)
        self.ns = clock.now - begin

    def check_last_page(self) -> None:
        """Load the last page of the last folio. Raises RuntimeError if it is wrong."""
        page = bytearray(PAGE)
        for k in self.stored[-1:]:
            loaded = self.z.load(self.slot(k) + self.run.folio - 1, page, cpu=self.run.cpus[self.i])
            if not loaded or page != self.folio(k)[-PAGE:]:
                raise RuntimeError(
                    f"{self.run}: a page was lost, of CPU {self.run.cpus[self.i]}, folio {k}"
                )


def percentile(ordered: Sequence[int], share: float) -> int:
    """Returns the least number that `share` of the ascending numbers do not exceed."""
    return ordered[math.ceil(len(ordered) * share) - 1]


# ---- usemem30 ----


def fit_outside(
    simulated: Callable[[float], float], target: float, guess: float
) -> tuple[float, int]:
    """Returns the ns a page outside zswap at which `simulated` gives the published
    KB/s, to 0.01%, and the number of tries.

    A page's time has a part outside zswap and a part inside, which depends but little
    on the first. Raises RuntimeError after 20 tries, and ValueError if the stores alone
    take longer than the target.
    """
    outside = guess
    for tries in range(1, 21):
        if outside <= 0:
            raise ValueError(f"{target:,.0f} KB/s cannot be reached: the stores alone take longer")
        got = simulated(outside)
        if abs(got / target - 1) < 1e-4:
            return outside, tries
        outside += page_ns(target) - page_ns(got)
    raise RuntimeError(
        f"{target:,.0f} KB/s is not reached: {got:,.0f} with {outside:.0f} ns a page outside zswap"
    )


def page_ns(kb_s: float) -> float:
    """Returns the ns that one process takes for a page, if all processes together touch
    `kb_s` KB/s.
    """
    return PROCESSES * (PAGE / 1024) * 1e9 / kb_s


@dataclass(frozen=True)
class Usemem:
    """30 processes that touch memory, of which a share goes through zswap; 2 packages
    of 56 cores, 4 devices each.

    The time outside zswap is fitted to `before` KB/s with mainline's driver; after,
    with v10's, is predicted.
    """

    folio: int
    folios: int
    before: float
    share: float = SHARE
    share_after: float | None = None  # None: the same
    mainline_ns: int = 0  # mainline's driver, a page, more than the profile's host_ns
    profile: Profile = IAA

    def run(self, driver: str, outside_ns: float) -> Run:
        """Returns the run with one of the drivers."""
        before = driver == "mainline"
        share = self.share if before or self.share_after is None else self.share_after
        profile = self.profile.replace(host_ns=self.profile.host_ns + before * self.mainline_ns)
        cpus = tuple(i * 112 // PROCESSES for i in range(PROCESSES))
        return Run(
            driver,
            8,
            cpus,
            self.folio,
            self.folios,
            packages=2,
            nr_cpus=112,
            outside_ns=outside_ns,
            share=share,
            profile=profile,
        )

    def figures(self) -> Figures:
        """Fit, then predict."""
        fitted: Figures = {}

        def simulated(outside_ns: float) -> float:
            fitted.update(self.run("mainline", outside_ns).figures())
            return fitted["touched_kb_s"]

        guess = page_ns(self.before) - self.share * closed_form(self.profile, 1, 1)
        outside, tries = fit_outside(simulated, self.before, guess)
        after = self.run("v10", outside).figures()
        return {
            "outside_ns": outside,
            "tries": float(tries),
            "before_kb_s": fitted["touched_kb_s"],
            "after_kb_s": after["touched_kb_s"],
            "gain": after["touched_kb_s"] / fitted["touched_kb_s"] - 1,
            "before_p50_ns": fitted["p50_ns"],
            "after_p50_ns": after["p50_ns"],
        }


def explain(folio: int, model: Figures, share: float) -> Figures:
    """Returns the part of the published gain that the prediction explains. Times are
    for a page touched, unless the name says otherwise.
    """
    before, after = PUBLISHED_USEMEM[folio]
    published = page_ns(before) - page_ns(after)
    explained = page_ns(model["before_kb_s"]) - page_ns(model["after_kb_s"])
    sys_before, sys_after = (
        sys_s * 1e9 / outs for sys_s, outs in zip(PUBLISHED_SYS_S[folio], SWAP_OUTS, strict=True)
    )
    return {
        "published_gain": after / before - 1,
        "published_saved_ns": published,
        "saved_ns": explained,
        "explained": explained / published,
        # the store latency before, at which the same model would give the published
        # gain
        "needed_before_ns": model["after_p50_ns"] + published / share,
        # stores that take no time at all
        "most_gain": page_ns(model["before_kb_s"]) / model["outside_ns"] - 1,
        "sys_ns_a_swap_out_before": sys_before,
        "sys_ns_a_swap_out_after": sys_after,
    }


# other assumptions for the same prediction
USEMEM_VARIANTS: dict[str, dict[str, Any]] = {
    "after, with its own swap-outs": {"share_after": SHARE_AFTER},
    "after, where mainline's driver was slower": {"mainline_ns": MAINLINE_NS},
}


# ---- sensitivity ----

Spec = Run | Usemem


def elasticity(
    base: float, low: float, high: float, x: float, x_low: float, x_high: float
) -> float | None:
    """Returns the % by which the result changes for each % of the constant, between two
    runs around it; None if the result is 0.
    """
    return (high - low) / base / ((x_high - x_low) / x) if base else None


def perturbed(spec: Spec) -> dict[str, tuple[float, tuple[Spec, float], tuple[Spec, float]]]:
    """Returns for each constant its value, and the specs in which it is 10% lower and
    10% higher, each with that value.
    """
    result: dict[str, tuple[float, tuple[Spec, float], tuple[Spec, float]]] = {}
    for name in CONSTANTS:
        value = getattr(spec.profile, name)
        low, high = round(0.9 * value), round(1.1 * value)
        profiles = [spec.profile.replace(**{name: v}) for v in (low, high)]
        lower, higher = (dataclasses.replace(spec, profile=profile) for profile in profiles)
        result[name] = value, (lower, low), (higher, high)
    if isinstance(spec, Usemem):
        low_share, high_share = 0.9 * spec.share, 1.1 * spec.share
        result["share"] = (
            spec.share,
            (dataclasses.replace(spec, share=low_share), low_share),
            (dataclasses.replace(spec, share=high_share), high_share),
        )
    return result


def elasticities(spec: Spec, results: dict[Spec, Figures]) -> dict[str, dict[str, float | None]]:
    """Returns the elasticities by figure, then by constant."""
    base = results[spec]
    around = perturbed(spec)
    return {
        figure: {
            name: elasticity(
                base[figure], results[low][figure], results[high][figure], x, x_low, x_high
            )
            for name, (x, (low, x_low), (high, x_high)) in around.items()
        }
        for figure in base
    }


def most_sensitive(by_constant: dict[str, float | None]) -> str | None:
    """Returns the constant with the largest elasticity, up or down; None if no constant
    changes the figure.
    """
    known = {name: abs(e) for name, e in by_constant.items() if e is not None and abs(e) > 1e-9}
    return max(known, key=lambda name: known[name]) if known else None


# ---- many runs ----

_pages = _compressible = memoryview(b"")


def use_pages(pages: bytes | bytearray) -> None:
    """Set the pages that all runs of this process store. Raises ValueError if less than
    a folio of 2 MiB of them compress.
    """
    global _pages, _compressible  # too large for each Run
    view = memoryview(bytes(pages))
    good = bytearray()
    with Accelerator(nr_cpus=1, clock=VirtualClock(), bind=False) as acc:
        software = acc.software.spec
    with zs.Zswap(software, incompressible="reject", nr_cpus=1, max_pool_percent=100) as z:
        z.swapon(1)
        for at in range(0, len(view) - PAGE + 1, PAGE):
            if z.store(0, view[at : at + PAGE]):
                good += view[at : at + PAGE]
    if len(good) < TWO_M * PAGE:
        raise ValueError(
            f"{len(good) // PAGE} of {len(view) // PAGE} pages compress: give a file with "
            f"at least {TWO_M} that do"
        )
    _pages, _compressible = view, memoryview(bytes(good))


def _figures(spec: Spec) -> Figures:
    return spec.figures()


def _stay_on_a_cpu(counter: multiprocessing.sharedctypes.Synchronized[int]) -> None:
    """Pin the process to a core: actors take turns, which is much cheaper there."""
    with counter.get_lock():
        i, counter.value = counter.value, counter.value + 1
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[i % len(cpus)]})


def simulate_all(specs: Iterable[Spec]) -> dict[Spec, Figures]:
    """Returns the figures of each spec, computed by a process for each core. The
    processes are forked, so that they have the pages.
    """
    todo = list(dict.fromkeys(specs))
    context = multiprocessing.get_context("fork")
    counter = context.Value("i", 0)
    workers = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(
        workers, context, initializer=_stay_on_a_cpu, initargs=(counter,)
    ) as pool:
        return dict(zip(todo, pool.map(_figures, todo), strict=True))
