# SPDX-License-Identifier: GPL-2.0-or-later
"""SwapDevice: the order of zero map, zswap and device; CompressedStore: bytes in, bytes
out.
"""

from __future__ import annotations

import os
import random

import pytest

import zswap_py as zs

PAGE = 4096
TEXT = (b"the quick brown fox jumps over the lazy dog " * 100)[:PAGE]


@pytest.fixture
def z():
    with zs.Zswap("lzo", nr_cpus=2) as z:
        yield z


@pytest.fixture
def device(z):
    with zs.SwapDevice(z, 64) as device:
        yield device


def test_a_folio_of_zeros_never_reaches_zswap(z, device):
    assert device.writeout(0, bytes(4 * PAGE)) == "zero"
    assert z.stats()["stored_pages"] == 0
    out = bytearray(b"x" * 4 * PAGE)
    device.read(0, out)
    assert out == bytes(4 * PAGE)
    assert device.counts() == {"pswpin": 0, "pswpout": 0, "swpin_zero": 4, "swpout_zero": 4}


def test_a_zero_page_in_a_folio_that_is_not_all_zero_is_compressed_as_any(z, device):
    assert device.writeout(0, bytes(PAGE) + TEXT) == "zswap"
    assert z.stats()["stored_pages"] == 2


def test_zswap_comes_before_the_device_and_its_pages_leave_it_when_read(z, device):
    assert device.writeout(3, TEXT) == "zswap"
    out = bytearray(PAGE)
    device.read(3, out)
    assert out == TEXT
    assert len(z) == 0
    with pytest.raises(KeyError):
        device.read(3, out)
    assert device.counts()["pswpout"] == 0


def test_what_zswap_refuses_goes_to_the_device_and_stays_there_when_read(z, device):
    z.max_pool_percent = 0
    assert device.writeout(5, TEXT * 3) == "device"
    out = bytearray(3 * PAGE)
    for _ in range(2):
        device.read(5, out)
        assert out == TEXT * 3
    assert device.counts() == {"pswpin": 6, "pswpout": 3, "swpin_zero": 0, "swpout_zero": 0}


def test_no_stale_page_is_read_wherever_the_newer_one_went(z, device):
    out = bytearray(PAGE)
    pages = {"zero": bytes(PAGE), "zswap": TEXT, "device": TEXT[::-1]}
    for first in pages.items():
        for second in pages.items():
            for where, page in (first, second):
                z.enabled = where != "device"
                assert device.writeout(7, page) == where
            device.read(7, out)
            assert out == second[1], (first[0], second[0])
            device.free(7)
            assert len(z) == 0


def test_freed_slots_hold_nothing(z, device):
    device.writeout(0, TEXT * 8)
    device.free(2, 3)
    assert z.stats()["stored_pages"] == 5
    with pytest.raises(KeyError):
        device.read(3, bytearray(PAGE))
    device.peek(1, out := bytearray(PAGE))
    assert out == TEXT
    assert len(z) == 5


def test_a_device_in_a_file_of_the_callers(z, tmp_path):
    path = tmp_path / "swap"
    z.enabled = False
    with zs.SwapDevice(z, 8, path) as device:
        device.writeout(2, TEXT)
    assert path.read_bytes()[2 * PAGE : 3 * PAGE] == TEXT


@pytest.mark.parametrize(
    ("slot", "nbytes"), [(-1, PAGE), (64, PAGE), (63, 2 * PAGE), (0, 0), (0, 100)]
)
def test_slots_and_buffers_that_do_not_fit(device, slot, nbytes):
    with pytest.raises(ValueError, match=r"slot|buffer"):
        device.writeout(slot, bytes(nbytes))


def test_closing_gives_the_slots_back_and_says_so(z, device):
    device.writeout(0, TEXT)
    device.close()
    device.close()
    assert len(z) == 0
    with pytest.raises(ValueError, match="closed"):
        device.writeout(0, TEXT)
    with zs.SwapDevice(z, 8) as again:
        assert again.type == device.type


def test_compressed_store_is_a_mapping_of_bytes():
    r = random.Random(5)
    with zs.CompressedStore(capacity=16 << 20, compressor="lz4", nr_cpus=1) as store:
        model: dict[int, bytes] = {}
        for i in range(300):
            key = r.randrange(40)
            if i % 7 == 6 and key in model:
                del store[key], model[key]
                continue
            n = r.choice((0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, 30000))
            value = (b"%d " % r.randrange(1000)) * (n // 3) if i % 3 else r.randbytes(n)
            store[key] = model[key] = value
        assert dict(store) == model
        assert len(store) == len(model)
        sizes = store.sizes()
        assert sizes["values"] == sum(map(len, model.values()))
        assert sizes["pool_total_size"] > 0
        store.clear()
        assert store.sizes() == {"values": 0, "pool_total_size": 0, "device": 0}
        assert store._free == [(0, store._device.pages)]


def test_compressed_store_says_when_it_is_full_and_keeps_what_it_has():
    with zs.CompressedStore(capacity=4 * PAGE, nr_cpus=1) as store:
        store["a"] = TEXT * 3
        with pytest.raises(OSError, match="capacity"):
            store["b"] = TEXT * 2
        assert list(store) == ["a"]
        assert store["a"] == TEXT * 3


def test_compressed_store_over_the_limit_goes_to_the_file():
    with zs.CompressedStore(capacity=1 << 20, max_pool_percent=0, nr_cpus=1) as store:
        store["k"] = value = os.urandom(10000)
        assert store["k"] == value
        assert store.sizes()["device"] == 3 * PAGE
