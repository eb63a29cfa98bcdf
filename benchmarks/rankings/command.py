"""Commands about rankings: one query's answer, rankings to and from other programs, two results against each other.

Imports are inside functions.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from benchmarks.options import chosen_datasets, data_options, names, results_option, settings_option, store_option, tiny_option

protocol_option = click.option("--protocol", default="clean", show_default=True, help="Rules of the comparison: clean, paper or official.")
split_option = click.option("--split", default="test", show_default=True, help="Whose images and captions.")


def one_dataset(datasets: tuple[str, ...], command: str) -> str:
    if len(datasets) > 1:
        raise ValueError(f"{command} takes one data set: name it with --dataset")
    return datasets[0]


@click.command()
@click.argument("query")
@click.option("--method", "rows", callback=names, default="avg,clip", show_default=True, help="Rows of the tables, comma-separated.")
@data_options
@protocol_option
@settings_option
@split_option
@click.option("--k", type=click.IntRange(min=1), default=10, show_default=True, help="How many images are shown.")
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), help="The page of pictures.  [default: STORE/search.html]")
@click.option("--open/--no-open", "opened", default=None, help="Show the page in a browser.  [default: where the output is a terminal]")
@click.option("--make", is_flag=True, help="Train and index what is missing, however long it takes.")
@tiny_option
@store_option
def search(
    query: str, rows: tuple[str, ...], datasets: tuple[str, ...], data_root: Path | None, five_captions: bool, protocol: str,
    settings: str | None, split: str, k: int, to: Path | None, opened: bool | None, make: bool, tiny: bool, store: Path,
) -> None:  # fmt: skip
    """Put a query to indexed galleries: a table here, and a page of pictures.

    \b
    python -m benchmarks.run search "a dog next to a red apple" --method avg,clip
    """
    from benchmarks import campaign, settings_file
    from benchmarks.rankings.rows import holding
    from benchmarks.rankings.search import page, prepare, table
    from benchmarks.rankings.search import search as find
    from benchmarks.stages import Store
    from methods.files.durable import write_atomically

    if not query.strip():
        raise ValueError('the query is empty: give some words, e.g. search "a dog next to a red apple"')
    if not rows:
        raise ValueError("no row is named: name some with --method, e.g. avg,clip")
    dataset = one_dataset(chosen_datasets(datasets, tiny, data_root, five_captions), "search")
    base = settings_file.read(settings)
    plans = [plan for held in holding(rows) for plan in campaign.plan_cells(held, [dataset], protocol, tiny=tiny, split=split, base=base)]
    plans.sort(key=lambda plan: rows.index(plan.row.key))
    if absent := set(rows) - {plan.row.key for plan in plans}:
        raise ValueError(f"{dataset} has no row {', '.join(sorted(absent))}: choose others with --method")
    stages = Store(store)
    prepare(plans, stages, make or tiny)
    found = []
    for plan in plans:
        found.append(find(query, plan, stages, k))
        click.echo(f"{table(found[-1])}\n")
    path = to or stages.root / "search.html"
    try:
        write_atomically(path, page(query, found, stages.run(plans[0].data), split))
    except OSError as error:
        raise ValueError(f"cannot write {path} ({error.strerror}): name another file with --to") from error
    click.echo(f"written: {path}")
    if opened or (opened is None and sys.stdout.isatty()):
        import webbrowser

        if not webbrowser.open(path.resolve().as_uri()):
            click.echo("no browser was found: open the page yourself")


@click.command("export-trec")
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), required=True, metavar="DIR", help="Folder, made if need be.")
@click.option("--rows", callback=names, help="Rows of the tables, comma-separated.  [default: all that were measured]")
@click.option("--qrels", "qrels_only", is_flag=True, help="No rankings: only what an outside system needs and is scored by.")
@data_options
@protocol_option
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="How many seeds of each row.")
@settings_option
@split_option
@tiny_option
@store_option
def export_trec(
    to: Path, rows: tuple[str, ...], qrels_only: bool, datasets: tuple[str, ...], data_root: Path | None, five_captions: bool,
    protocol: str, seeds: int, settings: str | None, split: str, tiny: bool, store: Path,
) -> None:  # fmt: skip
    """Write measured rankings, qrels, queries and images in TREC's formats.

    Queries are called SPLIT-NUMBER by their place in the split, from 0; images by their id. Scores are equal within a tie group and fall
    from one group to the next: equal scores are a tie here, while trec_eval orders tied images by falling name.
    """
    from benchmarks import results_folder, settings_file
    from benchmarks.datasets import data_stage
    from benchmarks.rankings import trec
    from benchmarks.rankings.rows import finished
    from benchmarks.stages import Store
    from methods.data import Dataset
    from methods.files.durable import write_atomically
    from methods.retriever import Ranking

    if rows and qrels_only:
        raise ValueError("--qrels writes no rankings and --rows names some: give one of the two")
    dataset = one_dataset(chosen_datasets(datasets, tiny, data_root, five_captions), "export-trec")
    stages = Store(store)
    plans, unmeasured = (
        ([], []) if qrels_only else finished(rows, dataset, protocol, seeds, tiny, split, stages, settings_file.read(settings))
    )
    if unmeasured and rows:
        raise ValueError(
            f"{', '.join(unmeasured)} on {dataset}, {split} split: not measured yet: measure a table that has these rows first"
        )
    if not plans and not qrels_only:
        raise ValueError(f"nothing was measured yet on {dataset}, {split} split: measure a table first, or give --qrels")
    shown, pictures = Dataset(folder := stages.run(data_stage(dataset))).split(split), Dataset(folder).info["pictures"]
    texts = {"qrels": trec.qrels(shown), "queries.tsv": trec.queries(shown), "images.tsv": trec.images(shown)}
    for name, text in texts.items():
        write_atomically(results_folder.writable(to, "--to") / f"{split}.{name}", text)
    click.echo(f"written: {to}/{split}.qrels .queries.tsv .images.tsv (pictures: {(folder / pictures).resolve()})")
    for plan in plans:
        ranking, name = Ranking.load(stages.run(plan.ranking) / "ranking.npz"), f"{plan.row.key}-seed{plan.seed}"
        write_atomically(to / f"{name}.run", trec.run(ranking, shown, name))
        empty = int((ranking.ids_QW[:, 0] < 0).sum())
        click.echo(f"written: {to / name}.run" + (f" ({empty:,} queries have no answer)" if empty else ""))


@click.command()
@click.argument("runfile", type=click.Path(path_type=Path))
@click.option("--name", help="Names its row, outside-NAME.  [default: the file's name]")
@click.option("--label", help="What the table prints.  [default: the name]")
@click.option("--exposure", default="not stated", show_default=True, help="What it saw of test images: none, image-to-id …")
@click.option("--into", callback=names, default="table1", show_default=True, help="Tables that show it, comma-separated.")
@click.option("--missing", is_flag=True, help="Count queries that it does not answer as misses, instead of refusing them.")
@data_options
@click.option("--protocol", default="clean", show_default=True, help="Whose table shows it, and whose tie rule counts.")
@tiny_option
@results_option
@store_option
def score(
    runfile: Path, name: str | None, label: str | None, exposure: str, into: tuple[str, ...], missing: bool, datasets: tuple[str, ...],
    data_root: Path | None, five_captions: bool, protocol: str, tiny: bool, results: Path | None, store: Path,
) -> None:  # fmt: skip
    """Put an outside system's TREC run over the test split into the tables, as an added reference row.

    Queries and images are called as `export-trec --qrels` writes them; equal scores are a tie. To take the row out again, delete its
    summary and give `render --from-committed`.
    """
    import json

    from benchmarks import campaign, results_folder, tables
    from benchmarks.datasets import data_stage
    from benchmarks.protocol import protocol as rules_of
    from benchmarks.rankings import outside, trec
    from benchmarks.record import OUTSIDE
    from benchmarks.spec import RECALL
    from benchmarks.stages import Store
    from methods.data import Dataset
    from methods.files.durable import write_atomically

    dataset = one_dataset(chosen_datasets(datasets, tiny, data_root, five_captions), "score")
    rules, shown_in = rules_of(protocol), [tables.table(each) for each in into]
    key = outside.row_key(name or runfile.stem.lower())
    kept, runs = results_folder.kept_in(results, [dataset], tiny), Path(results_folder.folder_name([dataset], rules.name), "runs")
    if kept:
        results_folder.writable(kept / runs)
    runfile.open("rb").close()  # asked before minutes of making the data
    stages, stage = Store(store), data_stage(dataset)
    split = Dataset(stages.run(stage)).split("test")
    ranking = trec.read_run(runfile, split, missing)
    label = label or key.removeprefix(OUTSIDE)
    found = outside.summary(key, label, into, exposure, ranking, runfile, dataset, split, rules, stages.report(stage), RECALL)
    click.echo(f"{label}: {campaign.told(found)}")
    if not kept:
        click.echo("written: nowhere: tiny settings on other data (see --results)")
        return
    write_atomically(path := kept / runs / f"{key}-seed0.json", json.dumps(found, indent=1) + "\n")
    click.echo(f"written: {path}")
    for shown in shown_in:
        places = [place for place, _ in results_folder.rendered_again(shown, kept, dataset, rules.name)]
        for place in places:
            click.echo(f"written: {place}.md .tex .csv")
        if not places:
            click.echo(f"{shown.name} of {dataset} is not in {kept} yet: it will show this row when it is measured")


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--ties", type=click.Choice(["expected", "optimistic", "pessimistic", "index", "codes"]), default="expected",
              show_default=True, help="What a tie across the cut is worth, on both sides.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def compare(a: str, b: str, ties: str, as_json: bool) -> None:
    """Test two results folders against each other, row by row; or two rows, FOLDER:ROW FOLDER:ROW.

    \b
    python -m benchmarks.run compare results/openmoji-scenes OTHER/openmoji-scenes
    python -m benchmarks.run compare results/openmoji-scenes:irgen results/openmoji-scenes:avg
    """
    from benchmarks.rankings import duel

    sides = duel.side(a), duel.side(b)
    found = duel.lines(*sides, ties)  # type: ignore[arg-type]
    click.echo((duel.as_json if as_json else duel.text)(*sides, found, ties))  # type: ignore[arg-type]


COMMANDS = (search, export_trec, score, compare)
