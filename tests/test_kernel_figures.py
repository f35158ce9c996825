# SPDX-License-Identifier: GPL-2.0-or-later
"""The library against a running kernel's recorded figures: the pool, to the byte, at
every step.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from corpus import SEEDS, churn, corpus, holes, small_page
from helpers import of_kernel_sizes

import zswap_py as zs

RECORDED = json.loads((Path(__file__).parent / "data" / "kernel_figures.json").read_text())


@pytest.mark.parametrize("series", [None, "v10", "v13"])
@pytest.mark.parametrize("compressor", ["deflate", "lzo"])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_step_of_the_churn_is_the_kernels(
    seed: int, compressor: str, series: str | None
) -> None:
    of_kernel_sizes(compressor)
    pages = corpus(seed)
    with zs.Zswap(compressor=compressor, series=series, total_ram=1 << 32) as z:
        z.swapon(pages=len(pages))
        assert churn(z, pages) == RECORDED[f"corpus:{seed}"][f"churn:{compressor}"]
        z.check()


@pytest.mark.parametrize("compressor", ["deflate", "lzo"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_within_a_group_is_the_kernels(seed: int, compressor: str) -> None:
    of_kernel_sizes(compressor)
    page = small_page(seed)
    with zs.Zswap(compressor=compressor, total_ram=1 << 32) as z:
        z.swapon(pages=1024)
        z.store(0, page)
        objs = next(c for c in z.pool.size_classes if c.objs_inuse).objs_per_zspage
        z.invalidate(0)
        assert holes(z, page, objs) == RECORDED[f"corpus:{seed}"][f"holes:{compressor}"]
