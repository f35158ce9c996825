# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares this machine's own zswap and zram with ours."""

from zswap_py.verify.data import POOL, SCHEMA, Comparison, Verdict, to_json
from zswap_py.verify.tables import to_csv, to_markdown
from zswap_py.verify.text import headline, notes, to_text

__all__ = [
    "POOL",
    "SCHEMA",
    "Comparison",
    "Verdict",
    "headline",
    "notes",
    "to_csv",
    "to_json",
    "to_markdown",
    "to_text",
]
