# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether batching pays with engines that are only threads: batches of 8 over 2
engines, against one page at a time.

    python bench/engines.py [--file F] [--json OUT]

In real time. The same pages go through two accelerators of equal configuration, whose
stores take turns, pair by pair. The result is the median ratio of the pairs. A page's
time depends on this machine's cores and its scheduler's wake-ups, not on an
accelerator.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

from harness import PAGE, machine, real_pages

import zswap_py as zs
from zswap_py.iaa import Accelerator, DeviceConfig

FOLIO = 16
ENGINES = 2


class Side:
    """An accelerator, and a Zswap of its own over it."""

    def __init__(self, name: str, batch_size: int) -> None:
        self.acc = Accelerator(
            [DeviceConfig(engines=(0,) * ENGINES)], name=name, nr_cpus=1, batch_size=batch_size
        )
        self.z = zs.Zswap(f"deflate-iaa:{name}", nr_cpus=1)
        self.z.swapon(1 << 20)

    def store_ns(self, folios: list[memoryview]) -> int:
        """Store all folios over those of the last call. Returns the ns."""
        start = time.perf_counter_ns()
        for i, folio in enumerate(folios):
            if not self.z.store(i * FOLIO, folio):
                raise RuntimeError(f"a folio was rejected: {self.z.stats()}")
        return time.perf_counter_ns() - start

    def close(self) -> None:
        self.z.close()
        self.acc.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--file", help="pages to store (default: of this interpreter's libraries)")
    parser.add_argument("--pages", type=int, default=1024, help="pages a run (1024)")
    parser.add_argument("--pairs", type=int, default=20, help="pairs of runs (20)")
    parser.add_argument("--json", help="write the figures to this file")
    args = parser.parse_args()
    if args.pairs < 1 or args.pages < FOLIO:
        parser.error(
            f"--pairs {args.pairs} --pages {args.pages}: need at least 1 pair, and {FOLIO} pages "
            "for a folio"
        )
    pages = memoryview(real_pages(args.file, args.pages))
    folios = [
        pages[i : i + FOLIO * PAGE] for i in range(0, len(pages) - FOLIO * PAGE + 1, FOLIO * PAGE)
    ]
    nr = len(folios) * FOLIO
    single, batch = Side("one-by-one", 1), Side("batch-of-8", 8)
    single.store_ns(folios)
    batch.store_ns(folios)
    pairs = [(single.store_ns(folios), batch.store_ns(folios)) for _ in range(args.pairs)]
    result = {
        "schema": 1,
        "machine": machine(),
        "software": batch.acc.software.spec,
        "engines": ENGINES,
        "pages": nr,
        "pairs": args.pairs,
        "one_by_one_ns": statistics.median(a for a, _ in pairs) / nr,
        "batch_of_8_ns": statistics.median(b for _, b in pairs) / nr,
        "ratio": statistics.median(b / a for a, b in pairs),
    }
    single.close()
    batch.close()
    host = machine()
    print(
        f"{host['cpu']}, {host['cores']} cores; {ENGINES} engines, {result['software']}; {nr} "
        "pages, 64 KiB folios"
    )
    print(
        f"batches of 8 take {result['ratio']:.2f} times as long as pages one by one: the median of "
        f"{args.pairs} pairs\n"
        f"medians of each: {result['one_by_one_ns']:,.0f} and {result['batch_of_8_ns']:,.0f} ns "
        "a page"
    )
    if args.json:
        with open(args.json, "w") as f:
            json.dump(result, f, indent=2)


if __name__ == "__main__":
    main()
