# SPDX-License-Identifier: GPL-2.0-or-later
"""What no caller may do: break an instance by an attribute, an argument, a copy, or a
call in the middle of another.
"""

from __future__ import annotations

import copy
import dataclasses
import errno
import gc
import inspect
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import zswap_py as zs
from zswap_py import zswap as zswap_module
from zswap_py.cpuhp import NR_CPUS, CpuHotplug, CpuhpState
from zswap_py.crypto.methods import NEWEST, Method
from zswap_py.faults import ArmedFault, Faults

PAGE = 4096
TEXT = b"it was the best of times".ljust(64) * 64


def page(i: int) -> bytes:
    return (b"%07d." % i) * 512


class Index:
    """An int by its __index__ alone."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __index__(self) -> int:
        return self.n


def shrink(src, room):
    return bytes(src[:8])


def grow(src, room):
    return (bytes(src) * PAGE)[:room]


@pytest.fixture
def z() -> Iterator[zs.Zswap]:
    with zs.Zswap("lz4", nr_cpus=2) as z:
        z.swapon(4096)
        yield z


@pytest.fixture
def register() -> Iterator[Callable[..., zs.Compressor]]:
    names = []

    def add(name: str, *args: Any, **kwargs: Any) -> zs.Compressor:
        names.append(name)
        return zs.register_compressor(name, *args, **kwargs)

    yield add
    for name in names:
        zs.unregister_compressor(name)


def errno_of(call: Callable[[], Any]) -> int | None:
    """The errno of the OSError that a call raises; None if it raises none."""
    try:
        call()
    except OSError as e:
        return e.errno
    return None


# --- attributes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("page_size", 1024),
        ("page_size", 16384),
        ("chain_size", 4),
        ("total_ram", 1 << 20),
        ("nr_cpus", 1),
        ("nr_nodes", 2),
        ("highmem", 0.5),
        ("kernel", "6.16"),
        ("series", None),
        ("incompressible", "reject"),
        ("cpu_policy", "sched"),
        ("cpuhp", CpuHotplug(1)),
    ],
)
def test_what_a_zswap_was_made_with_is_fixed(z, name, value):
    before = getattr(z, name)
    with pytest.raises(
        AttributeError,
        match=(
            rf"Zswap\.{name} is fixed at "
            rf"creation.*Zswap\({name}="
        ),
    ):
        setattr(z, name, value)
    assert getattr(z, name) == before
    z.store(0, TEXT)
    for size in (1024, 2 * PAGE):
        with pytest.raises(ValueError, match=rf"{size} bytes: must be a page of 4096"):
            z.peek(0, bytearray(size))


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("max_pool_percnt", "max_pool_percent"),
        ("shrinker_enabled", "enabled"),
        ("zpool", "pool"),
        ("zzz", None),
    ],
)
def test_an_unknown_attribute_is_told_with_those_that_there_are(z, name, near):
    with pytest.raises(
        AttributeError, match=rf"no attribute '{name}'.*it has .*max_pool_percent.*page_size"
    ) as e:
        setattr(z, name, 0)
    assert near is None or near in str(e.value)
    assert not hasattr(z, name)


def public_objects() -> Iterator[tuple[str, Any]]:
    """One object of each public class that is ours to keep whole."""
    with (
        zs.Zswap("lz4", nr_cpus=2) as z,
        zs.SwapDevice(z, 8) as device,
        zs.CompressedStore(1 << 20) as store,
    ):
        yield "Zswap", z
        yield "Pool", z.pool
        yield "Compressor", z.pool.compressor
        yield "CpuHotplug", z.cpuhp
        yield "Faults", z.faults
        yield "ArmedFault", z.faults.prepare()
        yield "SwapDevice", device
        yield "CompressedStore", store
        yield "StoreResult", device._z.store(0, TEXT)


@pytest.mark.parametrize("nth", range(9))
def test_no_attribute_of_a_public_class_can_be_replaced(nth):
    for i, (name, thing) in enumerate(public_objects()):
        if i != nth:
            continue
        assert type(thing).__name__ == name
        members = [m for m in dir(type(thing)) if not m.startswith("_")]
        assert members
        for member in members:
            static = inspect.getattr_static(type(thing), member)
            if isinstance(static, property) and static.fset:
                continue
            with pytest.raises(AttributeError, match=rf"{name}\.{member} "):
                setattr(thing, member, None)
            with pytest.raises(AttributeError):
                delattr(thing, member)
        with pytest.raises(AttributeError, match=f"a {name} has no attribute 'zzz'"):
            thing.zzz = 1


def test_what_describes_something_cannot_be_changed(z):
    for thing in (z.pool.context(0), z.pool.size_classes[0], zs.compressors()[0]):
        for name in (*(field.name for field in dataclasses.fields(thing)), "zzz"):
            with pytest.raises(AttributeError, match=name):
                setattr(thing, name, 0)


def test_a_subclass_may_add_attributes_of_its_own():
    class Mine(zs.Zswap):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__("lz4", **kwargs)
            self.log: list[str] = []

    with Mine(nr_cpus=1) as mine:
        mine.log.append("x")
        mine.note = 5
        with pytest.raises(AttributeError, match=r"Mine\.page_size is fixed at creation"):
            mine.page_size = 1024


# --- copies ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("nth", range(8))
def test_what_owns_something_is_not_copied(nth, how):
    for i, (name, thing) in enumerate(public_objects()):
        if i == nth:
            with pytest.raises(
                TypeError,
                match=(
                    rf"a {name} can be neither copied nor pickled, since .*: "
                    r"\w+"
                ),
            ):
                how(thing)


def test_a_result_can_be_copied_and_sent(z):
    for result in (z.store(0, TEXT), zs.StoreResult("reject_compress_poor")):
        for other in (copy.copy(result), copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
            assert other == result
            assert hash(other) == hash(result)
            assert other.reason == result.reason


# --- numbers --------------------------------------------------------------------------


def test_an_index_is_a_number_everywhere(z):
    out, three = bytearray(PAGE), Index(3)
    assert three not in z
    assert z.store(three, TEXT, cpu=Index(1))
    assert three in z
    assert z.length(three) > 0
    assert z.peek(three, out, cpu=Index(1))
    assert z.load(three, out, cpu=Index(0))
    assert out == TEXT
    assert z.store(three, TEXT)
    assert z.load_batch([three, 4], bytearray(2 * PAGE), cpu=Index(1)) == [0, -errno.ENOENT]
    z.invalidate(three, Index(2))
    assert z.swapon(Index(5)) == 1
    z.swapoff(Index(1))
    assert zs.swp_entry(Index(1), Index(2)) == 1 << 58 | 2
    z.memory(Index(0))
    z.max_pool_percent = Index(30)
    assert z.max_pool_percent == 30
    z.cpuhp.offline(Index(1))
    z.pool.context(Index(1))
    with zs.SwapDevice(z, Index(8)) as device:
        assert device.writeout(three, TEXT) == "zswap"
        device.read(three, out)
    with zs.Zswap(
        "lz4",
        page_size=Index(PAGE),
        nr_cpus=Index(1),
        nr_nodes=Index(1),
        chain_size=Index(4),
        total_ram=Index(1 << 24),
    ) as other:
        assert other.page_size == PAGE
    with zs.CompressedStore(Index(1 << 20)) as store:
        store["k"] = b"v"


@pytest.mark.parametrize("what", ["x", None, 1.5, object(), b"3", -1, 1 << 64])
def test_what_is_no_entry_is_not_in_a_zswap(z, what):
    assert what not in z


def test_numpy_integers_are_entries(z):
    np = pytest.importorskip("numpy")
    assert z.store(np.int64(3), TEXT)
    assert np.int64(3) in z
    assert z.load(np.int64(3), bytearray(PAGE))


# --- wrong arguments ------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path, monkeypatch):
    """A wrong argument may be a path that is made."""
    monkeypatch.chdir(tmp_path)


WRONG = [None, 5, -1, 1 << 70, "x", [1, 2], object(), b""]
REFUSED = (TypeError, ValueError, OSError, AttributeError, BufferError, IndexError)

# Values of the list that are right, so that another argument, or what they name, is
# what is refused.
RIGHT = {
    ("load_batch", "entries", "[1, 2]"),
    ("load_batch", "entries", "b''"),
    ("SwapDevice", "path", "b''"),
    ("setup", "startup", "None"),
    ("setup", "teardown", "None"),
    ("setup", "inside", "None"),
    ("run", "room", "5"),
    ("register", "base", "'x'"),
}

# A name, a public callable, and its arguments as they are right.
Call = tuple[str, Callable[..., Any], dict[str, Any]]


def calls(
    z: zs.Zswap, device: zs.SwapDevice, store: zs.CompressedStore, hp: CpuHotplug
) -> Iterator[Call]:
    out = bytearray(PAGE)
    yield "store", z.store, {"entry": 5, "folio": TEXT, "cpu": 0}
    yield "load", z.load, {"entry": 6, "out": out, "swapcache": True, "cpu": 0}
    yield "peek", z.peek, {"entry": 5, "out": out, "cpu": 0}
    yield "load_batch", z.load_batch, {"entries": [7], "out": out, "cpu": 0}
    yield "invalidate", z.invalidate, {"entry": 6, "nr": 1, "cpu": 0}
    yield "length", z.length, {"entry": 5}
    yield "memory", z.memory, {"node": 0}
    yield "swapoff", z.swapoff, {"type": 30}
    yield "swapon", z.swapon, {"pages": 5}
    yield "swp_entry", zs.swp_entry, {"type": 0, "offset": 0}
    yield "StoreResult", zs.StoreResult, {"reason": None}
    for name in ("enabled", "max_pool_percent", "accept_threshold_percent", "compressor"):
        yield (
            name,
            lambda z=z, name=name, **value: setattr(z, name, value[name]),
            {name: getattr(z, name)},
        )
    yield "context", z.pool.context, {"cpu": 0}
    good = {"nth": 1, "times": 1, "error": errno.ENOMEM, "cpu": 0}
    yield "alloc", z.faults.alloc, {"kind": "buffer", **good}
    for name in ("compress", "decompress", "prepare"):
        yield name, getattr(z.faults, name), good
    yield "flip", z.faults.flip, {"entry": 5, "byte": 0, "mask": 0}
    yield "writeout", device.writeout, {"slot": 5, "folio": TEXT}
    yield "read", device.read, {"slot": 5, "out": out}
    yield "device.peek", device.peek, {"slot": 5, "out": out}
    yield "free", device.free, {"slot": 4, "nr": 1}
    yield "SwapDevice", lambda **kw: zs.SwapDevice(**kw).close(), {"z": z, "pages": 5, "path": None}
    yield "CompressedStore", lambda **kw: zs.CompressedStore(**kw).close(), {"capacity": 5}
    yield "setitem", lambda value: store.__setitem__("k", value), {"value": b"v"}
    yield "CpuHotplug", CpuHotplug, {"nr_cpus": 6, "present": 5, "online": 5}
    for name in ("state", "online", "offline"):
        yield name, getattr(hp, name), {"cpu": 0} if name != "offline" else {"cpu": 1}
    state = CpuhpState.MM_ZSWP_POOL_PREPARE
    yield "fail", hp.fail, {"cpu": 0, "state": None, "error": -errno.EIO}
    callbacks = {"startup": None, "teardown": None, "inside": None}
    yield "setup", hp.setup_state_multi, {"state": state, "name": "t", **callbacks}
    yield "add", hp.add_instance, {"state": state, "node": 1}
    yield "remove", hp.remove_instance, {"state": state, "node": 1}
    yield "remove_state", hp.remove_state, {"state": state}
    yield "alg", z.pool.compressor.alg, {"method": NEWEST}
    yield "choose", z.pool.compressor.choose, {"method": NEWEST}
    yield "kernel_sizes_at", z.pool.compressor.kernel_sizes_at, {"page_size": PAGE}
    yield (
        "run",
        z.pool.compressor.run,
        {"compress": True, "src": TEXT, "room": PAGE, "method": NEWEST},
    )
    yield (
        "Zswap",
        lambda **kw: zs.Zswap(**kw).close(),
        {
            "compressor": "lz4",
            "enabled": True,
            "max_pool_percent": 20,
            "accept_threshold_percent": 90,
            "page_size": PAGE,
            "chain_size": 8,
            "total_ram": 1 << 24,
            "nr_cpus": 5,
            "nr_nodes": 1,
            "highmem": 0.0,
            "cpuhp": None,
            "incompressible": None,
            "kernel": "6.18",
            "series": "v10",
            "cpu_policy": "sticky",
        },
    )

    def register(**kw: Any) -> None:
        zs.register_compressor(**kw)
        zs.unregister_compressor(kw["name"])

    yield "register", register, {"name": "misused", "base": "lz4", "batch_size": 1}
    yield (
        "register2",
        register,
        {"name": "misused", "compress": shrink, "decompress": grow, "batch_size": 1},
    )
    yield "unregister", zs.unregister_compressor, {"name": "misused"}


def test_each_wrong_argument_is_refused_by_its_name_and_nothing_breaks(z):
    hp = CpuHotplug(6)
    wrong, tried = [], 0
    with zs.SwapDevice(z, 64) as device, zs.CompressedStore(1 << 20, nr_cpus=1) as store:
        for i in range(16):
            z.store(i, page(i))
            device.writeout(i, page(i))
        for name, call, good in calls(z, device, store, hp):
            for parameter in good:
                for value in WRONG:
                    tried += 1
                    try:
                        call(**{**good, parameter: value})
                    except KeyError:
                        pass  # a slot that holds nothing, a compressor that is not registered
                    except REFUSED as e:
                        if parameter not in str(e) and (name, parameter, repr(value)) not in RIGHT:
                            wrong.append(f"{name}({parameter}={value!r}): {e!r} does not name it")
                    except BaseException as e:
                        wrong.append(f"{name}({parameter}={value!r}): {e!r}")
        z.enabled, z.max_pool_percent, z.accept_threshold_percent, z.compressor = (
            True,
            20,
            90,
            "lz4",
        )
        z.check()
        out = bytearray(PAGE)
        assert z.store(100, TEXT)
        assert z.load(100, out)
        assert out == TEXT
        store["k"] = TEXT
        assert store["k"] == TEXT
    assert tried > 500
    assert not wrong, "\n".join(wrong)


def test_every_public_method_is_tried_with_wrong_arguments(z):
    """A method that takes arguments is in the table above, or it is not public."""
    with zs.SwapDevice(z, 64) as device, zs.CompressedStore(1 << 20, nr_cpus=1) as store:
        tried = {
            getattr(call, "__qualname__", "")
            for _, call, _ in calls(z, device, store, CpuHotplug(2))
        }
    for cls in (zs.Zswap, zs.Pool, zs.SwapDevice, zs.Compressor, CpuHotplug, Faults, ArmedFault):
        for name, method in vars(cls).items():
            if name.startswith("_") or not inspect.isfunction(method):
                continue
            if len(inspect.signature(method).parameters) > 1:
                assert f"{cls.__name__}.{name}" in tried
    taken = next(
        good for name, _, good in calls(z, device, store, CpuHotplug(2)) if name == "Zswap"
    )
    assert set(taken) == set(inspect.signature(zs.Zswap).parameters)


@pytest.mark.parametrize("value", ["x" * PAGE, [0] * PAGE, PAGE, None])
def test_a_page_that_is_no_buffer_is_named(z, value):
    with pytest.raises(TypeError, match="folio="):
        z.store(0, value)
    for call in (z.load, z.peek, lambda entry, out: z.load_batch([entry], out)):
        with pytest.raises(TypeError, match="out="):
            call(0, value)


@pytest.mark.parametrize("other", [True, False, 1, "pool_limit_hit"])
def test_a_result_is_not_compared_with_what_it_is_not(z, other):
    result = z.store(0, TEXT)
    with pytest.raises(TypeError, match="if result"):
        result == other  # noqa: B015
    with pytest.raises(TypeError, match="if result"):
        assert other != result


@pytest.mark.parametrize("value", [None, 1.0, [], b"Y"])
def test_enabled_is_a_switch_and_nothing_else(z, value):
    with pytest.raises(TypeError, match="enabled="):
        z.enabled = value
    with pytest.raises(TypeError, match="enabled="):
        zs.Zswap("lz4", enabled=value)
    assert z.enabled


@pytest.mark.parametrize("value", [2, -1, 1 << 70])
def test_enabled_takes_the_kernels_numbers(z, value):
    with pytest.raises(OSError, match="enabled=") as e:
        z.enabled = value
    assert e.value.errno == errno.EINVAL


@pytest.mark.parametrize("nr_cpus", [0, -1, NR_CPUS + 1, 1 << 20, 1 << 70])
def test_cpus_are_as_many_as_linux_can_have(nr_cpus):
    for make in (CpuHotplug, lambda nr_cpus: zs.Zswap("lz4", nr_cpus=nr_cpus)):
        with pytest.raises(ValueError, match=rf"{str(nr_cpus)[:5]}.*(8192|CPUs)"):
            make(nr_cpus)


# --- what is stored in a CompressedStore, and what a device leaves behind -------------


def test_a_value_is_bytes_and_a_capacity_is_positive():
    with zs.CompressedStore(1 << 20, nr_cpus=1) as store:
        for value in (5, "text", None, [1, 2]):
            with pytest.raises(TypeError, match="value="):
                store["k"] = value
        assert "k" not in store
        store["k"] = memoryview(b"abcdef")[::2]
        assert store["k"] == b"ace"
    with pytest.raises(ValueError, match="capacity=-1"):
        zs.CompressedStore(-1)


def test_a_value_that_could_not_be_written_takes_no_room():
    hp = CpuHotplug(2, online=1)
    with zs.CompressedStore(8 * PAGE, cpuhp=hp) as store:
        store["a"] = TEXT
        before = list(store._free)
        hp.online(1)
        hp.offline(0)  # CPU 1 has no context: it came up after the pool was made
        with pytest.raises(OSError) as e:
            store["b"] = TEXT * 4
        assert e.value.errno == errno.ENODEV
        assert store._free == before
        assert list(store) == ["a"]
        hp.online(0)
        hp.offline(1)
        store["c"] = TEXT * 7
        assert store["a"] == TEXT


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_a_device_that_is_dropped_leaves_no_descriptor(z):
    before = descriptors()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(20):
            zs.SwapDevice(z, 8)
            z.swapoff(1 if 1 in {zs.SwapDevice(z, 1).type} else 2)
    assert descriptors() == before


def test_a_store_that_is_dropped_leaves_no_descriptor():
    before = descriptors()
    for _ in range(20):
        store = zs.CompressedStore(1 << 20, nr_cpus=1)
        store["k"] = b"v"
    del store
    assert descriptors() == before


def test_a_device_that_cannot_be_made_leaves_nothing(z, tmp_path):
    before = descriptors()
    for path, pages in ((tmp_path / "no" / "file", 8), (None, 1 << 60), (None, 0)):
        with pytest.raises((OSError, ValueError)):
            zs.SwapDevice(z, pages, path)
    for arguments in ({"capacity": -1}, {"compressor": "bogus"}):
        with pytest.raises((OSError, ValueError)):
            zs.CompressedStore(**arguments)
    assert descriptors() == before
    assert z.swapon(1) == 1


# --- calls in the middle of a call ----------------------------------------------------


def nested_calls(z: zs.Zswap) -> list[Callable[[], Any]]:
    """All that must not wait while this thread holds a context."""
    return [
        lambda: z.store(0, TEXT),
        lambda: z.load(0, bytearray(PAGE)),
        lambda: z.load_batch([0, 1], bytearray(2 * PAGE)),
        lambda: z.invalidate(0),
        lambda: z.pool.cpus,
        lambda: z.pool.context(0),
        lambda: z.pool.refs,
        lambda: z.pool.size_classes,
        lambda: z.cpuhp.offline(1),
        lambda: z.cpuhp.online(1),
        lambda: z.cpuhp.fail(1, None),
        lambda: setattr(z, "compressor", "lzo"),
        z.close,
        z.check,
        z.stats,
        lambda: z.swapoff(0),
        lambda: z.swapon(1),
        z.trim,
        z.memory,
    ]


@pytest.mark.parametrize("series", [None, "v10", "v13"])
@pytest.mark.parametrize(
    "busy",
    [lambda z: z.pool.cpus, lambda z: z.cpuhp.offline(0), lambda z: z.close()],
    ids=["cpus", "offline", "close"],
)
def test_a_compressor_is_refused_what_would_wait_for_it(register, series, busy):
    """Also while another thread has the locks that these calls take, and waits for the
    compressor's context.
    """
    inside, go, seen = threading.Event(), threading.Event(), []

    def compress(src, room):
        inside.set()
        assert go.wait(10)
        seen.extend(errno_of(call) for call in nested_calls(z))
        return shrink(src, room)

    register("nesting", compress, grow)
    z = zs.Zswap("nesting", nr_cpus=2, series=series)
    z.swapon(64)
    store = threading.Thread(target=lambda: z.store(8, b"8 bytes." * 512, cpu=0))
    other = threading.Thread(target=busy, args=(z,))
    store.start()
    assert inside.wait(10)
    other.start()
    time.sleep(0.1)  # it waits for the context, or has been and gone
    go.set()
    store.join(20)
    other.join(20)
    assert not store.is_alive()
    assert not other.is_alive()
    assert seen == [errno.EDEADLK] * len(nested_calls(z))
    if not z.closed:
        assert z.pool.tfm_name == "nesting"
        z.check()
    z.close()


def outer_load_batch(z: zs.Zswap) -> None:
    """16 pages by one call, in the middle of which another is made: each slot's own
    page, and no other slot freed.

    Twice, since the second call has the first one's memory for its arguments.
    """
    for i in range(64):
        assert z.store(i, page(i))
    out = bytearray(16 * PAGE)
    for first in (0, 16):
        assert z.load_batch(range(first, first + 16), out) == [0] * 16
        assert out == b"".join(map(page, range(first, first + 16)))
        assert [i for i in range(64) if i in z] == list(range(first + 16, 64))
    z.check()


def test_a_compressor_that_loads_a_batch_does_not_disturb_the_one_it_is_in(register):
    nested = []

    def decompress(src, room):
        nested.append(errno_of(lambda: z.load_batch(range(40, 56), bytearray(16 * PAGE))))
        return grow(src, room)

    register("nesting", shrink, decompress, batch_size=8)
    with zs.Zswap("nesting", nr_cpus=1) as z:
        z.swapon(64)
        outer_load_batch(z)
    assert nested == [errno.EDEADLK] * 32


def test_a_del_that_loads_a_batch_does_not_disturb_the_one_it_is_in(register):
    nested = []

    class Dying:
        def __del__(self):
            nested.append(errno_of(lambda: z.load_batch(range(40, 56), bytearray(16 * PAGE))))

    def decompress(src, room):
        Dying()
        return grow(src, room)

    register("nesting", shrink, decompress, batch_size=8)
    with zs.Zswap("nesting", nr_cpus=1) as z:
        z.swapon(64)
        outer_load_batch(z)
    assert nested == [errno.EDEADLK] * 32


def test_a_signal_handler_that_loads_a_batch_does_not_disturb_the_one_it_is_in(register):
    nested = []

    def handler(signum, frame):
        nested.append(errno_of(lambda: z.load_batch(range(40, 56), bytearray(16 * PAGE))))

    def decompress(src, room):
        signal.raise_signal(signal.SIGUSR1)
        return grow(src, room)

    register("nesting", shrink, decompress, batch_size=8)
    old = signal.signal(signal.SIGUSR1, handler)
    try:
        with zs.Zswap("nesting", nr_cpus=1) as z:
            z.swapon(64)
            outer_load_batch(z)
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert nested == [errno.EDEADLK] * 32


def test_an_entry_whose_index_loads_a_batch_does_not_disturb_the_one_it_is_for(z):
    class Loads:
        def __init__(self, n: int) -> None:
            self.n = n

        def __index__(self) -> int:
            assert z.load_batch([32 + self.n], bytearray(PAGE)) == [0]
            return self.n

    for i in range(64):
        z.store(i, page(i))
    out = bytearray(8 * PAGE)
    assert z.load_batch([Loads(i) for i in range(8)], out) == [0] * 8
    assert out == b"".join(map(page, range(8)))
    assert [i for i in range(64) if i in z] == [*range(8, 32), *range(40, 64)]


def test_a_signal_handler_before_and_after_the_c_call_disturbs_no_batch(z, monkeypatch):
    """Python runs a handler between any two steps: here just before C reads the
    arguments, and just after it wrote.
    """
    nested, handling = [], [False]

    def handler(signum, frame):
        if handling[0]:
            return
        handling[0] = True
        nested.append(z.load_batch([9, 8, 7], bytearray(3 * PAGE)))
        handling[0] = False

    def interrupted(*args: Any) -> int:
        signal.raise_signal(signal.SIGUSR1)
        rc = load_batch(*args)
        signal.raise_signal(signal.SIGUSR1)
        return rc

    load_batch = zswap_module._load_batch
    out = bytearray(4 * PAGE)
    old = signal.signal(signal.SIGUSR1, handler)
    try:
        for _ in range(2):
            for i in (0, 2, 7):
                assert z.store(i, page(i))
            assert z.load_batch([0, 1, 2, 3], out) == [0, -errno.ENOENT, 0, -errno.ENOENT]
            assert (out[:PAGE], out[2 * PAGE : 3 * PAGE]) == (page(0), page(2))
            monkeypatch.setattr(zswap_module, "_load_batch", interrupted)
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert nested == [[-errno.ENOENT, -errno.ENOENT, 0], [-errno.ENOENT] * 3]
    z.check()


@pytest.mark.parametrize(
    "call",
    [lambda z: setattr(z, "compressor", "zstd"), lambda z: z.close()],
    ids=["switch", "close"],
)
def test_a_signal_handler_in_the_middle_of_a_switch_changes_no_pool(call):
    """A switch writes to the log when it has made a pool, which is not current yet."""
    seen = []

    class Interrupting(logging.Handler):
        def emit(self, record):
            if "created" in record.msg:
                signal.raise_signal(signal.SIGUSR1)

    interrupting, log = Interrupting(), logging.getLogger("zswap_py")
    with zs.Zswap("lz4", nr_cpus=2) as z:
        z.swapon(64)
        z.store(0, TEXT)
        old = signal.signal(
            signal.SIGUSR1, lambda signum, frame: seen.append(errno_of(lambda: call(z)))
        )
        level = log.level
        log.addHandler(interrupting)
        log.setLevel(logging.DEBUG)
        try:
            z.compressor = "lzo"
        finally:
            log.setLevel(level)
            log.removeHandler(interrupting)
            signal.signal(signal.SIGUSR1, old)
        assert seen == [errno.EDEADLK]
        assert (z.compressor, z.pool.tfm_name, len(z.pools)) == ("lzo", "lzo", 2)
        assert not z.closed
        assert z.load(0, bytearray(PAGE))
        z.check()


def test_a_callback_of_a_cpu_changes_no_cpu():
    hp, seen = CpuHotplug(3), []

    def startup(cpu, node):
        seen.append(
            [errno_of(lambda: hp.offline(2)), errno_of(lambda: hp.add_instance(state, "b"))]
        )
        return 0

    state = CpuhpState.MM_ZSWP_POOL_PREPARE
    hp.setup_state_multi(state, "t", startup, None)
    hp.add_instance(state, "a")
    assert seen == [[errno.EDEADLK] * 2] * 3
    assert hp.online_cpus == (0, 1, 2)


# --- one thread's end of what another uses --------------------------------------------


def test_close_while_another_thread_switches_the_compressor():
    """Each switch is whole, or says that the instance is closed; no pool is made on
    what was released.
    """
    specs = ["lzo", "lz4", "zstd", "deflate", "lzo-rle"]
    for turn in range(30):
        series = (None, "v10", "v13")[turn % 3]
        z = zs.Zswap("lzo", nr_cpus=2, series=series)
        z.swapon(256)
        seen: list[BaseException] = []
        started = threading.Barrier(4)

        def switch(n, z=z, seen=seen, started=started):
            started.wait(10)
            try:
                for i in range(10_000):
                    z.compressor = specs[(n + i) % len(specs)]
                    z.store(n * 64 + i % 64, TEXT)
            except BaseException as e:
                seen.append(e)  # noqa: B023

        threads = [threading.Thread(target=switch, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        started.wait(10)
        time.sleep(0.002 * (turn % 10))
        z.close()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        assert [type(e) for e in seen] == [ValueError] * 3, seen
        assert all("closed" in str(e) for e in seen), seen
        assert z.pools == ()
        assert z.cpuhp.states() == {}


def test_a_device_that_is_closed_under_a_writer_writes_to_no_other_file(z, tmp_path):
    """The descriptor lives until the last call that uses it has returned, so its number
    is nobody else's.
    """
    z.enabled = False
    for turn in range(20):
        device = zs.SwapDevice(z, 64)
        victim = tmp_path / f"victim{turn}"
        seen: list[BaseException] = []

        def write(device=device, seen=seen):
            try:
                while True:
                    device.writeout(0, TEXT * 64)
            except BaseException as e:
                seen.append(e)  # noqa: B023

        thread = threading.Thread(target=write)
        thread.start()
        time.sleep(0.002)
        device.close()
        with open(victim, "wb") as f:
            f.flush()
            thread.join(20)
        assert [type(e) for e in seen] == [ValueError]
        assert victim.stat().st_size == 0


def test_a_close_that_was_interrupted_is_gone_on_with(monkeypatch):
    z = zs.Zswap("lz4", nr_cpus=1, series="v13")
    z.swapon(64)
    z.store(0, TEXT)
    pool = z.pool
    interrupts = [
        (CpuHotplug, "remove_instance"),
        (zs.Pool, "_destroy"),
        (CpuHotplug, "remove_state"),
    ]
    for owner, name in interrupts:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, lambda *args: signal.raise_signal(signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                z.close()
        assert z.closed
    z.close()
    assert pool.released.is_set()
    assert z.cpuhp.states() == {}


def test_a_close_in_the_middle_of_a_close_returns(monkeypatch):
    z, seen = zs.Zswap("lz4", nr_cpus=1), []
    close = z._pools.close
    monkeypatch.setattr(z._pools, "close", lambda: (seen.append(z.close()), close()))
    z.close()
    assert seen == [None]
    assert z.pools == ()


FORK = """
import os, threading
import zswap_py as zs
z = zs.Zswap("lz4", nr_cpus=2, series={series!r})
held, done = threading.Event(), threading.Event()
def hold():
    with z.cpuhp.lock:
        held.set()
        done.wait()
