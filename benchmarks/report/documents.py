"""What stands in a results folder, as HTML: tables from the grids that Markdown is printed from, other texts from their Markdown, figures.

HTML that these functions return is escaped: it goes into the page as it is.
"""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import campaign, results_folder, tables
from benchmarks.datasets import FIVE, dataset_names
from benchmarks.render import HTML, laid_out, title
from benchmarks.user_error import UserError

VERDICTS = "supported|not supported|inconclusive"
PICTURES = {
    "codes": "Four panels, a colour a row: share of tokens in use and perplexity over the levels of an identifier, mean cosine over the "
    "vokens decoded, and the mean number of leading tokens that near and random images share.",
    "figure4": "Four panels, a line a way to search, over the number of images: queries per second one at a time and in batches, "
    "milliseconds of search alone, and queries per second in random and clustered galleries.",
    "figure5": "Pairs of pictures with their vokens and captions, a band for each number of leading vokens shared.",
    "training-size": "R@1 over the number of training scenes, a line with intervals for each row.",
    "decoding": "Queries per second over beams, queries at once and images, a panel each, a line for each way to decode or search.",
}
"""What a figure shows, by what its name begins with or by its folder."""
KEPT = (".md", ".csv", ".tex", ".pdf", ".png")


@dataclass(frozen=True, kw_only=True)
class Document:
    """A Markdown text or a figure, or both of one name.

    Args:
        lead: HTML of the first paragraph, which says what it is.
        body: HTML of what follows.
        picture: name of the figure's PNG file, and `alt` what it shows.
        files: (ending, path in the page's folder) of all that has this name.
    """

    name: str
    heading: str
    lead: str = ""
    body: str = ""
    picture: str = ""
    alt: str = ""
    files: Sequence[tuple[str, str]] = ()


def measured_tables(
    dataset: str, summaries: Sequence[dict[str, Any]], options: str, results: Path
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Returns tables of which some row was measured, as `laid_out` gives them, and {"title", "caption", "command"} of the others.

    Each measured one has {"name", "command", "missing": keys of rows} besides; `options` are those of the commands.

    Args:
        results: where the record of speed lies.
    """
    found, absent = [], []
    rows = {summary["row"] for summary in summaries}
    for name in tables.TABLES:
        table = tables.table(name)
        applying = [row.key for row in table.rows if row.applies_to(dataset)]
        command = f"python -m benchmarks.run {name} {options}"
        if rows & set(applying):
            missing = [key for key in applying if key not in rows]
            grid = results_folder.grid(table, [dataset], campaign.Measured(summaries=list(summaries)), results)
            found.append({"name": name, "command": command, "missing": missing, **laid_out(grid, HTML)})
        elif applying:
            absent.append({"title": title(name), "caption": table.caption, "command": command})
    return found, absent


def documents(folder: Path, into: Path, beside: str) -> list[Document]:
    """Returns all texts and figures of a folder but the tables, after copying them and the tables' files.

    Args:
        into: the page's folder; files go to `beside` in it.
    """
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.glob("*")):
        if path.is_file() and path.suffix in KEPT:
            found.setdefault(path.stem, {})[path.suffix] = path
    if found:
        (into / beside).mkdir(parents=True, exist_ok=True)
    shown = []
    for name, paths in found.items():
        for path in paths.values():
            shutil.copyfile(path, into / beside / path.name)
        if name in tables.TABLES or not {".md", ".png"} & set(paths):
            continue
        files = [(ending[1:], f"{beside}/{path.name}") for ending, path in sorted(paths.items())]
        shows = next((text for key, text in PICTURES.items() if name.startswith(key) or folder.name == key), f"Figure {name}.")
        heading, lead, body = markdown(_text(paths[".md"])) if ".md" in paths else ("", "", "")
        shown.append(
            Document(
                name=name,
                heading=heading or name.replace("-", " ").capitalize(),
                lead=lead,
                body=body.strip(),
                picture=f"{beside}/{paths['.png'].name}" if ".png" in paths else "",
                alt=f"{shows} The numbers follow." if body.strip() else shows,
                files=files,
            )
        )
    return shown


def of_no_dataset(results: Path) -> list[Path]:
    """Returns the folders of results that no data set has a part in: not named for one, and without runs and tables, e.g. `decoding`."""
    return [
        folder
        for folder in sorted(results.glob("*"))
        if folder.is_dir()
        and folder.name.partition("@")[0].removesuffix(FIVE) not in dataset_names()
        and not (folder / "runs").is_dir()
        and not any((folder / f"{name}.md").is_file() for name in tables.TABLES)
    ]


def absent_figures(dataset: str, found: Sequence[Document], results: Path, data: str, rules: str) -> list[tuple[str, str]]:
    """Returns (title, command) of the paper's measured figures that are not there. Speed depends on no protocol: a data set has one
    Figure 4, which is not absent where it stands in another folder.

    Args:
        found: in the data set's own folder.
        data, rules: options of commands that name the data set and the protocol.
    """
    options = {"figure4": data, "figure5": data + rules}
    there = {name for name in options if any(document.name.startswith(name) for document in found)}
    there |= {"figure4"} if (results / dataset / "figure4.md").is_file() else set()
    return [(title(name), f"python -m benchmarks.run {name} {own}") for name, own in options.items() if name not in there]


def table_files(folder: Path, name: str, beside: str) -> list[tuple[str, str]]:
    """Returns (ending, path in the page's folder) of a table's own files."""
    return [(ending[1:], f"{beside}/{name}{ending}") for ending in KEPT if (folder / f"{name}{ending}").is_file()]


def markdown(text: str) -> tuple[str, str, str]:
    """Returns the heading, as plain text, and HTML of the first paragraph, without its tags, and of the rest.

    The heading is what the first paragraph begins with in bold: `**Decoding.** Queries per second …`; a heading of Markdown counts too.
    HTML in the text is shown, and does nothing.
    """
    from markdown_it import MarkdownIt

    # figures are shown from their files; a picture in a text would be looked for beside the page
    made = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render(text)
    made = made.replace("<th>", '<th scope="col">').replace("<th style", '<th scope="col" style')
    made = re.sub(r"<table>.*?</table>", lambda found: _scrolled(found[0]), made, flags=re.DOTALL)
    forms = (r"\s*<h\d>(.*?)</h\d>\s*(?:<p>(.*?)</p>)?", r"\s*<p><strong>(.*?)\.?</strong>(.*?)</p>", r"\s*()<p>(.*?)</p>")
    begin = next((found for form in forms if (found := re.match(form, made, flags=re.DOTALL))), None)
    return (_plain(begin[1]), begin[2] or "", made[begin.end() :]) if begin else ("", "", made)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text: delete it or render again") from error


def _scrolled(table: str) -> str:
    """A wide table scrolls in a box of its own, which the keyboard must reach; the first cell of a line is its heading."""
    rows = re.sub(r"<tr>\s*<td([^>]*)>(.*?)</td>", r'<tr><th scope="row"\1>\2</th>', table, flags=re.DOTALL)
    rows = re.sub(rf"<td([^>]*)>(?:<strong>)?({VERDICTS})(?:</strong>)?</td>", r'<td\1 data-verdict="\2"><strong>\2</strong></td>', rows)
    return f'<div class="scrolled" tabindex="0" role="region" aria-label="Table, scrolls sideways">{rows}</div>'


def _plain(of_html: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", of_html))
