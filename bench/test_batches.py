# SPDX-License-Identifier: GPL-2.0-or-later
"""Stores and loads of 2 MiB through compressors that take 1 to 8 pages a request.

The algorithm is the same and takes a request's pages one after another, so the
difference is zswap's own way through a batch. Devices that work on the pages of a batch
in parallel are in test_accelerator.py.
"""

from __future__ import annotations

import pytest
from harness import PAGE

import zswap_py as zs
from zswap_py.testing import checked, registered

FOLIO = 16


@pytest.fixture(params=["lz4:kernel", "zstd:libzstd"])
def base(request):
    return request.param


@pytest.fixture(params=range(1, 9), ids="requests of {}".format)
def z(request, base, pages):
    """A Zswap whose requests carry 1 to 8 pages."""
    nr = request.param
    with (
        registered("in-requests", base=base, batch_size=nr),
        checked(zs.Zswap("in-requests", max_pool_percent=100, nr_cpus=1)) as z,
    ):
        z.swapon(len(pages) // PAGE)
        assert z.pool.compr_batch_size == len(z.pool.context(0).buffers) == nr
        assert z.pool.batch_size == (nr if nr > 1 else 2)
        yield z


def test_store_2_mib_in_requests(benchmark, pages, z, base):
    benchmark.group = f"{base}: store 2 MiB in requests of 1 to 8"
    nr, view = len(pages) // PAGE, memoryview(pages)
    folios = [(i, view[i * PAGE : (i + FOLIO) * PAGE]) for i in range(0, nr, FOLIO)]

    def store():
        return sum(bool(z.store(slot, folio)) for slot, folio in folios)

    # from the second round on each store also frees the slot's older entry
    assert benchmark(store) == len(folios)
    out = bytearray(len(pages))
    assert z.load_batch(range(nr), out) == [0] * nr
    assert out == pages


def test_load_2_mib_in_requests(benchmark, pages, z, base):
    benchmark.group = f"{base}: load 2 MiB in requests of 1 to 8"
    nr, out = len(pages) // PAGE, bytearray(len(pages))
    slots = range(nr)

    def setup():
        out[:] = bytes(len(out))
        assert z.store(0, pages)

    benchmark.pedantic(lambda: z.load_batch(slots, out), setup=setup, rounds=30, warmup_rounds=2)
    assert out == pages
    assert len(z) == 0
