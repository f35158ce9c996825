# SPDX-License-Identifier: GPL-2.0-or-later
"""Batching on an accelerator, in virtual time: a model fitted to published latencies,
and its predictions.

    python bench/batching.py [--file F] [--json OUT] [--plot OUT.svg ...] [--quick]

Zswap really stores the pages. Time is a virtual clock's, calibrated to the batching
series' measurements on a Sapphire Rapids server. Each figure is marked as published,
fit, predicted, or measured (the software compressors, here and in real time). The exit
status is 1 if the simulator is 2% or more off the latencies that it was fitted to.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import batching_model as model
import batching_report as report
import harness
from batching_model import FOLIO_NAMES, PAGE, SIXTY_FOUR_K, TWO_M, Figures, Run, Spec, Usemem

import zswap_py as zs
from zswap_py.clock import VirtualClock
from zswap_py.iaa import IAA

CPUS = 56
SOFTWARE = ("lz4", "zstd", "deflate")
MODES: dict[str, dict[str, Any]] = {
    "1, mainline": {"driver": "mainline"},
    "1, v10": {"driver": "v10", "batch": 1},
    "8, own device": {"driver": "v10", "distribute": False},
    "8, over four": {"driver": "v10"},
}
SWEPT = ("1, mainline", "8, own device", "8, over four")
APART_NS = 306  # between two CPUs' starts, so that no two begin in the same instant
MOST_OFF = 0.02

Results = dict[Spec, Figures]
Rows = list[dict[str, Any]]


# ---- the runs ----


def fit_specs() -> dict[str, Run]:
    """The three published measurements: one CPU, folios of 64 KiB."""
    common: dict[str, Any] = {"cpus": (0,), "folio": SIXTY_FOUR_K, "folios": 16}
    return {
        "one by one": Run("mainline", 1, **common),
        "8 on one": Run("v10", 4, distribute=False, **common),
        "8 over four": Run("v10", 4, **common),
    }


def grid_specs() -> list[Run]:
    """One CPU; all devices, even eight, are of its package."""
    return [
        Run("v10", devices, (0,), folio, max(256 // folio, 1), batch=batch)
        for folio in FOLIO_NAMES
        for batch in (1, 2, 4, 8)
        for devices in (1, 2, 4, 8)
    ]


def cpus_specs(quick: bool) -> list[tuple[str, Run]]:
    """56 CPUs of a package with 4 devices; or 28 CPUs of each of two packages with 4
    devices each.
    """
    return [
        (
            name,
            Run(
                devices=4 * packages,
                cpus=tuple(range(0, CPUS * packages, packages)),
                packages=packages,
                nr_cpus=CPUS * packages,
                folio=folio,
                folios=4 if folio == SIXTY_FOUR_K else 1,
                **how,
            ),
        )
        for folio in ([SIXTY_FOUR_K] if quick else FOLIO_NAMES)
        for packages in (1, 2)
        for name, how in MODES.items()
    ]


def sweep_specs(quick: bool) -> list[tuple[str, Run]]:
    """From one CPU to 56, spread over a package with 4 devices."""
    return [
        (
            name,
            Run(
                devices=4,
                cpus=tuple(i * CPUS // nr for i in range(nr)),
                nr_cpus=CPUS,
                folio=SIXTY_FOUR_K,
                folios=4,
                **MODES[name],
            ),
        )
        for name in SWEPT
        for nr in ((1, 4, 56) if quick else (1, 2, 4, 8, 14, 28, 56))
    ]


def queue_specs(quick: bool) -> list[Run]:
    """Queues that are too small for all CPUs, and full-sized queues of a single device.
    In the last two runs all CPUs begin at once.
    """
    common: dict[str, Any] = {
        "driver": "v10",
        "folio": SIXTY_FOUR_K,
        "folios": 4 if quick else 8,
        "kernel": "6.16",
        "compressible": True,
        "apart_ns": APART_NS,
    }
    four = [
        Run(devices=4, cpus=tuple(range(CPUS)), entries=entries, batch=batch, **common)
        for batch, sizes in {1: (4, 8, 16), 8: (4, 8, 16, 32, 64, 128)}.items()
        for entries in sizes
    ]
    one = [Run(devices=1, cpus=tuple(range(nr)), **common) for nr in (16, 30, 40, CPUS)]
    near = [
        spec
        for spec in four + one
        if (spec.entries, spec.devices) == (64, 4) or len(spec.cpus) == 30
    ]
    return four + one + [dataclasses.replace(spec, apart_ns=0) for spec in near]


def usemem_specs(quick: bool) -> dict[int, Usemem]:
    """By pages a folio."""
    folios = {SIXTY_FOUR_K: 16} if quick else {SIXTY_FOUR_K: 32, TWO_M: 4}
    return {
        folio: Usemem(folio, nr, model.PUBLISHED_USEMEM[folio][0]) for folio, nr in folios.items()
    }


# ---- software, in real time ----


def store_ns(z: zs.Zswap, pages: bytearray, nr: int, folio: int, rounds: int) -> float:
    """Returns the ns of CPU time a page that this thread takes: the mean over pieces of
    2 MiB, each the median of its rounds.
    """
    whole, at = harness.WholeLoop(z), harness.address(pages)
    times: list[list[int]] = [[] for _ in range(0, nr, TWO_M)]
    for _ in range(rounds + 1):
        for i, piece in enumerate(times):
            start = time.thread_time_ns()
            whole.store(at + i * TWO_M * PAGE, i * TWO_M, TWO_M, folio)
            piece.append(time.thread_time_ns() - start)
    # the first round, which faults the pool's memory in, does not count
    return sum(statistics.median(piece[1:]) for piece in times) / nr


def measure_software(pages: bytearray, rounds: int) -> Rows:
    """Returns the ns a page of stores from C on this machine's CPU, and the GB/s of 56
    such CPUs.
    """
    nr = min(len(pages) // PAGE, 2048) // TWO_M * TWO_M
    rows: Rows = []
    for name in SOFTWARE:
        for folio in FOLIO_NAMES:
            with zs.Zswap(name, max_pool_percent=100, nr_cpus=1) as z:
                z.swapon(nr)
                ns = store_ns(z, pages, nr, folio, rounds)
                stats, backend = z.stats(), z.pool.backend
            ratio = stats["stored_pages"] * PAGE / stats["pool_total_size"]
            row = {
                "section": "software",
                "compressor": name,
                "backend": backend,
                "folio_pages": folio,
            }
            rows.append(
                row | {"kind": "measured", "cpus": 1, "figures": {"ns": ns, "ratio": ratio}}
            )
            rows.append(
                row
                | {"kind": "predicted", "cpus": CPUS, "figures": {"gb_s": sleeping_gb_s(ns, folio)}}
            )
    return rows


def sleeping_gb_s(ns: float, folio: int, folios: int = 4) -> float:
    """Returns the GB/s of 56 CPUs in virtual time, each busy for `ns` a page."""
    clock = VirtualClock()

    def work() -> None:
        for _ in range(folios):
            clock.sleep(round(ns * folio))

    clock.run([work] * CPUS)
    return CPUS * folios * folio * PAGE / clock.now


# ---- rows ----


def run_row(section: str, kind: str, spec: Run, results: Results, **more: Any) -> dict[str, Any]:
    """Returns a row of the JSON."""
    mainline = spec.driver == "mainline"
    row: dict[str, Any] = {
        "section": section,
        "kind": kind,
        **more,
        "driver": spec.driver,
        "batch": 1 if mainline else spec.batch,
        "distribute_comps": not mainline and spec.distribute,
        "devices": spec.devices,
        "packages": spec.packages,
        "entries": spec.entries,
        "cpus": len(spec.cpus),
        "folio_pages": spec.folio,
        "kernel": spec.kernel,
        "apart_ns": spec.apart_ns,
        "figures": results[spec],
    }
    return row | (sensitivity(spec, results) if kind == "predicted" else {})


def sensitivity(spec: Spec, results: Results) -> dict[str, Any]:
    """Returns each figure's elasticity to each constant, and the constant that it is
    most sensitive to.
    """
    by_figure = model.elasticities(spec, results)
    most = {figure: model.most_sensitive(by_constant) for figure, by_constant in by_figure.items()}
    return {"elasticity": by_figure, "most_sensitive": most}


def fit_rows(results: Results) -> Rows:
    rows: Rows = [
        {
            "section": "fit",
            "kind": "published",
            "name": name,
            "figures": {"p50_ns": p50, "p99_ns": p99},
        }
        for name, (p50, p99) in model.PUBLISHED_LATENCY.items()
    ]
    h, s, b = model.solve(*(p50 for p50, _ in model.PUBLISHED_LATENCY.values()))
    forms = (h + s, (h + 7 * b + s) / 8, (8 * h + s) / 8)
    for (name, spec), form in zip(fit_specs().items(), forms, strict=True):
        deviation = results[spec]["p50_ns"] / model.PUBLISHED_LATENCY[name][0] - 1
        rows.append(
            run_row(
                "fit", "fit", spec, results, name=name, closed_form_ns=form, deviation=deviation
            )
        )
    return rows


def off(rows: Rows) -> Rows:
    """Returns the fits that miss their published latency by MOST_OFF or more."""
    return [row for row in rows if abs(row.get("deviation", 0)) >= MOST_OFF]


def usemem_rows(specs: dict[int, Usemem], results: Results) -> Rows:
    rows: Rows = []
    for folio, spec in specs.items():
        common = {"section": "usemem30", "folio_pages": folio}
        before, after = model.PUBLISHED_USEMEM[folio]
        figures = results[spec]

        def add(
            kind: str, name: str, values: Figures, common: dict[str, Any] = common, **more: Any
        ) -> None:
            rows.append(common | {"kind": kind, "name": name, "figures": values} | more)

        def some(*names: str, figures: Figures = figures) -> Figures:
            return {name: figures[name] for name in names}

        add("published", "before", {"kb_s": before})
        add("published", "after", {"kb_s": after, "gain": after / before - 1})
        add(
            "fit",
            "before",
            some("outside_ns", "tries", "before_kb_s", "before_p50_ns"),
            share=spec.share,
        )
        add(
            "predicted",
            "after",
            some("after_kb_s", "gain", "after_p50_ns"),
            share=spec.share,
            explained=model.explain(folio, figures, spec.share),
            **sensitivity(spec, results),
        )
        for name, change in model.USEMEM_VARIANTS.items():
            variant = dataclasses.replace(spec, **change)
            add("predicted", name, results[variant], change=change, **sensitivity(variant, results))
    return rows


def simulate(quick: bool) -> tuple[Rows, int]:
    """Returns all rows of virtual time, and the number of their simulations."""
    fit, grid, queues, usemem = fit_specs(), grid_specs(), queue_specs(quick), usemem_specs(quick)
    at_once, sweep = cpus_specs(quick), sweep_specs(quick)
    variants = [
        dataclasses.replace(u, **v) for u in usemem.values() for v in model.USEMEM_VARIANTS.values()
    ]
    # the long ones first, so that no process ends much later than the others
    named = (spec for _, spec in at_once + sweep)
    predicted: list[Spec] = [*usemem.values(), *variants, *named, *queues, *grid]
    around = [
        spec
        for base in predicted
        for _, low, high in model.perturbed(base).values()
        for spec, _ in (low, high)
    ]
    results = model.simulate_all([*predicted, *around, *fit.values()])
    rows = fit_rows(results)
    rows += [run_row("grid", "predicted", spec, results) for spec in grid]
    rows += [run_row("cpus", "predicted", spec, results, name=name) for name, spec in at_once]
    rows += [run_row("sweep", "predicted", spec, results, name=name) for name, spec in sweep]
    rows += [run_row("queues", "predicted", spec, results) for spec in queues]
    rows += usemem_rows(usemem, results)
    return rows, len(results)


def must_be_possible(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Reject at once arguments that would fail after minutes."""
    if args.plot and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install '.[plot]'")
    for path in filter(None, [args.json, *args.plot]):
        if not os.access(Path(path).absolute().parent, os.W_OK):
            parser.error(f"{path}: its directory is not writable")
    if args.file and not os.access(args.file, os.R_OK):
        parser.error(f"--file {args.file}: is not readable")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--file", help="file with the pages (default: this interpreter's libraries and sources)"
    )
    parser.add_argument("--json", help="write the rows to this file")
    parser.add_argument(
        "--plot",
        nargs="+",
        default=[],
        metavar="OUT",
        help="draw the rows to these files (.svg, .png; needs matplotlib)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="use 64 KiB folios alone where 2 MiB folios take long"
    )
    args = parser.parse_args()
    must_be_possible(parser, args)

    pages = harness.real_pages(args.file)
    model.use_pages(pages)
    rows = measure_software(pages, 3 if args.quick else 7)
    start = time.monotonic()
    simulated, nr = simulate(args.quick)
    rows += simulated
    seconds = time.monotonic() - start

    host = harness.machine()
    document = {
        "schema": 1,
        "command": ["bench/batching.py", *sys.argv[1:]],
        "host": host,
        "profile": dataclasses.asdict(IAA),
        "rows": rows,
    }
    if args.json:
        with open(args.json, "w") as f:
            json.dump(document, f, indent=1)
    print(
        f"zswap_py {host['zswap_py']} on {host['cpu']}, {host['cores']} cores: {nr} "
        "simulations, which stored folios "
        f"of {len(pages) // PAGE} pages, in {seconds:.0f} s"
    )
    for section, show in {
        "fit": report.print_fit,
        "grid": report.print_grid,
        "cpus": report.print_cpus,
        "sweep": report.print_sweep,
        "queues": report.print_queues,
        "software": report.print_software,
        "usemem30": report.print_usemem,
    }.items():
        show([row for row in rows if row["section"] == section])
    report.print_assumptions()

    for path in args.plot:
        import batching_plot

        batching_plot.draw(document, path)
        print(f"Wrote {path}")
    bad = off(rows)
    for row in bad:
        print(
            f"{row['name']}: {100 * row['deviation']:+.1f}% off the published latency",
            file=sys.stderr,
        )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
