"""The command line: `python -m benchmarks.run COMMAND`. Imports are inside functions, so that help and mistakes are answered at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from benchmarks import everything, rewriting, rules, termination
from benchmarks.batch import commands as batch_commands
from benchmarks.datasets import command as datasets
from benchmarks.growth import command as growth
from benchmarks.identifiers import command as identifiers
from benchmarks.options import (
    check_profile,
    chosen_datasets,
    chosen_jobs,
    data_options,
    executor_options,
    jobs_option,
    names,
    read_option,
    results_option,
    settings_option,
    store_option,
    tiny_option,
)
from benchmarks.paper import command as paper
from benchmarks.rankings import command as answers
from benchmarks.report import command as report
from benchmarks.speed import command as speed
from benchmarks.speed import figure4
from benchmarks.tables import TABLES
from methods import machine

INTERRUPTED = 130


class Commands(click.Group):
    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            from methods.spelling import suggestion

            raise click.UsageError(f"unknown command or table {args[0]!r}: {suggestion(args[0], list(self.commands))}")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def cli() -> None:
    """Text-to-image retrieval paradigms, measured alike.

    What is finished is kept: a command that was interrupted goes on where it was when it is given again.
    """
    machine.check_product_format()  # a mistake is told before the first stage, not by each


def table_command(name: str) -> click.Command:
    from benchmarks.tables import table

    @click.command(name, help=f"{table(name).caption} Trains what is missing, evaluates, prints and writes.")
    @data_options
    @click.option("--protocol", default="clean", show_default=True, help="Rules of the comparison: clean, paper or official.")
    @click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="How many seeds each row is trained with.")
    @click.option("--rows", callback=names, help="Rows, comma-separated; all of them by default.")
    @click.option("--set", "assignments", multiple=True, metavar="METHOD.SETTING=VALUE", help="E.g. avg.codebook_size=256; repeatable.")
    @settings_option
    @click.option("--split", default="test", show_default=True, help="Split to rank; `val` chooses settings and writes nothing.")
    @click.option("--dry-run", is_flag=True, help="List the stages that are missing, and run none.")
    @executor_options
    @jobs_option
    @tiny_option
    @results_option
    @store_option
    def command(**options: Any) -> int:
        return run_table(name, **options)

    return command


def run_table(
    name: str, datasets: tuple[str, ...], protocol: str, seeds: int, rows: tuple[str, ...], assignments: tuple[str, ...],
    split: str, dry_run: bool, tiny: bool, results: Path | None, store: Path, data_root: Path | None = None, five_captions: bool = False,
    jobs: int | None = None, executor: str = "inline", profile: str | None = None, settings: str | None = None,
) -> int:  # fmt: skip
    """Returns the exit code: 1 if a cell failed."""
    from benchmarks import campaign, overrides, results_folder, settings_file, tables
    from benchmarks.prefetch import needed, refuse_missing, remedied
    from benchmarks.render import markdown
    from benchmarks.stages import Store
    from methods import needs

    check_profile(executor, profile)
    datasets = chosen_datasets(datasets, tiny, data_root, five_captions)
    table = campaign.chosen(tables.table(name), rows)
    base = settings_file.read(settings)
    plans = campaign.plan_cells(table, datasets, protocol, seeds, tiny, overrides.parsed(assignments, table), split, base)
    kept = results_folder.kept_in(results, datasets, tiny, split, part=bool(rows or assignments or base))
    if kept and not dry_run:
        results_folder.writable(kept / results_folder.folder_name(datasets, protocol))
        results_folder.refuse_mixing(table, plans, kept, tiny, varied=bool(assignments), base=base)
    stages = Store(store)
    if executor != "inline":
        from benchmarks.batch.batch import Request
        from benchmarks.batch.submission import offer

        request = Request(
            table=table, datasets=datasets, protocol=protocol, plans=tuple(plans), results=kept and kept.resolve(),
            tiny=tiny, varied=bool(assignments), base=base,
        )  # fmt: skip
        offer([request], stages, executor, profile, jobs or 0, dry_run, click.echo)
        return 0
    if dry_run:
        for stage in (missing := campaign.missing(plans, stages)):
            click.echo(f"{stage.name:12} {stage.key}  about {stages.durations.expected(stage):.0f} s")
        lacking = [f"not on this machine: {need}: {need.remedy}" for need in needs.missing(needed(plans, stages))]
        given = [*(["--rows", ",".join(rows)] if rows else []), *(["--settings", settings] if settings else [])]
        given += [part for each in assignments for part in ("--set", each)]
        for line in remedied(lacking, name, *given, *(["--protocol", protocol] if protocol != campaign.DEFAULT_PROTOCOL else [])):
            click.echo(line)
        total, doubt = sum(map(stages.durations.expected, missing)), stages.durations.doubt(missing)
        click.echo(f"{len(missing)} stages of {len(plans)} cells are missing, about {total / 60:.0f} min{doubt}")
        return 0
    refuse_missing(plans, stages)
    measured = campaign.measure(table, plans, stages, jobs=chosen_jobs(jobs, tiny))
    if kept:
        grid = results_folder.write(table, datasets, protocol, measured, kept)
    else:
        grid = results_folder.grid(table, datasets, measured)
    click.echo(markdown(grid))
    print_time(campaign.spent(measured.records, stages.made))
    if kept:
        where = f"{kept / results_folder.folder_name(datasets, protocol)}/{name}.md .tex .csv"
    elif split != "test":
        where = f"nowhere: --split {split} chooses settings"
    elif assignments or base or (tiny and not rows):
        where = "nowhere: a variant (see --results: it wants a folder of its own)"
    else:
        where = f"nowhere: a part (see --results: a folder that holds {name} gets these rows, and keeps its others)"
    click.echo(f"written: {where}")
    return 1 if measured.failures else 0


def print_time(lines: list[tuple[str, int, float, str]]) -> None:
    from tabulate import tabulate

    total = sum(seconds for _, _, seconds, _ in lines)
    body = [[name, count, f"{seconds:.1f}", state] for name, count, seconds, state in lines]
    click.echo(tabulate([*body, ["all", sum(line[1] for line in lines), f"{total:.1f}", ""]], ["stage", "runs", "seconds", "state"]) + "\n")


@cli.command()
@click.argument("name", required=False)
def methods(name: str | None) -> None:
    """List the methods, or the settings of one as --set takes them."""
    from benchmarks.overrides import described
    from methods.registry import METHODS, method_class

    if name is None:
        for method in METHODS:
            click.echo(f"{method:18} {method_class(method)[0].paradigm}")
    else:
        for address, value, description in described(name):
            click.echo(f"{address:34} {value!s:14} {description}".rstrip())


@cli.command()
@click.argument("table", required=False)
@click.option("--rows", callback=names, help="Rows, comma-separated; all of them by default.")
@click.option("--set", "assignments", multiple=True, metavar="METHOD.SETTING=VALUE", help="As the table will be given; repeatable.")
@settings_option
@click.option("--protocol", default="clean", show_default=True, help="As the table will be given.")
@click.option(
    "--manifest", type=click.Path(path_type=Path, dir_okay=False), help="File of what was fetched.  [default: STORE/prefetch.json]"
)
@click.option("--check", is_flag=True, help="Fetch nothing: compare this machine with the manifest, hash by hash.")
@store_option
def prefetch(
    table: str | None, rows: tuple[str, ...], assignments: tuple[str, ...], settings: str | None, protocol: str, manifest: Path | None,
    check: bool, store: Path,
) -> int:  # fmt: skip
    """Fetch the models that tables need: of one table as it will be given, or of all.

    Models do not depend on the data set. Run it where there is a network; elsewhere HF_HUB_OFFLINE=1 then works.
    """
    from benchmarks import campaign, overrides, prefetch, settings_file, tables
    from methods.needs import missing

    path = manifest or store / prefetch.MANIFEST
    if not table and (rows or assignments):
        raise ValueError("--rows and --set belong to one table: name it, e.g. `prefetch table1 --set ...`")
    chosen = [campaign.chosen(tables.table(name), rows) for name in ([table] if table else TABLES)]

    base = settings_file.read(settings)

    def wanted() -> list[Any]:
        return [need for each in chosen for need in prefetch.needs_of(each.rows, protocol, overrides.parsed(assignments, each), base)]

    if check:
        if not path.exists():
            none = f"no manifest at {path}: run prefetch, or name another with --manifest"
            if manifest:
                raise ValueError(none)
            if gone := missing(wanted()):
                raise ValueError(f"{none}; {prefetch.told(gone)}")
            click.echo(f"all that is needed is on this machine; there is no manifest at {path}, so hashes could not be compared")
            return 0
        stated = prefetch.read_manifest(path)
        for line in (wrong := prefetch.faults(stated)):
            click.echo(line)
        click.echo(f"{len(stated['models'])} models of {path}: {f'{len(wrong)} files are not as stated' if wrong else 'all as stated'}")
        return 2 if wrong else 0
    left = prefetch.prefetch(wanted, path, click.echo)
    stated = prefetch.read_manifest(path)
    wrong = prefetch.faults(stated)
    if left or wrong:
        raise ValueError("; ".join([*([prefetch.told(left)] if left else []), *wrong[:3]]))
    click.echo(f"written: {path} with {len(stated['models'])} models; everything that is needed is on this machine")
    return 0


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@read_option
@store_option
def doctor(as_json: bool, results: Path, store: Path) -> None:
    """Say what this machine has, which tables can run now, and what the others need."""
    import json

    from benchmarks.doctor import examine, text

    found = examine(store, results)
    click.echo(json.dumps(found, indent=1) if as_json else text(found))


for module in (datasets, answers, batch_commands, everything, figure4, growth, identifiers, paper, report, rewriting, rules, speed):
    for command in module.COMMANDS:
        cli.add_command(command)
for table_name in TABLES:
    cli.add_command(table_command(table_name))


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0, 1 if a cell or stage failed, 2 for what the user can put right (one line says how), 130 if interrupted."""
    if not sys.stderr.isatty():
        # Bars of stages draw themselves anew ten times a second, which in a log file is megabytes; lines say enough there.
        os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        return cli.main(arguments, prog_name="python -m benchmarks.run", standalone_mode=False) or 0
    except (click.Abort, KeyboardInterrupt):
        click.echo(termination.TOLD, err=True)
        return INTERRUPTED
    except click.NoSuchOption as error:
        from methods.spelling import suggestion

        options = [option for parameter in error.ctx.command.get_params(error.ctx) for option in parameter.opts] if error.ctx else []
        return _mistake(f"unknown option {error.option_name!r}: {suggestion(error.option_name, options)}")
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        return _mistake(error.format_message())
    except ValueError as error:
        return _mistake(str(error))
    except RuntimeError as error:
        from benchmarks.stages import StageFailed

        if not isinstance(error, StageFailed):
            raise
        if error.of_data:
            return _mistake(error.cause)
        _mistake(str(error))
        return 1
    except OSError as error:
        from benchmarks.stages import FULL

        full = error.errno in FULL
        if not full and error.filename is None:
            raise  # of no file: not what the user can put right by its name
        remedy = "make room there" if full else "put that right"
        return _mistake(
            f"cannot read or write {error.filename or 'a file'} ({error.strerror}): {remedy}, or name another place, and give the same "
            "command again; finished stages are kept"
        )


def _mistake(message: str) -> int:
    click.echo(f"vokenbench: {' '.join(message.split())}", err=True)
    return 2


if __name__ == "__main__":
    termination.told_of()
    sys.exit(main())
