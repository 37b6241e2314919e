"""The verbs that read: one row, the tidy table, fits, figures, two sweeps, SQL."""

from __future__ import annotations

import click

from lawsweep.cli import printing, printing_read
from lawsweep.cli.options import json_option, load, results_dir, say, sweep_arguments
from lawsweep.core.errors import FigureError, InvalidValueError


@click.command(short_help="One row, whole, with the launch that made it.")
@click.argument("run_id")
@click.argument("overrides", nargs=-1)
@click.option("--meanings", "with_meanings", is_flag=True, help="Unit and meaning of each value.")
@json_option
def show(run_id: str, overrides: tuple[str, ...], with_meanings: bool, as_json: bool) -> int:
    """One row, whole: params, metrics, arrays, failure, and the launch that made it.

    RUN_ID may be shortened to a unique beginning.
    """
    from lawsweep.store.table.tables import arrays_of_row, meanings
    from lawsweep.study.reading import show as find_row

    place = results_dir(overrides)
    row = find_row(run_id, place)
    launch = row.pop("launch")
    told = meanings(place, row["experiment"])
    arrays = {
        name: {"shape": list(a.shape), "unit": told[name][0], "meaning": told[name][1]}
        for name, a in arrays_of_row(place, row["experiment"], row).items()
    }
    if as_json:
        answer = {**row, "arrays": arrays, "launch": launch}
        if with_meanings:
            answer["meanings"] = {n: {"unit": u, "meaning": m} for n, (u, m) in told.items()}
        say(answer)
        return 0
    printing_read.print_row(row, arrays, told if with_meanings else {})
    printing_read.print_launch(launch)
    return 0


@click.command(short_help="The tidy table as Parquet, CSV or JSON lines.")
@sweep_arguments
@click.option(
    "-o", "--output", type=click.Path(path_type=str), help="File: .parquet, .csv, .tsv or .json."
)
@click.option("--no-dictionary", is_flag=True, help="Do not write the data dictionary beside it.")
@json_option
def export(
    sweep: str,
    overrides: tuple[str, ...],
    output: str | None,
    no_dictionary: bool,
    as_json: bool,
) -> int:
    """Write the sweep's tidy table, one row a planned run: Parquet, CSV or JSON lines.

    Beside it goes NAME.dictionary.csv: type, unit, meaning and range of every column.
    """
    from lawsweep.study.exporting import export_dictionary, export_thresholds
    from lawsweep.study.progress import certificate
    from lawsweep.study.study import Study

    loaded = load(sweep, overrides)
    study = Study(loaded)
    path = output or str(loaded.folder / f"{loaded.name}.parquet")
    n_rows = study.export(path)
    dictionary = None if no_dictionary else export_dictionary(study, path)
    cells = export_thresholds(study, path)
    found = study.status()
    if as_json:
        say(
            {
                "path": path,
                **({} if cells is None else {"thresholds": cells}),
                "dictionary": dictionary,
                "n_rows": n_rows,
                "statuses": dict(found.statuses),
                "missing": found.missing,
            }
        )
        return 0
    click.echo(f"{path}: {n_rows:,} rows ({certificate(found.statuses, found.planned)})")
    if cells is not None:
        click.echo(f"{cells}: the thresholds")
    if dictionary is not None:
        click.echo(f"{dictionary}: what each column is")
    for gap in found.gaps(printing.typed(sweep, overrides)):
        click.echo(f"  {gap}")
    return 0


@click.command()
@sweep_arguments
@json_option
def fit(sweep: str, overrides: tuple[str, ...], as_json: bool) -> int:
    """Fit the laws the sweep names: exponents with intervals."""
    from lawsweep.study.study import Study

    loaded = load(sweep, overrides)
    if not loaded.fits:
        raise InvalidValueError(f"Sweep {loaded.name} names no fits; add some under fits.")
    fits = Study(loaded).fit()
    if as_json:
        say([f.to_dict() for f in fits])
    else:
        printing.print_fits(fits)
    return 0


