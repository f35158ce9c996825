# SPDX-License-Identifier: GPL-2.0-or-later
"""python -m zswap_py: the command line."""

import sys

from zswap_py.cli import main

sys.exit(main())
