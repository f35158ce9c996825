# SPDX-License-Identifier: GPL-2.0-or-later
"""Draws the README's picture: the pool size after each step of stores, loads, rewrites
and frees, the kernel's and ours.

    python bench/plot_churn.py docs/churn.svg     (needs the extra `plot`; .png too)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl

import zswap_py as zs

mpl.use("svg" if sys.argv[-1].endswith("svg") else "agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from corpus import churn, corpus  # noqa: E402

STEPS = [
    "store\nall",
    "load\na third",
    "rewrite and\nstore it",
    "free\na fifth",
    "load\na quarter",
    "store it\nagain",
]
COLOURS = {"lzo": "#0072b2", "deflate": "#d55e00"}  # safe for colour-blind readers
MIB = 1 << 20


def main() -> None:
    recorded = json.loads((ROOT / "tests" / "data" / "kernel_figures.json").read_text())
    plt.rcParams.update({"font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "zswap_py"})
    fig, ax = plt.subplots(figsize=(7.2, 3.5), layout="constrained")
    worst = 0
    for name, colour in COLOURS.items():
        kernel = [step["pool_total_size"] for step in recorded["corpus:1"][f"churn:{name}"]]
        pages = corpus(1)
        with zs.Zswap(name, nr_cpus=1) as z:
            z.swapon(len(pages))
            ours = [step["pool_total_size"] for step in churn(z, pages)]
        worst = max(worst, *(abs(a - b) for a, b in zip(kernel, ours, strict=True)))
        x = range(len(STEPS))
        linux = recorded["kernel"].split("-")[0]
        ax.plot(
            x,
            [v / MIB for v in kernel],
            "o",
            ms=13,
            mfc="none",
            mec=colour,
            mew=1.6,
            label=f"{name}, Linux {linux}",
        )
        ax.plot(
            x, [v / MIB for v in ours], ".-", ms=7, lw=1, color=colour, label=f"{name}, zswap_py"
        )
        for i, v in enumerate(ours):
            ax.annotate(
                f"{v:,}",
                (i, v / MIB),
                xytext=(0, 11),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=colour,
            )
    ax.set_xticks(range(len(STEPS)), STEPS)
    ax.margins(x=0.08)
    ax.set_ylabel("pool_total_size, MiB")
    ax.set_ylim(bottom=0, top=ax.get_ylim()[1] * 1.08)
    ax.set_title(
        f"2,000 pages stored, loaded, rewritten and freed: largest difference {worst} bytes",
        fontsize=10.5,
    )
    ax.legend(ncols=2, loc="lower center", frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    fig.savefig(
        sys.argv[1], metadata={"Date": None} if sys.argv[1].endswith("svg") else None, dpi=110
    )
    print(f"Wrote {sys.argv[1]}: largest difference {worst} bytes")


if __name__ == "__main__":
    main()
