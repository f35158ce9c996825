# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports: their data, how it is measured, and how it is shown."""

from zswap_py.report.data import SCHEMA, Figures, Report, Unavailable, to_json
from zswap_py.report.format import size
from zswap_py.report.text import advice, headline, to_text

__all__ = [
    "SCHEMA",
    "Figures",
    "Report",
    "Unavailable",
    "advice",
    "headline",
    "size",
    "to_json",
    "to_text",
]
