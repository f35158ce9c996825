# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a store of 2 MiB holds an asyncio event loop: called directly, and by
asyncio.to_thread().

    python bench/event_loop.py [--file PAGES] [--rounds N] [-c COMPRESSOR ...]

While the store runs, another task asks for its turn without pause. The hold is the
longest time between two of its turns.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable

import harness

import zswap_py as zs

NR = 512


async def hold_ms(store: Callable[[], object], in_thread: bool) -> float:
    """Run a store. Returns the longest time without a turn for another task, in ms."""
    longest = 0.0
    done = False

    async def take_turns() -> None:
        nonlocal longest
        last = time.perf_counter()
        while not done:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    other = asyncio.create_task(take_turns())
    await asyncio.sleep(0)
    if in_thread:
        await asyncio.to_thread(store)
    else:
        store()
    done = True
    await other
    return longest * 1e3


def cpu_ms(store: Callable[[], object]) -> float:
    start = time.thread_time()
    store()
    return (time.thread_time() - start) * 1e3


def measure(name: str, pages: bytearray, rounds: int) -> tuple[list[float], ...]:
    """Measure, round by round, a store's CPU time, the hold of a direct store, and the
    hold of a store in a thread.
    """
    with zs.Zswap(name, max_pool_percent=100, nr_cpus=1) as z:
        z.swapon(NR)

        def store() -> None:
            if not z.store(0, pages):
                raise RuntimeError("the folio was rejected")

        store()  # faults the pool's memory in
        asyncio.run(hold_ms(store, True))  # and starts the thread
        rows = [
            (cpu_ms(store), asyncio.run(hold_ms(store, False)), asyncio.run(hold_ms(store, True)))
            for _ in range(rounds)
        ]
    return tuple(list(column) for column in zip(*rows, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--file", help="pages to store (default: this interpreter's libraries and sources)"
    )
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("-c", "--compressor", action="append", help="name:backend, repeatable")
    args = parser.parse_args()
    pages = harness.real_pages(args.file, NR)
    print(f"{args.rounds} stores of 2 MiB; ms, minimum and median\n")
    print(f"{'':12}{'CPU time':>16}{'direct':>16}{'to_thread':>16}")
    for name in args.compressor or ["lz4", "zstd", "deflate"]:
        cells = (
            f"{min(c):8.2f}{statistics.median(c):8.2f}" for c in measure(name, pages, args.rounds)
        )
        print(f"{name:12}{''.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
