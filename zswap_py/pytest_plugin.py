# SPDX-License-Identifier: GPL-2.0-or-later
"""For test harnesses: two fixtures. In the top conftest.py:  pytest_plugins = ["zswap_py.pytest_plugin"]

It is no entry point: what is loaded into every pytest run of everybody should not hold a C library.

def test_my_policy(zswap_factory):
    z = zswap_factory("lz4", total_ram=1 << 24)     # a Zswap, closed at the test's end
    ...

At the end each instance is checked (index, LRU, allocator and references must add up) and closed, and its pools must
have gone.

def test_my_fault(accelerator_factory, zswap_factory):
    acc = accelerator_factory(4, clock=VirtualClock(), plan=[NoAnswer(nth=3)])     # an Accelerator
    z = zswap_factory("deflate-iaa")
    ...

It is closed at the test's end, before the instances that use it, also where the test has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zswap_py.iaa import Accelerator
from zswap_py.zswap import Zswap


@pytest.fixture
def zswap_factory() -> Iterator[Callable[..., Zswap]]:
    """Makes instances, with Zswap's arguments; a test may close one itself."""
    made: list[Zswap] = []

    def make(*args: Any, **kwargs: Any) -> Zswap:
        made.append(Zswap(*args, **kwargs))
        return made[-1]

    yield make
    wrong = []
    for z in made:
        if not z.closed:
            try:
                z.verify()
            except AssertionError as e:
                wrong.append(f"{z!r}: {e}")
            pools = z.pools
            z.close()
            wrong += [f"{pool!r} was not released" for pool in pools if not pool.released.is_set()]
    if wrong:
        pytest.fail("\n".join(wrong))


@pytest.fixture
def accelerator_factory(zswap_factory: Callable[..., Zswap]) -> Iterator[Callable[..., Accelerator]]:
    """Makes accelerators, with Accelerator's arguments; a test may close one itself."""
    made: list[Accelerator] = []

    def make(*args: Any, **kwargs: Any) -> Accelerator:
        made.append(Accelerator(*args, **kwargs))
        return made[-1]

    yield make
    for accelerator in made:
        accelerator.close()