@click.command()
@sweep_arguments
@json_option
def plot(sweep: str, overrides: tuple[str, ...], as_json: bool) -> int:
    """Draw the sweep's figures: PNG and PDF."""
    from lawsweep.study.study import Study

    loaded = load(sweep, overrides)
    if not loaded.figures:
        raise InvalidValueError(f"Sweep {loaded.name} names no figures; add some under figures.")
    trouble: FigureError | None = None
    try:
        paths = Study(loaded).plot()
    except FigureError as error:
        trouble, paths = error, error.drawn
    if as_json:
        say([str(p) for p in paths])
    else:
        for path in paths:
            click.echo(f"figure: {path}")
    if trouble is not None:
        raise trouble
    return 0


@click.command()
@sweep_arguments
@json_option
def report(sweep: str, overrides: tuple[str, ...], as_json: bool) -> int:
    """One HTML page: completeness, fits, figures, provenance."""
    from lawsweep.study.study import Study

    path = Study(load(sweep, overrides)).report(printing.typed(sweep, overrides))
    if as_json:
        say({"path": str(path)})
    else:
        click.echo(f"report: {path}")
    return 0


@click.command(short_help="Two sweeps run by run, and their exponents side by side.")
@click.argument("sweep")
@click.argument("others", metavar="[SWEEP_B] [OVERRIDES]...", nargs=-1)
@click.option("--against", multiple=True, metavar="OVERRIDE", help="An override of B alone.")
@click.option("--ignore", multiple=True, metavar="PARAM", help="Do not join on this param.")
@json_option
def compare(
    sweep: str,
    others: tuple[str, ...],
    against: tuple[str, ...],
    ignore: tuple[str, ...],
    as_json: bool,
) -> int:
    """Two sweeps run by run: metrics that differ, points of one alone, exponents side by side.

    Compares SWEEP with SWEEP_B, or with itself under --against (params.activation=tanh, say, or
    results_dir=elsewhere).  Runs are paired by the params both have and the seed; a param that is
    one value in A and another in B is what is compared.  Exit code 0 whatever is found.
    """
    from lawsweep.tools.comparing import compare as compare_sweeps

    named = others[:1] if others and "=" not in others[0] else ()
    shared = others[len(named) :]
    if not named and not against:
        raise InvalidValueError(
            f"compare needs a second sweep, or --against with what is different: lawsweep compare "
            f"{sweep} --against params.x=1"
        )
    a = load(sweep, shared)
    b = load(named[0] if named else sweep, (*shared, *against))
    found = compare_sweeps(a, b, ignore)
    if as_json:
        say(printing_read.comparison_as_json(found))
    else:
        printing_read.print_comparison(found, (a.name, b.name))
    return 0


@click.command(short_help="Ask all tables a question in SQL.")
@click.argument("query")
@click.argument("overrides", nargs=-1)
@click.option("-o", "--output", help="File: .parquet, .csv, .tsv or .json.")
@click.option(
    "--limit", type=click.IntRange(0), default=40, show_default=True, help="Rows to print; 0: all."
)
@json_option
def sql(
    query: str, overrides: tuple[str, ...], output: str | None, limit: int, as_json: bool
) -> int:
    """Ask all tables a question in SQL (DuckDB's): each experiment is a view of its name.

    An array is EXPERIMENT__ARRAY with run_id, shape and values.  A query reads these views and no
    file, and can write nothing.  Example: lawsweep sql 'SELECT n_samples, avg(lambda_min) FROM
    ntk_min_eig WHERE status = $$ok$$ GROUP BY ALL ORDER BY ALL'
    """
    from lawsweep.tools.sql import sql as ask

    answer = ask(query, results_dir(overrides))
    if output is not None:
        from lawsweep.store.exchange.export import write_table

        write_table(answer, output)
    if as_json:
        say(answer.to_pylist())
    elif output is not None:
        click.echo(f"{output}: {answer.num_rows:,} rows")
    else:
        printing_read.print_table(answer, limit)
    return 0
