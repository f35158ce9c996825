# SPDX-License-Identifier: GPL-2.0-or-later
"""Fault plans: the name that zswap_py.iaa.plan had before."""

from zswap_py.iaa.plan import *  # noqa: F403
