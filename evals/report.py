"""One HTML file about runs: it opens without a network and asks for none.

    python -m evals.report RUN … --out report.html [--data FOLDER]

Tables, curves, comparisons, a world map of errors, and a page for each photo with thumbnail, trace and evidence;
tables to paste in Markdown and LaTeX; published numbers. `--data` is the benchmark's folder, for thumbnails. They
show other people's photos: leave them out of what you publish.

All texts of records travel as JSON and are placed as text, so that nothing a model wrote, or that was read in a photo,
can act on the page (see `core.page`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import write_atomic
from core.page import self_contained_page
from evals.benchmarks.loading import load_benchmark
from evals.benchmarks.registry import find_benchmark
from evals.command import add_runs, command_parser, run_command
from evals.compare import compare
from evals.leaderboard import leaderboard_table, published
from evals.reporting.curves import curves, information_chart, reliability_curves
from evals.reporting.photos import add_transcripts, photo_data
from evals.reporting.strategies import cost_charts, legend, pair_matrices, prompts_as_asked, radii_chart
from evals.runs.records import RunInfo
from evals.scores.arrays import System, load_systems
from evals.scores.comparison import comparison_tables
from evals.scores.score_tables import all_tables
from evals.scores.scoring import Score, score
from evals.scores.tables import Table, latex, markdown
from geo.shorelines import SHORES_ATTRIBUTION, land_path

MOST_ANSWERS = 20_000
"""A page of more answers than this would be slow to open."""


def report_page(systems: Sequence[System], files: Mapping[str, Path], photo_pages: bool = True) -> str:
    """The page about systems of one or several runs.

    Args:
        files: the file of each photo id, for thumbnails; may be empty.
        photo_pages: with the map and a page for each photo.

    Raises:
        UserError: more answers than a page can hold.
    """
    answers = sum(len(s.arrays.photo) for s in systems)
    if photo_pages and answers > MOST_ANSWERS:
        limit = f"a page holds {MOST_ANSWERS:,}: give fewer runs, or --no-photo-pages"
        raise UserError(f"{answers:,} answers are too many for one page ({limit})")
    scores = [score(system) for system in systems]
    data = _page_data(systems, files) if photo_pages else {}
    style, scripts = _asset("report.css"), [_asset("heatmap.js"), _asset("report.js")]
    title = f"{', '.join(sorted({s.info.benchmark for s in systems}))} · GeoSleuth evaluation"
    body = "\n".join(['<div class="wrap">', *_body(systems, scores, photo_pages), "</div>"])
    return self_contained_page(title, style, body, data, scripts)


def _page_data(systems: Sequence[System], files: Mapping[str, Path]) -> dict[str, Any]:
    """What the page's scripts draw and show."""
    data = {**photo_data(systems, files), "land": land_path()}
    add_transcripts(data, systems)
    return data


def _body(systems: Sequence[System], scores: Sequence[Score], photo_pages: bool) -> list[str]:
    infos = list({s.run: s.info for s in systems}.values())
    tables = all_tables(scores)
    summary, strata = tables[: -len(scores)], tables[-len(scores) :]
    compared, words, matrices = _comparison(systems)
    parts = [*_header(infos, photo_pages), '<h2 id="scores">Scores</h2>', *map(_table, summary)]
    parts += ['<h2 id="comparison">Comparison</h2>', *words, *([legend(systems)] if matrices else []), *matrices]
    parts += [_folded(t.title, _table(t)) for t in compared]
    parts += _costs(systems, scores)
    parts += ['<h2 id="curves">Curves</h2>', legend(systems), *_grid("charts", curves(systems, scores))]
    parts += _uncertainty(systems, scores)
    if photo_pages:
        parts += [_asset("heatmap.html"), legend(systems)]
        parts += [_asset("browser.html"), f'<p class="small">{escape(SHORES_ATTRIBUTION)}</p>']
    parts += ['<h2 id="parts">Parts of the photos</h2>', *(_folded(t.title, _table(t)) for t in strata)]
    parts += _published(infos, scores)
    parts += ['<h2 id="paste">Tables to paste</h2>', *_to_paste([*summary, *compared])]
    parts += ['<h2 id="prompts">Prompts</h2>', *prompts_as_asked(infos)]
    return [*parts, '<h2 id="runs">Runs</h2>', *map(_provenance, infos)]


def _costs(systems: Sequence[System], scores: Sequence[Score]) -> list[str]:
    charts = cost_charts(scores)
    if not charts:
        return []
    return ['<h2 id="cost">Cost</h2>', legend(systems), *_grid("charts", charts)]


def _header(infos: Sequence[RunInfo], photo_pages: bool) -> list[str]:
    names = ", ".join(sorted({info.benchmark for info in infos}))
    sections = [
        "scores",
        "comparison",
        "curves",
        "reliability",
        *(["strategies", "photos"] if photo_pages else []),
        "parts",
        "paste",
        "prompts",
        "runs",
    ]
    links = "".join(f'<a href="#{name}">{name.capitalize()}</a>' for name in sections)
    headings = dict.fromkeys(info.heading() for info in infos)
    kinds = {heading: "partial" if "PARTIAL" in heading else "muted" for heading in headings}
    shown = [f'<p class="{kind}">{escape(heading)}.</p>' for heading, kind in kinds.items()]
    rule = (
        '<p class="muted">The denominator is every photo: one without an answer is a miss at every distance, infinitely'
        " far in the median and 20,015 km away in the mean. Intervals are 95 %: Wilson's for shares, bootstrap over"
        " photographers for all else. n/a: the records do not say.</p>"
    )
    return [f"<h1>{escape(names)}: where was it taken?</h1>", *shown, rule, f"<nav>{links}</nav>"]


