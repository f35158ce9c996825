# SPDX-License-Identifier: GPL-2.0-or-later
"""What zswap costs on top of the bare codec: stores of folios, batched loads, as ratios taken in one run, interleaved.

    python bench/overhead.py [--file PAGES] [-c COMPRESSOR ...] [--rounds N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import harness
import zswap_py as zs
from harness import PAGE

CHUNK = 512  # pages between two looks at the clock: 2 MiB


def measure(name: str, pages: bytearray, rounds: int, folio: int, batch: int) -> dict[str, object]:
    """Medians over the rounds of bare, whole and ratio, in ns a page. A round stores all pages, then loads them all."""
    nr = len(pages) // PAGE // CHUNK * CHUNK
    bare = harness.BareLoop(name, pages)
    view = memoryview(pages)
    out = bytearray(CHUNK * PAGE)
    out_at, out_view = harness.address(out), memoryview(out)
    clock = time.perf_counter_ns
    rows: list[tuple[float, float, float, float]] = []

    with zs.Zswap(name, max_pool_percent=100, nr_cpus=1) as z:
        z.swapon(nr)

        def store(c: int) -> int:
            t = clock()
            for i in range(c, c + CHUNK, folio):
                z.store(i, view[i * PAGE : (i + folio) * PAGE])
            return clock() - t

        def pack(c: int) -> int:
            t = clock()
            bare.compress(c, CHUNK)
            return clock() - t

        def load(c: int) -> int:
            t = clock()
            for i in range(0, CHUNK, batch):
                z.load_batch(range(c + i, c + i + batch), out_view[i * PAGE : (i + batch) * PAGE])
            return clock() - t

        def unpack(c: int) -> int:
            t = clock()
            bare.decompress(c, CHUNK, out_at)
            return clock() - t

        for r in range(rounds + 1):
            sums = [0, 0, 0, 0]
            for n, c in enumerate(range(0, nr, CHUNK)):
                for k in (0, 1) if (n + r) % 2 else (1, 0):
                    sums[k] += (pack, store)[k](c)
            for n, c in enumerate(range(0, nr, CHUNK)):
                for k in (0, 1) if (n + r) % 2 else (1, 0):
                    sums[2 + k] += (unpack, load)[k](c)
                    if k and r == 0 and out != pages[c * PAGE : (c + CHUNK) * PAGE]:
                        raise AssertionError(f"{name}: pages came back with other bytes")
            if r:  # the first round faults the pool's memory in, and is checked
                rows.append((sums[0] / nr, sums[1] / nr, sums[2] / nr, sums[3] / nr))
        if z.stats()["stored_pages"]:
            raise AssertionError("not all pages were loaded")

    def median(values: list[float]) -> float:
        return round(statistics.median(values), 3)

    return {
        "compressor": name,
        "folio_pages": folio,
        "batch": batch,
        "pages": nr,
        "bare_store_ns": median([r[0] for r in rows]),
        "store_ns": median([r[1] for r in rows]),
        "store_ratio": median([r[1] / r[0] for r in rows]),
        "bare_load_ns": median([r[2] for r in rows]),
        "load_ns": median([r[3] for r in rows]),
        "load_ratio": median([r[3] / r[2] for r in rows]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", help="pages to work on (default: this interpreter's libraries and sources)")
    parser.add_argument("-c", "--compressor", action="append", help="name:backend, repeatable")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folio", type=int, default=16, help="pages a store (default 16: 64 KiB)")
    parser.add_argument("--batch", type=int, default=8, help="pages a load_batch (default 8)")
    parser.add_argument("--json", help="write the figures there")
    args = parser.parse_args()

    pages = harness.real_pages(args.file)
    print(f"{len(pages) // PAGE} pages, folios of {args.folio}, load_batch of {args.batch}; median of {args.rounds} rounds, ns a page")
    print(f"{'compressor':16} {'bare':>8} {'store':>8} {'ratio':>7}   {'bare':>8} {'load':>8} {'ratio':>7}")
    rows = []
    for name in args.compressor or ["lz4:liblz4", "lz4:kernel", "lzo:kernel", "zstd:libzstd", "deflate:zlib"]:
        row = measure(name, pages, args.rounds, args.folio, args.batch)
        rows.append(row)
        print(f"{name:16} {row['bare_store_ns']:8.0f} {row['store_ns']:8.0f} {row['store_ratio']:7.3f}   "
              f"{row['bare_load_ns']:8.0f} {row['load_ns']:8.0f} {row['load_ratio']:7.3f}", flush=True)
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"machine": harness.machine(), "rows": rows}, f, indent=1)


if __name__ == "__main__":
    main()
