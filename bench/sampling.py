#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How good the estimates of samples are: reports on samples of files, by many seeds,
beside the report on the whole file.

    python bench/sampling.py memory.bin core.1234
    python bench/sampling.py --dicts              a Python process with 120,000 dicts
    python bench/sampling.py --seeds 20 --sizes 1,8 -c lz4 memory.bin

For each figure: the mean error of the estimates; the number of seeds, of 100, whose 95%
interval holds the figure of the whole file; the mean of half the interval, in halves of
the range that 95% of the estimates lie in; and that range's half, in percent of the
figure. A row is marked with ! if it misses an aim: an error below 2%, 93 of 100, 1.3.
Counts of less than 1% of the pages, or of more than 99%, are left out: most samples see
no difference between pages.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from zswap_py.report import data
from zswap_py.report.measure import measure
from zswap_py.sources.pages import open_pages

BIAS, HELD, WIDTH = 0.02, 93, 1.3
SIZES = ("pool_total_size", "net_saved_bytes", "compressed_bytes")
COUNTS = ("stored_pages", "stored_incompressible_pages", "rejected_pages")
RARE = 0.01
PAGE = 4096

DICTS = """
dicts = [
    {"id": i, "name": f"user{i}", "score": i * 0.37, "tags": [i % 7, i % 11]}
    for i in range(120_000)
]
print(flush=True)
input()
"""


class Case(NamedTuple):
    path: Path
    mib: int | None  # None: the whole file
    seed: int
    compressors: tuple[str, ...]
    kernel: str


Figures = dict[tuple[str, str], data.Estimate]  # by compressor and figure


def figures(case: Case) -> Figures:
    sample = None if case.mib is None else case.mib << 20
    with open_pages([case.path], sample_bytes=sample, seed=case.seed) as pages:
        report = measure(pages, case.compressors, jobs=1, kernel=case.kernel, seed=case.seed).report
    found: Figures = {
        (f.name, name): getattr(f.all, name) for f in report.figures for name in SIZES + COUNTS
    }
    return found | {("", "zero_pages"): report.zero_pages}


@contextlib.contextmanager
def dicts() -> Iterator[Path]:
    """Yields a file with the memory of a Python process that holds 120,000 dicts."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "dicts"
        with subprocess.Popen(
            [sys.executable, "-c", DICTS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            with open_pages(pids=[process.pid], full=True) as pages, path.open("wb") as out:
                for piece in pages.pieces():
                    out.write(piece)
            process.communicate(b"\n")
        yield path


class Row(NamedTuple):
    """A row of the table."""

    bias: float
    held: float
    width: float
    spread: float

    @property
    def good(self) -> bool:
        return abs(self.bias) < BIAS and self.held >= HELD and self.width <= WIDTH

    def __str__(self) -> str:
        shown = f"{self.bias:+8.2%} {self.held:6.1f} {self.width:6.2f} {self.spread:8.2%}"
        return shown + ("" if self.good else " !")


def row(estimates: list[data.Estimate], truth: float) -> Row:
    values = [e.value for e in estimates]
    bias = statistics.fmean(values) / truth - 1
    held = 100 * sum(e.low <= truth <= e.high for e in estimates) / len(estimates)
    cut = statistics.quantiles(values, n=40, method="inclusive")
    spread = (cut[-1] - cut[0]) / 2
    width = statistics.fmean((e.high - e.low) / 2 for e in estimates) / spread if spread else 0.0
    return Row(bias, held, width, spread / truth)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--dicts", action="store_true")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--sizes", default="1,2,4,8", help="MiB")
    parser.add_argument("-c", dest="compressors", action="append")
    parser.add_argument("--kernel", default="6.18")
    parser.add_argument("-j", dest="jobs", type=int, default=1, help="processes")
    args = parser.parse_args()
    compressors = tuple(args.compressors or ("lz4", "zstd"))
    with contextlib.ExitStack() as stack:
        files = [*args.files, *([stack.enter_context(dicts())] if args.dicts else [])]
        pool = stack.enter_context(ProcessPoolExecutor(args.jobs))
        print(f"{'':46} {'error':>8} {'held':>6} {'width':>6} {'spread':>8}")
        rows: dict[str, list[Row]] = {}  # by figure
        for path in files:
            whole = figures(Case(path, None, 0, compressors, args.kernel))
            total_pages = path.stat().st_size / PAGE
            for mib in map(int, args.sizes.split(",")):
                cases = [
                    Case(path, mib, seed, compressors, args.kernel) for seed in range(args.seeds)
                ]
                found = list(pool.map(figures, cases))
                for key, truth in whole.items():
                    share = truth.value / total_pages
                    if key[1] not in SIZES and not RARE <= share <= 1 - RARE:
                        continue
                    made = row([estimates[key] for estimates in found], truth.value)
                    rows.setdefault(key[1], []).append(made)
                    print(
                        f"{f'{path.name} {mib} MiB ' + ' '.join(key).strip():46} {made}", flush=True
                    )
        print()
        for name, of_figure in rows.items():
            held, width = (
                statistics.fmean(values)
                for values in ([r.held for r in of_figure], [r.width for r in of_figure])
            )
            worst = max(abs(r.bias) for r in of_figure)
            missed = sum(not r.good for r in of_figure)
            print(
                f"{name}: error at most {worst:.2%}; on average {held:.1f} held, width "
                f"{width:.2f}; {missed} of {len(of_figure)} rows miss an aim"
            )


if __name__ == "__main__":
    main()
