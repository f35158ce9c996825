# SPDX-License-Identifier: GPL-2.0-or-later
"""Microbenchmarks for pytest-benchmark.

    pytest bench --benchmark-only    add  -k lz4  or  --benchmark-json FILE

Each group has its ceiling beside it: the bare codec loop over the same pages, or
memcpy. All bytes that come back are compared. Quote ratios from overhead.py, which
measures in turns within one run. Batches, highmem, hotplug and accelerators have files
of their own: test_batches.py, test_highmem.py, test_hotplug.py and test_accelerator.py.
"""

from __future__ import annotations

import harness
import pytest
from harness import PAGE

import zswap_py as zs
from zswap_py.testing import checked

COMPRESSORS = ["lzo:kernel", "lz4:kernel", "zstd:libzstd", "deflate:zlib"]
NR = 512


@pytest.fixture(params=COMPRESSORS)
def compressor(request):
    return request.param


@pytest.fixture
def z(compressor):
    with checked(zs.Zswap(compressor, max_pool_percent=100, nr_cpus=1)) as z:
        z.swapon(NR)
        yield z


def test_memcpy_2_mib(benchmark, pages):
    benchmark.group = "2 MiB"
    out = bytearray(len(pages))
    benchmark(lambda: out.__setitem__(slice(None), pages))
    assert out == pages


def test_bare_compress_2_mib(benchmark, pages, compressor):
    benchmark.group = f"{compressor}: store 2 MiB"
    bare = harness.BareLoop(compressor, pages)
    assert benchmark(bare.compress, 0, NR) == bare.compressed_bytes


@pytest.mark.parametrize("folio", [1, 16, 512])
def test_store_2_mib(benchmark, pages, z, compressor, folio):
    benchmark.group = f"{compressor}: store 2 MiB"
    view = memoryview(pages)
    folios = [(i, view[i * PAGE : (i + folio) * PAGE]) for i in range(0, NR, folio)]

    def store():
        for slot, pages_of_it in folios:
            z.store(slot, pages_of_it)

    benchmark(store)  # from the second round on each store also frees the slot's older entry
    out = bytearray(len(pages))
    assert z.load_batch(range(NR), out) == [0] * NR
    assert out == pages


def test_bare_decompress_2_mib(benchmark, pages, compressor):
    benchmark.group = f"{compressor}: load 2 MiB"
    bare = harness.BareLoop(compressor, pages)
    out = bytearray(len(pages))
    benchmark(bare.decompress, 0, NR, harness.address(out))
    assert out == pages


@pytest.mark.parametrize("batch", [1, 8, 512])
def test_load_2_mib(benchmark, pages, z, compressor, batch):
    benchmark.group = f"{compressor}: load 2 MiB"
    out = bytearray(len(pages))
    view = memoryview(out)

    def load():
        if batch == 1:
            for i in range(NR):
                z.load(i, view[i * PAGE : (i + 1) * PAGE])
        else:
            for i in range(0, NR, batch):
                z.load_batch(range(i, i + batch), view[i * PAGE : (i + batch) * PAGE])

    benchmark.pedantic(load, setup=lambda: z.store(0, pages) and None, rounds=30, warmup_rounds=2)
    assert out == pages
    assert len(z) == 0


def test_a_load_that_finds_nothing(benchmark):
    """The cost of Python and one call into C."""
    with zs.Zswap("lzo", nr_cpus=1) as z:
        z.swapon(16)
        out = bytearray(PAGE)
        assert benchmark(z.load, 3, out) is False
