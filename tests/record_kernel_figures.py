# SPDX-License-Identifier: GPL-2.0-or-later
"""Ask the running kernel what its zswap and zram make of the tests' corpora, and write
data/kernel_figures.json.

usage (root; gives back every setting, refuses where swap is in use): python
tests/record_kernel_figures.py

Needs zswap with deflate and lzo, zram with lz4, lzo and lzo-rle.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from pathlib import Path

from corpus import PAGE_SIZE, SEEDS, churn, corpus, digest, holes, small_page

from zswap_py._lib.signals import interruptions
from zswap_py.crypto.testmgr import known_pages
from zswap_py.verify.host import Host, HostZswap

FIGURES_FILE = Path(__file__).parent / "data" / "kernel_figures.json"
SWAP_IN = "/var/tmp"
MAX_OBJS = 256  # the most that a zspage of a 4 KiB page's classes holds
HOST = Host()


def zspage_of(zswap: HostZswap, page: bytes) -> list[int]:
    """[pages, objects] of the zspages that hold `page`: copies are stored until the
    pool grows a second time.
    """
    chain = objs = 0
    for objs in range(MAX_OBJS + 1):
        zswap.store(objs, page)
        pages = zswap.stats()["pool_total_size"] // PAGE_SIZE
        if chain and pages > chain:
            break
        chain = pages
    for slot in range(objs + 1):
        zswap.invalidate(slot)
    return [chain, objs]


def zram_totals(algorithm: str, pages: Sequence[bytes]) -> dict[str, int]:
    with HOST.zram(algorithm, len(pages)) as zram:
        for slot, page in enumerate(pages):
            zram.store(slot, page)
        return zram.stats()


def zram_sizes(algorithm: str, pages: Sequence[bytes]) -> list[int]:
    """Each page's size in bytes: all go to the same block, the total is the last
    one's.
    """
    sizes = []
    with HOST.zram(algorithm, 1) as zram:
        for page in pages:
            zram.store(0, page)
            sizes.append(zram.compr_data_size())
    return sizes


def lz4hc_sizes() -> dict[str, object]:
    """The known pages' sizes in lz4hc. Where the kernel lacks it, those of the kernel
    that was asked before.
    """
    if "lz4hc" in HOST.zram_algorithms():
        return {
            "kernel:lz4hc": platform.release(),
            "zram:lz4hc": zram_sizes("lz4hc", known_pages()),
        }
    old = json.loads(FIGURES_FILE.read_text())["known_pages"]
    return {name: old[name] for name in ("kernel:lz4hc", "zram:lz4hc")}


def record() -> dict[str, object]:
    figures: dict[str, object] = {"kernel": platform.release(), "machine": platform.machine()}
    for seed in SEEDS:
        pages = corpus(seed)
        of: dict[str, object] = {"pages": len(pages), "sha256": digest(pages)}
        for compressor in ("deflate", "lzo"):
            with HOST.zswap(compressor, len(pages), SWAP_IN) as zswap:
                of[f"churn:{compressor}"] = churn(zswap, pages)
            with HOST.zswap(compressor, 3 * MAX_OBJS, SWAP_IN) as zswap:
                _, objs = zspage_of(zswap, small_page(seed))
                of[f"holes:{compressor}"] = holes(zswap, small_page(seed), objs)
        for algorithm in ("lz4", "lzo", "lzo-rle"):
            of[f"zram:{algorithm}"] = zram_totals(algorithm, pages)
        figures[f"corpus:{seed}"] = of
    known: dict[str, object] = {"sha256": digest(known_pages())}
    for algorithm in ("lz4", "lzo", "lzo-rle"):
        known[f"zram:{algorithm}"] = zram_sizes(algorithm, known_pages())
    known |= lz4hc_sizes()
    with HOST.zswap("deflate", MAX_OBJS + 1, SWAP_IN) as zswap:
        known["zspages:deflate"] = [zspage_of(zswap, page) for page in known_pages()]
    figures["known_pages"] = known
    return figures


if __name__ == "__main__":
    HOST.must_be_usable()
    with interruptions():
        recorded = record()
    FIGURES_FILE.parent.mkdir(exist_ok=True)
    FIGURES_FILE.write_text(json.dumps(recorded, indent=1) + "\n")
