# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports: their data, the measuring, the words."""

from zswap_py.report.data import *  # noqa: F403
