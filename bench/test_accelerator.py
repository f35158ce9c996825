# SPDX-License-Identifier: GPL-2.0-or-later
"""Stores and loads through `deflate-iaa`: on engines that are threads, and in virtual
time.

In virtual time the benchmark measures the simulator. The device's time is checked with
it, to the nanosecond.
"""

from __future__ import annotations

import pytest

import zswap_py as zs
from zswap_py.corpus import corpus
from zswap_py.iaa import Accelerator, DeviceConfig
from zswap_py.testing import checked

FOLIO, NR = 16, 128
SLOTS = range(0, NR, FOLIO)


@pytest.fixture(scope="module")
def folios():
    """128 pages in folios of 64 KiB."""
    return [b"".join(corpus(1)[i : i + FOLIO]) for i in SLOTS]


def store_all(z, folios):
    return sum(bool(z.store(slot, folio)) for slot, folio in zip(SLOTS, folios, strict=True))


def check_pages(z, folios):
    out = bytearray(NR * 4096)
    assert z.load_batch(range(NR), out) == [0] * NR
    assert out == b"".join(folios)


@pytest.mark.parametrize("batch_size", [1, 8], ids="requests of {}".format)
@pytest.mark.parametrize("engines", [1, 2, 8], ids="{} engines".format)
def test_store_512_kib_in_real_time(benchmark, folios, engines, batch_size):
    benchmark.group = "accelerator in real time: store 512 KiB"
    devices = [DeviceConfig(engines=(0,) * engines)]
    with (
        Accelerator(devices, nr_cpus=1, batch_size=batch_size) as acc,
        checked(zs.Zswap("deflate-iaa", nr_cpus=1)) as z,
    ):
        z.swapon(NR)
        assert z.pool.compr_batch_size == batch_size
        assert benchmark(store_all, z, folios) == len(folios)
        stats = acc.stats()
        assert stats["total_comp_calls"] >= NR
        assert stats["total_comp_calls"] % NR == 0
        raw = z.stats()["stored_incompressible_pages"]
        check_pages(z, folios)
        assert acc.stats()["total_decomp_calls"] == NR - raw


@pytest.mark.parametrize("batch_size", [1, 8], ids="requests of {}".format)
@pytest.mark.parametrize("engines", [1, 2, 8], ids="{} engines".format)
def test_load_512_kib_in_real_time(benchmark, folios, engines, batch_size):
    benchmark.group = "accelerator in real time: load 512 KiB"
    devices, out, raw = [DeviceConfig(engines=(0,) * engines)], bytearray(NR * 4096), []
    with (
        Accelerator(devices, nr_cpus=1, batch_size=batch_size) as acc,
        checked(zs.Zswap("deflate-iaa", nr_cpus=1)) as z,
    ):
        z.swapon(NR)

        def setup():
            out[:] = bytes(len(out))
            assert store_all(z, folios) == len(folios)
            raw.append(z.stats()["stored_incompressible_pages"])

        benchmark.pedantic(
            lambda: z.load_batch(range(NR), out), setup=setup, rounds=20, warmup_rounds=1
        )
        assert out == b"".join(folios)
        stats = acc.stats()
        assert stats["total_comp_calls"] == NR * len(raw)
        assert stats["total_decomp_calls"] == NR * len(raw) - sum(raw)
        assert stats["total_sw_decomp_calls"] == 0


@pytest.mark.parametrize(
    ("devices", "batch_size", "ns_a_page"),
    [(1, 1, 3503.0), (1, 8, 1355.75), (4, 8, 705.625)],
    ids=["one by one", "batches of 8", "batches of 8 over 4 devices"],
)
def test_store_512_kib_in_virtual_time(benchmark, folios, devices, batch_size, ns_a_page):
    benchmark.group = "accelerator in virtual time: store 512 KiB"
    clock = zs.VirtualClock()
    with (
        Accelerator(devices, nr_cpus=1, batch_size=batch_size, clock=clock),
        checked(zs.Zswap("deflate-iaa", nr_cpus=1)) as z,
    ):
        z.swapon(NR)
        took = []

        def store():
            start = clock.now
            stored = store_all(z, folios)
            took.append((clock.now - start) / NR)
            return stored

        assert benchmark(store) == len(folios)
        assert set(took) == {ns_a_page}
        check_pages(z, folios)
