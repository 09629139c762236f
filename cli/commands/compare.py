"""`mechlab compare`: runs as arms over seeds, and what each arm changes; loads no torch."""

from pathlib import Path

import click

from cli.console import emit_json, json_option, out_option


@click.command(name="compare")
@click.argument("runs", nargs=-1, required=True)
@click.option("--one-factor", is_flag=True, help="Refuse an arm that differs from the first in several keys.")
@click.option(
    "--all-pairs", is_flag=True, help="Hold each arm against every arm before it, not the first alone."
)
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write the table as CSV.")
@click.option("--latex", "latex_file", type=click.Path(path_type=Path), help="Write it as a LaTeX table.")
@out_option
@json_option
def command(
    runs: tuple[str, ...],
    one_factor: bool,
    all_pairs: bool,
    csv_file: Path | None,
    latex_file: Path | None,
    out: Path,
    as_json: bool,
) -> None:
    """Compare RUNS: those that differ in their seed alone are one arm; the first one is the parent.

    RUN:HASH is a run under another of its evaluations. Runs of several systems differ in the key `system`,
    and are paired by seed like all arms. Runs that were trained by other words and are equal to the bit are
    refused: the switch between them did nothing.

    \b
    Example:
        mechlab compare runs/moleflow-0a1b2c3d4e5f runs/moleflow-5f4e3d2c1b0a --csv arms.csv
    """
    from cli.arms import emit_arms
    from mechlab.runs.arm_files import write_csv, write_latex
    from mechlab.runs.arm_table import compared

    found = compared(runs, out, one_factor=one_factor, all_pairs=all_pairs)
    if csv_file is not None:
        write_csv(found, csv_file)
    if latex_file is not None:
        write_latex(found, latex_file)
    if as_json:
        emit_json(found)
        return
    emit_arms(found)
