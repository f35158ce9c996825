# SPDX-License-Identifier: GPL-2.0-or-later
"""The picture of the results of bench/batching.py, from its JSON.

python bench/batching_plot.py JSON OUT.svg     (needs the extra `plot`; .png too)
"""

from __future__ import annotations

import json
import sys
from typing import Any

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot as plt

# colours that colour-blind readers can tell apart
ONE, OWN, FOUR, GREY, INK = "#d55e00", "#e69f00", "#0072b2", "#767676", "#222222"
FITTED = ("one by one", "8 on one", "8 over four")
# markers of three sizes, so that none hides another
SERIES = {
    "1, mainline": ("one by one", ONE, "o", 9),
    "8, own device": ("batches of 8, own device", OWN, "s", 6.5),
    "8, over four": ("batches of 8, over four", FOUR, "D", 3.5),
}
SOFTWARE_LINES = {"lz4": (0, (6, 2)), "zstd": (0, (3, 2)), "deflate": (0, (1, 1.5))}

Rows = list[dict[str, Any]]


def pick(rows: Rows, **values: Any) -> Rows:
    """Returns the rows that have these values."""
    return [row for row in rows if all(row.get(key) == value for key, value in values.items())]


def note(
    ax: Any,
    text: str,
    x: float,
    y: float,
    away: tuple[int, int],
    colour: str,
    ha: str = "center",
    va: str = "baseline",
) -> None:
    """Draw a small text beside a point."""
    ax.annotate(
        text,
        (x, y),
        xytext=away,
        textcoords="offset points",
        ha=ha,
        va=va,
        fontsize=8,
        color=colour,
    )


def latency(ax: Any, rows: Rows) -> None:
    """Draw published and simulated latencies as bars, predictions for other numbers of
    devices as points.
    """
    width = 0.44
    for i, name in enumerate(FITTED):
        published = pick(rows, section="fit", kind="published", name=name)[0]["figures"]["p50_ns"]
        fitted = pick(rows, section="fit", kind="fit", name=name)[0]["figures"]["p50_ns"]
        for x, ns, colour, label in (
            (i - width / 2, published, GREY, "published, p50"),
            (i + width / 2, fitted, FOUR, "simulated (fit)"),
        ):
            ax.bar(x, ns, width * 0.94, color=colour, label=None if i else label)
            note(ax, f"{ns:,.0f}", x, ns, (0, 3), colour)
    for i, devices in enumerate((2, 8), start=len(FITTED)):
        ns = pick(rows, section="grid", batch=8, devices=devices, folio_pages=16)[0]["figures"][
            "p50_ns"
        ]
        ax.plot(
            i,
            ns,
            "D",
            ms=8,
            mfc="white",
            mec=FOUR,
            mew=1.8,
            label="predicted" if devices == 2 else None,
        )
        note(ax, f"{ns:,.0f}", i, ns, (0, 8), FOUR)
    ax.set_xticks(
        range(5), ["one by\none", "8 on\none", "8 over\nfour", "8 over\ntwo", "8 over\neight"]
    )
    ax.set_ylim(top=4000)
    ax.set_ylabel("store, ns a page")
    ax.set_title("One CPU: three latencies fitted, others predicted")
    handles, labels = ax.get_legend_handles_labels()
    # points came first
    ax.legend(handles[1:] + handles[:1], labels[1:] + labels[:1], frameon=False, loc="upper right")


