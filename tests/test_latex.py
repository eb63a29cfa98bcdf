"""Every LaTeX table compiles in a minimal document, fits its page and can be read. Needs texlive: `make system`."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks import render, tables
from benchmarks.grid import build_grid
from tests.benchmarks.test_render_golden import summary

ROOT = Path(__file__).resolve().parent.parent
TABLES = sorted([*ROOT.glob("results/**/*.tex"), *ROOT.glob("tests/benchmarks/golden/*.tex")])
SMALLEST = 0.6  # of footnotesize, 8 pt: a wider table is narrowed to the page, and its letters with it
DOCUMENT = r"""\documentclass{article}
\usepackage{booktabs,graphicx}
\let\narrowed\resizebox
\newsavebox{\wide}
\renewcommand{\resizebox}[3]{\sbox{\wide}{#3}\typeout{WIDTH \the\wd\wide\space of \the\linewidth}\narrowed{#1}{#2}{#3}}
\begin{document}
\input{TABLE}
\clearpage
\end{document}
"""


def compiled(table: Path, folder: Path) -> str:
    """Returns what pdflatex logs of a document with one table."""
    if shutil.which("pdflatex") is None:
        pytest.fail("pdflatex is not there: `make system` installs it on Debian; elsewhere install texlive with booktabs", pytrace=False)
    shutil.copy(table, folder / "table.tex")
    (folder / "document.tex").write_text(DOCUMENT.replace("TABLE", "table"))
    # no HOME, where TeX would keep bitmaps that it draws of fonts that are not there as outlines; lines of the log are not broken
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-file-line-error", "document.tex"],
        cwd=folder, capture_output=True, text=True, errors="replace", timeout=120, env={"PATH": "/usr/bin:/bin", "max_print_line": "1000"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


def fits(log: str) -> bool:
    """Says whether every table is within the page, and none was narrowed until it cannot be read."""
    widths = re.findall(r"WIDTH ([\d.]+)pt of ([\d.]+)pt", log)
    readable = all(float(line) / float(width) > SMALLEST for width, line in widths)
    return bool(widths) and readable and not re.findall(r"Overfull .*|.*Float too large.*|.*[Uu]ndefined.*", log)


@pytest.mark.parametrize("table", TABLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_compiles_and_fits_the_page(table, tmp_path):
    assert fits(compiled(table, tmp_path))
    assert (tmp_path / "document.pdf").stat().st_size > 1000


@pytest.mark.slow
def test_every_table_fits_when_all_its_cells_are_measured(tmp_path):
    """Also those whose results are not committed yet: with two seeds a cell says most."""
    texts = []
    for name in tables.TABLES:
        whole = tables.table(name)
        cost = {"seconds": {"generator": 1234.5}, "index_bytes": 123_456_789}
        summaries = [{**summary(row.key, 1.0 + place, seed=seed), **cost} for place, row in enumerate(whole.rows) for seed in (0, 1)]
        texts.append(render.latex(build_grid(whole, ["openmoji-scenes"], summaries)))
    (tmp_path / "all.tex").write_text("\\clearpage\n".join(texts))
    assert fits(compiled(tmp_path / "all.tex", tmp_path))


def test_too_wide_is_found(tmp_path):
    wide = tmp_path / "wide.tex"
    wide.write_text(TABLES[0].read_text() + r"\clearpage\rule{2\linewidth}{1pt}")
    assert not fits(compiled(wide, tmp_path))
    columns = [f"column {number}" for number in range(60)]
    wide.write_text(render.latex_float("", "l" * 60, columns, [], []))
    assert not fits(compiled(wide, tmp_path))


def test_there_are_tables_to_compile():
    assert ROOT / "results" / "openmoji-scenes" / "table1.tex" in TABLES


@pytest.mark.parametrize(
    ("fault", "told"), [(r"\undefinedcommand", "Undefined control sequence"), (r"a & b \\", "Misplaced alignment tab")]
)
def test_a_fault_is_found(fault, told, tmp_path):
    table = tmp_path / "bad.tex"
    table.write_text(TABLES[0].read_text() + fault)
    with pytest.raises(AssertionError, match=told):
        compiled(table, tmp_path)
