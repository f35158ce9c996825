# SPDX-License-Identifier: GPL-2.0-or-later
"""What zswap costs beyond the bare codec: stores of folios and batched loads, as ratios
that are measured in one run, in turns.

    python bench/overhead.py [--file PAGES] [-c COMPRESSOR ...] [--rounds N]
                             [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import harness
from harness import PAGE

import zswap_py as zs

CHUNK = 512  # pages between two readings of the clock: 2 MiB


def measure(name: str, pages: bytearray, rounds: int, folio: int, batch: int) -> dict[str, object]:
    """Measure the bare loop, zswap called from C, and zswap called from Python: medians
    over the rounds, in ns a page.

    A round stores all pages and loads them all, once from C and once from Python. The
    loop that runs second finds the pages in the cache, so the two change places from
    chunk to chunk.
    """
    nr = len(pages) // PAGE // CHUNK * CHUNK
    bare = harness.BareLoop(name, pages)
    view, at = memoryview(pages), harness.address(pages)
    out = bytearray(CHUNK * PAGE)
    out_at, out_view = harness.address(out), memoryview(out)
    rows: list[list[float]] = []

    with zs.Zswap(name, max_pool_percent=100, nr_cpus=1) as z:
        z.swapon(nr)
        whole = harness.WholeLoop(z)

        def python_store(c: int) -> None:
            for i in range(c, c + CHUNK, folio):
                z.store(i, view[i * PAGE : (i + folio) * PAGE])

        def python_load(c: int) -> None:
            for i in range(0, CHUNK, batch):
                z.load_batch(range(c + i, c + i + batch), out_view[i * PAGE : (i + batch) * PAGE])

        def bare_store(c: int) -> None:
            bare.compress(c, CHUNK)

        def bare_load(c: int) -> None:
            bare.decompress(c, CHUNK, out_at)

        def c_store(c: int) -> None:
            whole.store(at + c * PAGE, c, CHUNK, folio)

        def c_load(c: int) -> None:
            whole.load(out_at, c, CHUNK, batch)

        def phase(
            two: tuple[Callable[[int], None], Callable[[int], None]], turn: int
        ) -> list[float]:
            times = [0, 0]
            for n, c in enumerate(range(0, nr, CHUNK)):
                for k in (0, 1) if (n + turn) % 2 else (1, 0):
                    t = time.perf_counter_ns()
                    two[k](c)
                    times[k] += time.perf_counter_ns() - t
                if two[1] in (c_load, python_load) and out != view[c * PAGE : (c + CHUNK) * PAGE]:
                    raise AssertionError(f"{name}: pages came back with other bytes")
            return [t / nr for t in times]

        for r in range(rounds + 1):
            row = []
            for store, load in ((c_store, c_load), (python_store, python_load)):
                row += phase((bare_store, store), r) + phase((bare_load, load), r)
            if r:  # the first round faults the pool's memory in
                rows.append(row)
        if z.stats()["stored_pages"]:
            raise AssertionError("not all pages were loaded")

    figures: dict[str, object] = {
        "compressor": name,
        "folio_pages": folio,
        "batch": batch,
        "pages": nr,
    }
    for i, (caller, what) in enumerate((w, x) for w in ("c", "python") for x in ("store", "load")):
        figures[f"bare_{what}_ns"] = round(statistics.median(row[2 * i] for row in rows), 1)
        figures[f"{caller}_{what}_ns"] = round(statistics.median(row[2 * i + 1] for row in rows), 1)
        figures[f"{caller}_{what}_ratio"] = round(
            statistics.median(row[2 * i + 1] / row[2 * i] for row in rows), 3
        )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--file", help=("pages to work on (default: this interpreter's libraries and sources)")
    )
    parser.add_argument("-c", "--compressor", action="append", help="name:backend, repeatable")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folio", type=int, default=16, help="pages a store (default 16: 64 KiB)")
    parser.add_argument("--batch", type=int, default=8, help="pages a load_batch (default 8)")
    parser.add_argument("--json", help="write the figures to this file")
    args = parser.parse_args()

    pages = harness.real_pages(args.file)
    print(
        f"{len(pages) // PAGE} pages, folios of {args.folio}, load_batch of {args.batch}; "
        f"median of {args.rounds} rounds, ns a page"
    )
    print(
        " " * 16
        + "  ".join(
            f"{what:>8} {'from C':>8} {'ratio':>6} {'Python':>7} " for what in ("store", "load")
        )
    )
    rows = []
    for name in args.compressor or [
        "lz4:liblz4",
        "lz4:kernel",
        "lzo:kernel",
        "zstd:libzstd",
        "deflate:zlib",
    ]:
        row = measure(name, pages, args.rounds, args.folio, args.batch)
        rows.append(row)
        cells = [f"{name:16}"]
        for what in ("store", "load"):
            cells.append(
                f"{row[f'bare_{what}_ns']:8.0f} {row[f'c_{what}_ns']:8.0f} "
                f"{row[f'c_{what}_ratio']:6.3f} "
                f"{row[f'python_{what}_ratio']:7.3f}   "
            )
        print("".join(cells).rstrip(), flush=True)
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"machine": harness.machine(), "rows": rows}, f, indent=1)


if __name__ == "__main__":
    main()
