# SPDX-License-Identifier: GPL-2.0-or-later
"""Sources of pages: files, cores, live processes."""

from zswap_py.sources.pages import *  # noqa: F403
from zswap_py.sources.pages import __all__ as __all__