thread = threading.Thread(target=hold)
thread.start()
held.wait()
pid = os.fork()
if pid == 0:
    z.cpuhp.offline(1)
    z.cpuhp.fail(1, None)
    z.close()
    os._exit(0)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
done.set()
thread.join()
z.cpuhp.offline(1)
z.close()
raise SystemExit(status)
"""


@pytest.mark.parametrize("series", [None, "v10"])
def test_the_cpus_of_a_forked_child_wait_for_no_thread_of_the_parent(series):
    code = FORK.format(series=series)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], timeout=60, check=False, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")


# --- compressors in Python ------------------------------------------------------------


def test_a_compressor_may_keep_what_it_was_given(register):
    kept = []

    def compress(src, room):
        kept.append(src)
        return shrink(src, room)

    register("keeping", compress, grow)
    with zs.Zswap("keeping", nr_cpus=1) as z:
        z.swapon(64)
        for i in range(32):
            z.store(i, page(i))
    gc.collect()
    assert [bytes(src) for src in kept] == [page(i) for i in range(32)]
    assert all(src.readonly for src in kept)


def test_a_result_is_as_long_as_its_bytes_whatever_it_says(register):
    class Liar(bytes):
        def __len__(self):
            return 4000

    register("lying", lambda src, room: Liar(b"8 bytes."), grow)
    with zs.Zswap("lying", nr_cpus=1) as z:
        z.swapon(64)
        z.store(0, page(0))
        assert z.length(0) == 8


def test_what_a_compressor_raises_outside_of_a_pool_is_told_once(register, z):
    def fails(src, room):
        raise RuntimeError("mine")

    mine = register("failing", fails, fails)
    with pytest.raises(RuntimeError, match="mine"):
        mine.run(True, TEXT, PAGE)
    assert z.store(0, TEXT)


@pytest.mark.parametrize("variant", [-1, 3, 99])
def test_a_variant_that_is_none(variant):
    with pytest.raises(ValueError, match="variant="):
        zs.Zswap("zstd", nr_cpus=1).pool.compressor.run(True, TEXT, PAGE, Method(variant))


# --- messages, and faults of a CPU ----------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "backend"), [("mine", "lz4:kernel"), ("lz4:liblz4", "liblz4"), (" lzo ", "kernel")]
)
def test_messages_name_the_compressor_as_it_was_asked_for(register, caplog, asked, backend):
    register("mine", base="lz4")
    with zs.Zswap(asked, nr_cpus=2) as z:
        assert z.pool.backend == backend
        z.swapon(64)
        z.store(7, TEXT)
        with z.faults.decompress(), pytest.raises(OSError):
            z.load(7, bytearray(PAGE))
        assert f"(0:7 {asked.strip()} " in caplog.text
    caplog.clear()
    with zs.Zswap("deflate", nr_cpus=2) as z:
        for kind, says in (("acomp", "crypto acomp {} :"), ("request", "crypto acomp_request {}")):
            with z.faults.alloc(kind), pytest.raises(OSError):
                z.compressor = asked
            assert says.format(asked.strip()) in caplog.text


@pytest.mark.parametrize("kind", ["acomp", "request", "array", "buffer"])
@pytest.mark.parametrize("series", [None, "v10", "v13"])
def test_a_fault_of_a_cpu_strikes_where_its_context_is_made(series, kind):
    with zs.Zswap("lz4", nr_cpus=4, series=series) as z:
        before = z.memory()
        with z.faults.alloc(kind, cpu=2) as fault, pytest.raises(OSError):
            z.compressor = "lzo"
        assert fault.hits == 1
        assert (z.compressor, z.memory()) == ("lz4", before)
        with z.faults.alloc(kind, cpu=2, times=0) as fault:
            if series is None:
                z.cpuhp.offline(1)
                z.cpuhp.online(1)
                assert fault.hits == 0
                z.cpuhp.offline(2)
                with pytest.raises(OSError):
                    z.cpuhp.online(2)
                assert fault.hits == 1


@pytest.mark.parametrize("cpu", [-1, 4, 1 << 40])
def test_a_fault_of_a_cpu_that_is_none(cpu):
    with zs.Zswap("lz4", nr_cpus=4) as z:
        for make in (
            lambda: z.faults.alloc("buffer", cpu=cpu),
            lambda: z.faults.compress(cpu=cpu),
            lambda: z.faults.decompress(cpu=cpu),
            lambda: z.faults.prepare(cpu=cpu),
        ):
            with pytest.raises(ValueError, match=f"cpu={cpu}"):
                make()


@pytest.mark.parametrize(("byte", "mask"), [(-1, 255), (1, -1), (1, 256), (1 << 32, 1)])
def test_a_flip_of_what_is_no_byte(z, byte, mask):
    z.store(1, TEXT)
    with pytest.raises(ValueError, match=r"byte=|mask="):
        z.faults.flip(1, byte, mask)
    with pytest.raises(ValueError, match="mask=-1"):
        z.faults.flip(1, 0, -1)
    assert z.load(1, bytearray(PAGE))