def many_cpus(ax: Any, rows: Rows) -> None:
    """Draw GB/s over the number of CPUs, up to 56; software as straight lines."""
    for name, (label, colour, marker, size) in SERIES.items():
        swept = pick(rows, section="sweep", name=name)
        x, y = [row["cpus"] for row in swept], [row["figures"]["gb_s"] for row in swept]
        ax.plot(x, y, marker + "-", ms=size, lw=1.8, color=colour, label=label, zorder=3)
    for name, dashes in SOFTWARE_LINES.items():
        at_56 = pick(rows, section="software", kind="predicted", compressor=name, folio_pages=16)[0]
        gb_s, cpus = at_56["figures"]["gb_s"], at_56["cpus"]
        ax.plot([1, cpus], [gb_s / cpus, gb_s], ls=dashes, lw=1.4, color=GREY)
        note(ax, f"{name}: {gb_s:.1f}", cpus, gb_s, (9, -4), GREY, ha="left", va="center")
    swept = pick(rows, section="sweep", name="8, over four")
    last, full = swept[-1], next(row for row in swept if row["cpus"] >= 8)
    text = f"4 devices: {last['figures']['gb_s']:.1f}"
    note(ax, text, full["cpus"], full["figures"]["gb_s"], (0, 9), INK)
    eight = [
        row["figures"]["gb_s"] for row in pick(rows, section="cpus", devices=8, folio_pages=16)
    ]
    ax.plot(last["cpus"], eight[-1], "*", ms=11, color=INK, zorder=4)
    note(ax, f"8 devices: {eight[-1]:.1f}", last["cpus"], eight[-1], (-8, 4), INK, ha="right")
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=10)
    cpus = [row["cpus"] for row in pick(rows, section="sweep", name="8, over four")]
    ax.set_xticks(cpus, [str(nr) for nr in cpus])
    ax.minorticks_off()
    ax.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    ax.set_xlim(0.85, 220)
    ax.set_ylim(0.03, 100)
    ax.set_xlabel("CPUs that store at once")
    ax.set_ylabel("GB/s, all of them")
    ax.set_title("Up to 56 CPUs at once: predicted")
    ax.plot(
        [],
        [],
        ls=(0, (3, 2)),
        lw=1.4,
        color=GREY,
        label=("software, cores of another\nmachine, measured x CPUs"),
    )
    ax.legend(frameon=False, loc="lower right", fontsize=8)


def usemem(ax: Any, rows: Rows) -> None:
    """Draw usemem30 before and after, published and the model's."""
    width, folios = 0.36, {16: "64 KiB folios", 512: "2 MiB folios"}
    ticks: list[tuple[float, str]] = []
    for folio, name in folios.items():
        found = pick(rows, section="usemem30", folio_pages=folio)
        for side in ("before", "after") if found else ():
            x = len(ticks) + (folio == 512) * 0.4
            kind = "fit" if side == "before" else "predicted"
            published = pick(found, kind="published", name=side)[0]["figures"]
            model = pick(found, kind=kind, name=side)[0]["figures"]
            ax.bar(
                x - width / 2,
                published["kb_s"] / 1e6,
                width * 0.94,
                color=GREY,
                label=None if ticks else "published",
            )
            hatched = {"color": "white", "edgecolor": FOUR, "hatch": "////", "lw": 1.4}
            fill = {"color": FOUR} if kind == "fit" else hatched
            ax.bar(
                x + width / 2,
                model[f"{side}_kb_s"] / 1e6,
                width * 0.94,
                **fill,
                label={0: "model, fitted", 1: "model, predicted"}.get(len(ticks)),
            )
            for at, kb_s, gain, colour in (
                (x - width / 2, published["kb_s"], published.get("gain"), GREY),
                (x + width / 2, model[f"{side}_kb_s"], model.get("gain"), FOUR),
            ):
                text = f"{kb_s / 1e6:.2f}" + ("" if gain is None else f"\n{100 * gain:+.0f}%")
                note(ax, text, at, kb_s / 1e6, (0, 3), colour)
            ticks.append((x, f"{side}\n{name}"))
    ax.set_xticks([x for x, _ in ticks], [name for _, name in ticks])
    ax.set_ylabel("million KB/s")
    ax.set_ylim(top=ax.get_ylim()[1] * 1.24)
    explained = " and ".join(
        f"{100 * row['explained']['explained']:.0f}%" for row in rows if "explained" in row
    )
    ax.set_title(f"usemem30: store latency explains {explained} of the gain")
    ax.legend(frameon=False, loc="upper left", ncols=3, columnspacing=1.4)


def draw(document: dict[str, Any], path: str) -> None:
    """Write the picture, SVG or PNG by the name's suffix. The same document gives the
    same bytes.
    """
    style: Any = {
        "font.size": 9,
        "axes.titlesize": 10,
        "legend.fontsize": 8,
        "svg.fonttype": "none",
        "svg.hashsalt": "zswap_py",
        "hatch.color": FOUR,
        "hatch.linewidth": 0.8,
    }
    with mpl.rc_context(style):
        fig, axes = plt.subplot_mosaic(
            [["one", "many"], ["usemem", "usemem"]],
            figsize=(9.6, 6.8),
            height_ratios=(1.1, 1),
            layout="constrained",
        )
        for name, panel in {"one": latency, "many": many_cpus, "usemem": usemem}.items():
            panel(axes[name], document["rows"])
            axes[name].spines[["top", "right"]].set_visible(False)
        fig.savefig(path, metadata={"Date": None} if path.endswith("svg") else None, dpi=110)
        plt.close(fig)


if __name__ == "__main__":
    with open(sys.argv[1]) as f:
        draw(json.load(f), sys.argv[2])
    print(f"Wrote {sys.argv[2]}")
