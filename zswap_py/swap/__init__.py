# SPDX-License-Identifier: GPL-2.0-or-later
"""The layers above zswap: a swap device, and a mapping over it."""

from zswap_py.swap.device import SwapDevice
from zswap_py.swap.store import CompressedStore

__all__ = ["CompressedStore", "SwapDevice"]
