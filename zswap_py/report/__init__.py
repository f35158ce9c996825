# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports: their data, how it is measured, and how it is shown."""

from zswap_py.report.advice import advice
from zswap_py.report.data import (
    SCHEMA,
    Coldness,
    Cost,
    Estimate,
    Figures,
    Group,
    GroupSavings,
    Host,
    Report,
    Sample,
    Savings,
    Unavailable,
    from_json,
    to_json,
    without_names,
)
from zswap_py.report.format import size
from zswap_py.report.tables import to_csv, to_markdown
from zswap_py.report.text import headline, to_text

__all__ = [
    "SCHEMA",
    "Coldness",
    "Cost",
    "Estimate",
    "Figures",
    "Group",
    "GroupSavings",
    "Host",
    "Report",
    "Sample",
    "Savings",
    "Unavailable",
    "advice",
    "from_json",
    "headline",
    "size",
    "to_csv",
    "to_json",
    "to_markdown",
    "to_text",
    "without_names",
]
