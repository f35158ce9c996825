# SPDX-License-Identifier: GPL-2.0-or-later
"""For pytest: three fixtures. In the top conftest.py:

pytest_plugins = ["zswap_py.pytest_plugin"]

It is no entry point: no pytest run should load a C library that it did not ask for.

def test_my_policy(zswap_factory):
    z = zswap_factory("lz4", total_ram=1 << 24)     # a Zswap, closed at the test's end
    ...

At the end each instance is checked (index, LRU, allocator and references must add up)
and closed, and its pools must be released. For fixtures of another scope, and without
pytest, zswap_py.testing has the same as context managers.

def test_my_batches(compressor_factory, zswap_factory):
    compressor_factory("pairs", base="lzo", batch_size=2)     # until the test's end
    z = zswap_factory("pairs")
    ...

def test_my_fault(accelerator_factory, zswap_factory):
    acc = accelerator_factory(4, clock=VirtualClock(), plan=[NoAnswer(nth=3)])
    z = zswap_factory("deflate-iaa")
    ...

The accelerator is closed at the test's end, before the instances that use it, also
where the test has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from zswap_py.crypto import Compressor
from zswap_py.iaa import Accelerator
from zswap_py.testing import checked, registered
from zswap_py.zswap import Zswap


@pytest.fixture
def zswap_factory() -> Iterator[Callable[..., Zswap]]:
    """Makes instances, with Zswap's arguments; a test may close one itself."""
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(checked(Zswap(*args, **kwargs)))


@pytest.fixture
def compressor_factory() -> Iterator[Callable[..., Compressor]]:
    """Registers compressors, with register_compressor()'s arguments.

    A test may unregister one itself.
    """
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(registered(*args, **kwargs))


@pytest.fixture
def accelerator_factory(
    zswap_factory: Callable[..., Zswap],
) -> Iterator[Callable[..., Accelerator]]:
    """Makes accelerators, with Accelerator's arguments; a test may close one itself."""
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(Accelerator(*args, **kwargs))
