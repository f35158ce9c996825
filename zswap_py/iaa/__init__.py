# SPDX-License-Identifier: GPL-2.0-or-later
"""Accelerators: the driver and its tables, devices and queues, fault plans."""

from zswap_py.iaa.accelerator import *  # noqa: F403
from zswap_py.iaa.accelerator import __all__ as __all__
