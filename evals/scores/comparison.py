"""What a comparison of systems finds, and its tables and text."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from core.frozen import Frozen
from evals.scores.distance import Interval
from evals.scores.reliability import ChanceReliability, Coverage
from evals.scores.significance import LEVEL, can_reject, design_note
from evals.scores.tables import (
    DASH,
    NOT_AVAILABLE,
    Table,
    decimals,
    kilometres,
    km_label,
    markdown,
    percent,
    signed,
)

SHOWN = 10


class AtThreshold(Frozen):
    """Two systems at one distance."""

    km: float
    difference: Interval = Field(description="of the accuracies, first − second, in points of percent")
    only_first: int = Field(description="photos that the first alone gets right")
    only_second: int
    mcnemar_p: float
    mcnemar_p_holm: float = Field(description="adjusted over all pairs and thresholds")


class Pair(Frozen):
    """Two systems on the same photos."""

    first: str
    second: str
    geoscore: Interval = Field(description="mean difference of points, first − second; bootstrap over photographers")
    p: float = Field(description="flipping the signs of photographers")
    p_holm: float = Field(description="adjusted over all pairs")
    selective_area: Interval = Field(description="difference of areas under accuracy-coverage within 25 km")
    log_score: Interval | None = Field(description="mean difference in nats; None: no photo of which both say it")
    thresholds: tuple[AtThreshold, ...]
    only_first: tuple[str, ...] = Field(description="photos that the first alone gets within 25 km")
    only_second: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, str]:
        """Both systems."""
        return self.first, self.second

    @property
    def name(self) -> str:
        """The difference, in words."""
        return f"{self.first} − {self.second}"

    @property
    def better(self) -> str | None:
        """The better system; None if the difference is not significant."""
        if self.p_holm >= LEVEL:
            return None
        return self.first if self.geoscore.estimate > 0 else self.second

    @property
    def verdict(self) -> str:
        """Which is better, in words."""
        return "not distinguishable" if self.better is None else f"{self.better} is better"


class Rank(Frozen):
    """A system's place."""

    system: str
    geoscore: float
    better_than: tuple[str, ...]
    not_distinguishable_from: tuple[str, ...]
    coverage_90: Coverage | None
    city_chance: ChanceReliability | None = Field(description="of the chance within 25 km; None: none is stated")
    selective_area: Interval = Field(description="under accuracy-coverage within 25 km")
    log_score: Interval | None = Field(description="nats per km2; None: not known")


class Comparison(Frozen):
    """Everything that `compare` finds."""

    headings: tuple[str, ...]
    photos: int
    photographers: int
    left_out: dict[str, int] = Field(description="photos of each system that not all of them have")
    pairs: tuple[Pair, ...]
    ranking: tuple[Rank, ...]

    @property
    def design_note(self) -> str | None:
        """Why no difference could be significant, however large, and what could be done; None: one could."""
        systems = len(self.ranking)
        return None if can_reject(self.photographers, systems) else design_note(self.photographers, systems)


def comparison_tables(found: Comparison) -> list[Table]:
    """The ranking, the differences, and what the systems say of themselves."""
    return [_ranking_table(found), _difference_table(found), *_uncertainty_tables(found)]


def _ranking_table(found: Comparison) -> Table:
    rows = [
        [
            r.system,
            f"{r.geoscore:.0f}",
            "; ".join(r.better_than) or "none",
            "; ".join(r.not_distinguishable_from) or "–",
        ]
        for r in found.ranking
    ]
    return Table("Ranking by GeoScore", ["system", "GeoScore", "better than", "not distinguishable from"], rows)


def _difference_table(found: Comparison) -> Table:
    rows = [
        [
            p.name,
            p.verdict,
            signed(p.geoscore),
            _p(p.p_holm),
            *(f"{signed(at.difference, 1)}; p {_p(at.mcnemar_p_holm)}" for at in p.thresholds),
        ]
        for p in found.pairs
    ]
    head = ["pair", "verdict", "GeoScore", "p (Holm)", *(km_label(at.km) for at in found.pairs[0].thresholds)]
    return Table("Paired differences with 95 % intervals over photographers; p of McNemar's test by Holm", head, rows)


def _uncertainty_tables(found: Comparison) -> list[Table]:
    """Calibration errors are about each system's own answers, so they have no difference."""
    own = [[r.system, *_uncertainty_cells(r)] for r in found.ranking]
    paired = [
        [p.name, signed(p.selective_area, 3), signed(p.log_score, 2) if p.log_score else NOT_AVAILABLE]
        for p in found.pairs
    ]
    title = "Paired differences of selective accuracy and log score with 95 % intervals over photographers"
    return [
        Table("Stated uncertainty on these photos", ["system", *UNCERTAINTY_HEAD], own),
        Table(title, ["pair", *UNCERTAINTY_HEAD[-2:]], paired),
    ]


UNCERTAINTY_HEAD = (
    "90 % radius holds %",
    "its median km",
    "calibration error, chance within 25 km",
    "area under accuracy–coverage, 25 km",
    "log score, nats",
)


def _uncertainty_cells(r: Rank) -> list[str]:
    held = [percent(r.coverage_90.held), kilometres(r.coverage_90.median_radius_km)] if r.coverage_90 else [DASH] * 2
    error = decimals(r.city_chance.calibration_error) if r.city_chance else NOT_AVAILABLE
    return [*held, error, decimals(r.selective_area), decimals(r.log_score, 2) if r.log_score else NOT_AVAILABLE]


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def as_markdown(found: Comparison) -> str:
    """The comparison as Markdown."""
    lines = [*(f"{heading}." for heading in found.headings)]
    lines.append(f"{found.photos} photos by {found.photographers} photographers, the same for every system.")
    if found.design_note:
        lines.append(f"**{found.design_note}**")
    if found.left_out:
        left_out = ", ".join(f"{count} of {label}" for label, count in found.left_out.items())
        lines.append(f"**Only the photos that all systems have: left out are {left_out}.**")
    for table in comparison_tables(found):
        lines += ["", markdown(table)]
    for pair in found.pairs:
        lines += [
            "",
            _only_one(pair.first, pair.second, pair.only_first),
            _only_one(pair.second, pair.first, pair.only_second),
        ]
    return "\n".join(lines)


def _only_one(label: str, other: str, photos: Sequence[str]) -> str:
    """Which photos a system gets within 25 km that the other misses."""
    more = f" and {len(photos) - SHOWN} more" if len(photos) > SHOWN else ""
    names = ", ".join(f"`{name.replace('`', '')}`" for name in photos[:SHOWN])
    return f"- {label} within 25 km where {other} is not: {len(photos)}{f' ({names}{more})' if photos else ''}"
