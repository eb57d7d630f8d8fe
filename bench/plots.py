"""One plot per question, beside RESULTS.md."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

FOLDER = Path(__file__).parent / "plots"
_INK, _MUTED, _OURS, _OTHER = "#1f2933", "#7b8794", "#2f6fed", "#b8c2cc"

mpl.use("Agg")
mpl.rcParams |= {
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _MUTED,
    "xtick.color": _MUTED,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "spike",
}


def bars(
    name: str, question: str, values: Mapping[str, float], *, unit: str, budget: float | None = None, log: bool = False
) -> str:
    """Draw a bar for each value, the first one being ours; give the line of Markdown that shows it.

    Parameters
    ----------
    budget
        Where a line is drawn: what it may be at most.
    log
        For what differs by orders of magnitude.
    """
    figure, axes = plt.subplots(figsize=(7.2, 0.5 * len(values) + 1.1), layout="constrained")
    names = list(values)
    drawn = axes.barh(names, list(values.values()), color=[_OURS] + [_OTHER] * (len(names) - 1), height=0.6)
    said = [f"{value:,.3g} {unit}" if value < 10 else f"{value:,.0f} {unit}" for value in values.values()]
    axes.bar_label(drawn, said, padding=4, color=_INK)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    if log:
        axes.set_xscale("log")
    if budget is not None:
        axes.axvline(budget, color="#d64545", linewidth=1, linestyle="--")
        axes.annotate(
            f"budget {budget:,.0f} {unit}",
            (budget, 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, 4),
            textcoords="offset points",
            color="#d64545",
            fontsize=8,
        )
    return _saved(figure, axes, name, question, pad=6 if budget is None else 18)


def lines(
    name: str,
    question: str,
    x: Sequence[float],
    values: Mapping[str, Sequence[float]],
    *,
    label: str,
    flat: bool = False,
) -> str:
    """Draw a line for each series over x, both logarithmic; give the line of Markdown that shows it.

    Parameters
    ----------
    flat
        What hardly grows is drawn from zero.
    """
    figure, axes = plt.subplots(figsize=(7.2, 3.4), layout="constrained")
    for (series, y), colour in zip(values.items(), (_OURS, "#e8883a", "#3a9d6e", _MUTED), strict=False):
        axes.plot(x, y, marker="o", color=colour, label=series)
        axes.annotate(f"{y[-1]:,.0f}", (x[-1], y[-1]), xytext=(6, -3), textcoords="offset points", color=colour)
    axes.set(xscale="log", yscale="linear" if flat else "log", xlabel=label, ylabel="milliseconds")
    if flat:
        axes.set_ylim(0, 1.4 * max(max(y) for y in values.values()))
    axes.set_xticks(list(x), [f"{one:,.0f}" for one in x])
    axes.legend(frameon=False)
    return _saved(figure, axes, name, question)


def _saved(figure: Figure, axes: Axes, name: str, question: str, pad: float = 6) -> str:
    axes.set_title(question, loc="left", fontsize=11, color=_INK, pad=pad)
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)
    return f"![{question}](plots/{name}.svg)\n"
