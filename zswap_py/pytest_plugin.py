# SPDX-License-Identifier: GPL-2.0-or-later
"""Three fixtures for pytest. A top conftest.py loads them:

pytest_plugins = ["zswap_py.pytest_plugin"]

The plugin is not an entry point: a pytest run loads the C library only on request.

def test_my_policy(zswap_factory):
    z = zswap_factory("lz4", total_ram=1 << 24)     # a Zswap, closed at the test's end
    ...

At the test's end each Zswap is checked and closed as by zswap_py.testing.checked(),
which is the context manager for fixtures of another scope and for other harnesses.

def test_my_batches(compressor_factory, zswap_factory):
    compressor_factory("pairs", base="lzo", batch_size=2)     # until the test's end
    z = zswap_factory("pairs")
    ...

def test_my_fault(accelerator_factory, zswap_factory):
    acc = accelerator_factory(4, clock=VirtualClock(), plan=[NoAnswer(nth=3)])
    z = zswap_factory("deflate-iaa")
    ...

The accelerator is closed at the test's end, before the Zswaps that use it, even if the
test failed.
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
    """Returns a function that makes a Zswap from its arguments.

    A test may close one itself.
    """
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(checked(Zswap(*args, **kwargs)))


@pytest.fixture
def compressor_factory() -> Iterator[Callable[..., Compressor]]:
    """Returns a function that registers a compressor as register_compressor() does.

    A test may unregister one itself.
    """
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(registered(*args, **kwargs))


@pytest.fixture
def accelerator_factory(
    zswap_factory: Callable[..., Zswap],
) -> Iterator[Callable[..., Accelerator]]:
    """Returns a function that makes an Accelerator from its arguments.

    A test may close one itself.
    """
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(Accelerator(*args, **kwargs))
