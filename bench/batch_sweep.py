# SPDX-License-Identifier: GPL-2.0-or-later
"""What the batch size does in software: the time of a store, the time for which it
holds a context's mutex, and the memory of the buffers.

    python bench/batch_sweep.py [--file PAGES] [--rounds N] [--json FILE]

There are two tables:

- Stores of 64 KiB folios, in ns a page. A compressor that does not batch runs in steps
  of 1, 2 and 8 pages (before the series, v10, v13). One that batches takes requests of
  2, 4 and 8 pages. The hold is the time of one store of as many pages as one hold of
  the mutex covers: an upper bound.
- Bytes of buffers and arrays by number of CPUs, with and without a decommissioned pool.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import harness
from harness import PAGE

import zswap_py as zs

FOLIO = 16


def variants(base: str) -> list[tuple[str, dict[str, object]]]:
    """The variants to compare: a label, and the keywords of Zswap."""
    out: list[tuple[str, dict[str, object]]] = [
        (f"sequential, steps of {n}", {"compressor": base, "series": series})
        for n, series in ((1, None), (2, "v10"), (8, "v13"))
    ]
    for n in (2, 4, 8):
        name = f"{base}-batch{n}"
        zs.register_compressor(name, base=base, batch_size=n)
        out.append((f"requests of {n}", {"compressor": name}))
    return out


def sweep(base: str, pages: bytearray, rounds: int) -> list[dict[str, object]]:
    """Time all variants in turns on each 2 MiB, so that noise hits all alike. Returns
    medians over the rounds.
    """
    nr, chunk, at = len(pages) // PAGE // 512 * 512, 512, harness.address(pages)
    instances = []
    for label, keywords in variants(base):
        z = zs.Zswap(max_pool_percent=100, nr_cpus=1, **keywords)  # type: ignore[arg-type]
        z.swapon(nr)
        instances.append((label, z, harness.WholeLoop(z)))
    per_round: dict[str, list[float]] = {label: [] for label, _, _ in instances}
    for r in range(rounds + 1):
        times = dict.fromkeys(per_round, 0)
        for n, c in enumerate(range(0, nr, chunk)):
            turn = (n + r) % len(instances)
            for label, _, whole in instances[turn:] + instances[:turn]:
                t = time.perf_counter_ns()
                whole.store(at + c * PAGE, c, chunk, FOLIO)
                times[label] += time.perf_counter_ns() - t
        if r:
            for label, t in times.items():
                per_round[label].append(t / nr)
    reference = per_round[instances[1][0]]  # v10's
    rows = []
    for label, z, whole in instances:
        step = z.pool.batch_size
        holds = []
        for i in range(0, 2048, step):
            t = time.perf_counter_ns()
            whole.store(at + i * PAGE, i, step, step)
            holds.append(time.perf_counter_ns() - t)
        rows.append(
            {
                "compressor": base,
                "variant": label,
                "store_ns": round(statistics.median(per_round[label])),
                "ratio_to_v10": round(
                    statistics.median(
                        a / b for a, b in zip(per_round[label], reference, strict=True)
                    ),
                    3,
                ),
                "hold_pages": step,
                "hold_ns_p50": round(statistics.median(holds)),
                "hold_ns_p99": round(sorted(holds)[-len(holds) // 100]),
                "pool_total_size": z.stats()["pool_total_size"],
            }
        )
        z.close()
    return rows


def buffers() -> list[dict[str, int]]:
    """Measure the bytes of buffers and arrays."""
    rows = []
    for nr_cpus in (2, 56, 384):
        for batch in (1, 8):
            name = f"sweep{nr_cpus}-{batch}"
            zs.register_compressor(name, base="lzo", batch_size=batch)
            zs.register_compressor(name + "b", base="lzo", batch_size=batch)
            with zs.Zswap(name, nr_cpus=nr_cpus) as z:
                z.swapon(16)
                one = z.memory()
                z.store(0, bytes(PAGE))  # keeps the first pool alive
                z.compressor = name + "b"
                two = z.memory()
                rows.append(
                    {
                        "cpus": nr_cpus,
                        "batch_size": batch,
                        "buffers": one["buffer"],
                        "arrays": one["array"],
                        "buffers_with_a_decommissioned_pool": two["buffer"],
                        "arrays_with_it": two["array"],
                    }
                )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--file", help=("pages to work on (default: this interpreter's libraries and sources)")
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", help="write the figures to this file")
    args = parser.parse_args()
    pages = harness.real_pages(args.file, 4096)

    rows = []
    print(
        f"{'compressor':11}{'variant':24}{'ns/page':>9}{'to v10':>8}"
        f"{'pages a hold':>14}{'hold µs':>9}{'p99':>8}"
    )
    for base in ("lz4", "zstd"):
        for row in sweep(base, pages, args.rounds):
            rows.append(row)
            print(
                f"{row['compressor']:11}{row['variant']:24}{row['store_ns']:9}{row['ratio_to_v10']:8.3f}{row['hold_pages']:14}"
                f"{row['hold_ns_p50'] / 1000:9.1f}{row['hold_ns_p99'] / 1000:8.1f}"
            )  # type: ignore[operator]
    memory = buffers()
    print(f"\n{'CPUs':>5}{'batch':>7}{'buffers':>12}{'arrays':>9}   with a decommissioned pool")
    for m in memory:
        print(
            f"{m['cpus']:5}{m['batch_size']:7}{m['buffers']:12,}{m['arrays']:9,}   "
            f"{m['buffers_with_a_decommissioned_pool']:,} + {m['arrays_with_it']:,}"
        )
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"machine": harness.machine(), "sweep": rows, "buffers": memory}, f, indent=1)


if __name__ == "__main__":
    main()
