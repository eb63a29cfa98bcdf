"""How figures look and how they are saved: alike, and to the same bytes from the same record. Imports are inside functions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def set_style() -> None:
    """Makes figures those of a paper, whatever was drawn before in this process; text stays text in a PDF."""
    import matplotlib

    matplotlib.use("Agg")
    import seaborn as sns

    sns.set_theme(style="ticks", context="paper", rc={"pdf.fonttype": 42})


def save(figure: Figure, folder: Path, name: str) -> None:
    """Writes `name.png` and `name.pdf`, without dates, and closes the figure."""
    import matplotlib.pyplot as plt

    for ending in ("png", "pdf"):
        figure.savefig(folder / f"{name}.{ending}", dpi=150, metadata={"CreationDate": None} if ending == "pdf" else {"Software": None})
    plt.close(figure)
