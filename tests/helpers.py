# SPDX-License-Identifier: GPL-2.0-or-later
"""What several test files need of pytest and of this machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import zswap_py as zs

#: A command line's exit code, standard output and standard error: conftest.run.
Run = Callable[..., tuple[int, str, str]]


def of_kernel_sizes(name: str) -> None:
    """Skips the test where no backend here makes the kernel's sizes."""
    if not any(c.name == name and c.kernel_sizes for c in zs.compressors()):
        pytest.skip(f"no backend of {name} here has the kernel's sizes")
