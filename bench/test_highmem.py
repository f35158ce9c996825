# SPDX-License-Identifier: GPL-2.0-or-later
"""Loads of 2 MiB from memory that the compressor cannot address: each object is copied
to the context's buffer first.

Each stands beside the same loads from addressable memory, which use objects in place:
the ceiling.
"""

from __future__ import annotations

import pytest
from harness import PAGE

import zswap_py as zs
from zswap_py.testing import checked, registered


@pytest.mark.parametrize("highmem", [0.0, 1.0], ids=["in place", "copied"])
@pytest.mark.parametrize("nr", [1, 8], ids="requests of {}".format)
@pytest.mark.parametrize("base", ["lz4:kernel", "zstd:libzstd"])
def test_load_2_mib_from_highmem(benchmark, pages, base, nr, highmem):
    benchmark.group = f"{base}: load 2 MiB from highmem"
    slots, out, raw = range(len(pages) // PAGE), bytearray(len(pages)), []
    with (
        registered("from-highmem", base=base, batch_size=nr),
        checked(zs.Zswap("from-highmem", max_pool_percent=100, nr_cpus=1, highmem=highmem)) as z,
    ):
        z.swapon(len(slots))

        def setup():
            out[:] = bytes(len(out))
            assert z.store(0, pages)
            raw.append(z.stats()["stored_incompressible_pages"])

        benchmark.pedantic(
            lambda: z.load_batch(slots, out), setup=setup, rounds=30, warmup_rounds=2
        )
        assert out == pages
        # zsmalloc copies an object that crosses pages; a raw page is not decompressed
        copied = len(raw) * len(slots) - sum(raw) - z.pool.crossing_reads
        assert z.pool.context(0).highmem_copies == (copied if highmem else 0)
