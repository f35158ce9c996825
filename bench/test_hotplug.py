# SPDX-License-Identifier: GPL-2.0-or-later
"""The cost of a CPU's resources: prepare, hotplug, the creation of a pool."""

from __future__ import annotations

import pytest

import zswap_py as zs
from zswap_py.testing import checked, registered


@pytest.mark.parametrize("nr", range(1, 9), ids="{} buffers".format)
def test_prepare_of_a_cpu(benchmark, nr):
    """A CPU comes online for the first time: acomp, request, 1 to 8 buffers."""
    benchmark.group = "prepare of a CPU"
    open_: list[zs.Zswap] = []

    def close():
        for z in open_:
            assert len(z.pool.context(1).buffers) == nr
            z.close()
        open_.clear()

    def setup():
        close()
        open_.append(zs.Zswap("prepared", cpuhp=zs.CpuHotplug(2, online=1), series="v13"))
        assert open_[0].pool.context(1).acomp is None

    with registered("prepared", base="lzo", batch_size=nr):
        benchmark.pedantic(
            lambda: open_[0].cpuhp.online(1), setup=setup, rounds=200, warmup_rounds=5
        )
        close()


@pytest.mark.parametrize("series", [None, "v13"], ids=["freed and prepared", "kept"])
def test_a_cpu_goes_and_comes(benchmark, series):
    """Before the series a CPU that goes offline loses its context; in v13 it keeps
    it.
    """
    benchmark.group = "a CPU goes offline and comes online"
    with checked(zs.Zswap("lzo", nr_cpus=2, series=series)) as z:
        before = z.pool.context(1)

        def cycle():
            z.cpuhp.offline(1)
            z.cpuhp.online(1)

        benchmark(cycle)
        assert len(z.pool.context(1).buffers) == 1
        z.cpuhp.offline(1)
        assert z.pool.context(1).acomp == (None if series is None else before.acomp)


@pytest.mark.parametrize("nr_cpus", [2, 56, 384])
@pytest.mark.parametrize("nr", [1, 8], ids="{} buffers".format)
def test_pool_creation(benchmark, nr_cpus, nr):
    """A switch of compressor: it allocates the per-CPU contexts and releases the old
    pool.
    """
    benchmark.group = "pool creation"
    with (
        registered("created", base="lzo", batch_size=nr),
        checked(zs.Zswap("lz4", nr_cpus=nr_cpus)) as z,
    ):

        def switch():
            for spec in ("created", "lz4"):
                old = z.pool
                z.compressor = spec
                old.released.wait()

        benchmark(switch)
        z.compressor = "created"
        assert [len(context.buffers) for context in z.pool.cpus] == [nr] * nr_cpus
