# SPDX-License-Identifier: GPL-2.0-or-later
"""Benchmarks find their harness beside them, wherever pytest was started."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