def _comparison(systems: Sequence[System]) -> tuple[list[Table], list[str], list[str]]:
    """Tables of the comparison, what is to be said of it, and its matrices; or why there is none."""
    try:
        found = compare(systems)
    except UserError as error:
        return [], [f'<p class="muted">{escape(str(error))}.</p>'], []
    counted = f"{found.photos} photos by {found.photographers} photographers, the same for every system."
    words = [f"<p>{escape(counted)}</p>"]
    if found.design_note:
        words.append(f'<p class="partial">{escape(found.design_note)}</p>')
    return comparison_tables(found), words, pair_matrices(found, [s.label for s in systems])


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col"{_wrapping(name)}>{escape(name)}</th>' for name in table.head)
    rows = "".join(f"<tr>{_row(row, table.head)}</tr>" for row in table.rows)
    caption = f"<caption>{escape(table.title)}</caption>"
    return f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


_WORDY = frozenset(
    {
        "source",
        "better than",
        "not distinguishable from",
        "verdict",
        "chance that the truth lies",
        "kind of evidence",
        "model",
        "ranked by",
    }
)


def _wrapping(name: str) -> str:
    return ' class="words"' if name in _WORDY else ""


def _row(row: Sequence[str], head: Sequence[str]) -> str:
    cells = "".join(f"<td{_wrapping(name)}>{_cell(cell)}</td>" for cell, name in zip(row[1:], head[1:], strict=True))
    return f'<th scope="row">{escape(row[0])}</th>{cells}'


def _cell(text: str) -> str:
    """An interval goes under its estimate, so that wide tables fit."""
    estimate, bracket, rest = text.partition(" (")
    if not bracket or not rest.endswith((")", *"0123456789")):
        return escape(text)
    return f'{escape(estimate)}<span class="interval">({escape(rest)}</span>'


def _grid(kind: str, charts: Sequence[str]) -> list[str]:
    return [f'<div class="{kind}">', *charts, "</div>"]


def _uncertainty(systems: Sequence[System], scores: Sequence[Score]) -> list[str]:
    """Charts of stated chances and of what evidence told."""
    head, charts, told = '<h2 id="reliability">Reliability</h2>', reliability_curves(scores), information_chart(scores)
    radii = radii_chart(scores)
    if not charts:
        return [
            head,
            legend(systems),
            *radii,
            '<p class="muted">These runs state no chances: they are of an earlier version.</p>',
        ]
    words = (
        '<p class="muted">The chance stated that the truth lies within a distance, against how often it does; below the'
        " diagonal a system is too sure. A dot is about a tenth of the photos that state the chance.</p>"
    )
    return [head, legend(systems), *radii, words, *_grid("charts small-charts", charts), *told]


def _folded(title: str, inner: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{inner}</details>"


def _published(infos: Sequence[RunInfo], scores: Sequence[Score]) -> list[str]:
    """What others have published on the benchmark, if anything is known."""
    names = {info.benchmark for info in infos}
    known = sorted(names & {row.benchmark for row in published()})
    if len(names) > 1 or not known:
        return []
    table = leaderboard_table(known[0], scores)
    return ['<h2 id="published">Published numbers</h2>', _folded(table.title, _table(table))]


def _to_paste(tables: Sequence[Table]) -> list[str]:
    return [
        _folded(f"{table.title}: {name}", f"<pre>{escape(write(table))}</pre>")
        for table in tables
        for name, write in (("Markdown", markdown), ("LaTeX", latex))
    ]


def _provenance(info: RunInfo) -> str:
    return _folded(info.heading(), f"<pre>{escape(info.model_dump_json(indent=2, exclude={'asked_texts'}))}</pre>")


def _asset(name: str) -> str:
    return resources.files("evals.reporting.page").joinpath(name).read_text(encoding="utf-8")


def photo_files(systems: Sequence[System], data: Path | None) -> dict[str, Path]:
    """The file of each photo id of the runs' benchmarks.

    Raises:
        UserError: no such folder, or not the benchmark's.
    """
    if data is None:
        return {}
    tables = {(s.info.benchmark, bool(s.info.arguments.get("swap_lat_lon"))) for s in systems}
    loaded = [load_benchmark(find_benchmark(name), data, swap_lat_lon=swap) for name, swap in sorted(tables)]
    samples = [sample for benchmark_data in loaded for sample in benchmark_data.samples]
    return {sample.photo: sample.path for sample in samples if sample.path is not None}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page."""
    parser = command_parser("evals.report", __doc__)
    add_runs(parser)
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="the page (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="the benchmark's folder: adds thumbnails of its photos")
    parser.add_argument("--no-photo-pages", action="store_true", help="tables and curves only")
    return run_command(parser, _write_page, arguments)


def _write_page(chosen: argparse.Namespace) -> int:
    systems = load_systems(chosen.runs, chosen.unfinished)
    page = report_page(systems, photo_files(systems, chosen.data), not chosen.no_photo_pages)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(chosen.out, page)
    sys.stdout.write(f"{chosen.out}: {len(page) / 1e6:.1f} MB, {len(systems)} systems\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
