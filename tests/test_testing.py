# SPDX-License-Identifier: GPL-2.0-or-later
"""zswap_py.testing: instances checked as they are closed, compressors for a block."""

from __future__ import annotations

import pytest

import zswap_py as zs
from zswap_py.testing import checked, close_checked, registered


def fails_check(z):
    raise AssertionError("the LRU has not the entries that the index has")


def test_checked_closes_the_instance_and_its_pools():
    with checked(zs.Zswap("lzo", nr_cpus=1)) as z:
        z.swapon(16)
        assert z.store(0, bytes(4096))
        z.compressor = "lz4"
        pools = z.pools
        assert len(pools) == 2
    assert z.closed
    assert all(pool.released.is_set() for pool in pools)


def test_checked_fails_where_the_instance_does_not_add_up(monkeypatch):
    monkeypatch.setattr(zs.Zswap, "check", fails_check)
    with (
        pytest.raises(AssertionError, match="the LRU has not"),
        checked(zs.Zswap("lzo", nr_cpus=1)) as z,
    ):
        pass
    assert z.closed


def test_checked_fails_where_a_pool_is_kept(monkeypatch):
    close = zs.Zswap.close

    def close_but_keep(self):
        pool = None if self.closed else self.pool
        close(self)
        if pool is not None:
            pool.released.clear()

    monkeypatch.setattr(zs.Zswap, "close", close_but_keep)
    with (
        pytest.raises(AssertionError, match=r"did not release <Pool .*lzo"),
        checked(zs.Zswap("lzo", nr_cpus=1)),
    ):
        pass


def test_checked_closes_after_an_exception_and_hides_neither(monkeypatch):
    with pytest.raises(KeyError, match="mine"), checked(zs.Zswap("lzo", nr_cpus=1)) as z:
        raise KeyError("mine")
    assert z.closed

    monkeypatch.setattr(zs.Zswap, "check", fails_check)
    with (
        pytest.raises(AssertionError, match="the LRU has not") as e,
        checked(zs.Zswap("lzo", nr_cpus=1)) as z,
    ):
        raise KeyError("mine")
    assert isinstance(e.value.__context__, KeyError)
    assert z.closed


def test_close_checked_takes_an_instance_that_is_closed():
    with checked(zs.Zswap("lzo", nr_cpus=1)) as z:
        z.close()
    close_checked(z)


def test_registered_takes_the_compressor_back():
    with (
        pytest.raises(KeyError, match="mine"),
        registered("pairs", base="lzo", batch_size=2) as compressor,
    ):
        assert compressor.batch_size == 2
        with checked(zs.Zswap("pairs", nr_cpus=1)) as z:
            assert z.pool.compr_batch_size == 2
        raise KeyError("mine")
    with pytest.raises(OSError, match="pairs not available"):
        zs.Zswap("pairs", nr_cpus=1)


def test_registered_leaves_a_name_that_the_block_gave_away():
    with registered("pairs", base="lzo"):
        zs.unregister_compressor("pairs")
    with registered("pairs", base="lzo"):
        zs.unregister_compressor("pairs")
        zs.register_compressor("pairs", base="lz4")
    with checked(zs.Zswap("pairs", nr_cpus=1)) as z:
        assert z.compressor == "pairs"
    zs.unregister_compressor("pairs")
