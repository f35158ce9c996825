# SPDX-License-Identifier: GPL-2.0-or-later
"""For test harnesses: the fixture `zswap_factory`. In the top conftest.py:  pytest_plugins = ["zswap_py.pytest_plugin"]

It is no entry point: what is loaded into every pytest run of everybody should not hold a C library.

def test_my_policy(zswap_factory):
    z = zswap_factory("lz4", total_ram=1 << 24)     # a Zswap, closed at the test's end
    ...

At the end each instance is checked (index, LRU, allocator and references must add up) and closed, and its pools must
have gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

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
