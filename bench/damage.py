# SPDX-License-Identifier: GPL-2.0-or-later
"""What a flipped bit in a compressed object leads to: an error, a page of wrong bytes,
or the right page.

    python bench/damage.py [--file PAGES] [--flips N] [-c COMPRESSOR ...]

Each flip is of one random bit of the object of one random page. Pages that are stored
raw are left out: a flip there is always a wrong byte.
"""

from __future__ import annotations

import argparse
import logging
import random
from collections import Counter

import harness
from harness import PAGE

import zswap_py as zs
from zswap_py.corpus import corpus

OUTCOMES = ("wrong bytes", "EIO", "right bytes")


def damage(name: str, pages: list[bytes], flips: int, seed: int = 1) -> Counter[str]:
    """Count the outcomes of `flips` flips."""
    r = random.Random(seed)
    outcomes: Counter[str] = Counter()
    out = bytearray(PAGE)
    with zs.Zswap(name, max_pool_percent=100, nr_cpus=1) as z:
        z.swapon(1)
        while outcomes.total() < flips:
            page = r.choice(pages)
            if not z.store(0, page) or z.length(0) == PAGE:
                continue
            z.faults.flip(0, r.randrange(z.length(0)), 1 << r.randrange(8))
            try:
                z.load(0, out)
            except OSError:
                outcomes["EIO"] += 1
            else:
                outcomes["right bytes" if out == page else "wrong bytes"] += 1
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--file", help="pages to damage (default: this interpreter's libraries, and corpora)"
    )
    parser.add_argument(
        "--flips", type=int, default=4000, help="flips for each compressor and set of pages (4000)"
    )
    parser.add_argument("-c", "--compressor", action="append", help="name:backend, repeatable")
    args = parser.parse_args()
    logging.getLogger("zswap_py").disabled = True  # it logs each error
    real = bytes(harness.real_pages(args.file, 2048))
    sets = {args.file or "libraries": [real[i : i + PAGE] for i in range(0, len(real), PAGE)]}
    if not args.file:
        sets |= {f"corpus({seed})": corpus(seed) for seed in (1, 2, 3)}
    print(
        f"{args.flips} flips each\n\n{'compressor':14}{'pages':12}"
        + "".join(f"{o:>13}" for o in OUTCOMES)
    )
    for name in args.compressor or ["lz4", "deflate", "lzo", "lzo-rle", "zstd"]:
        for label, pages in sets.items():
            outcomes = damage(name, pages, args.flips)
            print(
                f"{name:14}{label:12}"
                + "".join(f"{outcomes[o] / args.flips:13.1%}" for o in OUTCOMES),
                flush=True,
            )


if __name__ == "__main__":
    main()
