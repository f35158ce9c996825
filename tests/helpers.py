# SPDX-License-Identifier: GPL-2.0-or-later
"""What several test files need of pytest and of this machine."""

from __future__ import annotations

import pytest

import zswap_py as zs


def of_kernel_sizes(name: str) -> None:
    """Skips the test where no backend here makes the kernel's sizes."""
    if not any(c.name == name and c.kernel_sizes for c in zs.compressors()):
        pytest.skip(f"no backend of {name} here has the kernel's sizes")
