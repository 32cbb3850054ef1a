"""What a person reads at a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from agents.schemas import Answer, Level
from apps.output.formatting import LocatedPhoto, certainty_note, confidence_text, heading, km, percent, printable
from apps.output.terminal import print_answer, summary_line
from tests.fakes.answers import HOSTILE, abstained, answered, at, hostile, located


def printed(item: LocatedPhoto, width: int = 110) -> str:
    out = io.StringIO()
    print_answer(Console(file=out, width=width, force_terminal=False), item)
    return out.getvalue()


def test_the_answer_says_where_how_sure_and_why() -> None:
    text = printed(located())
    for wanted in (
        "Beijing, China",
        "39.9042° N, 116.4074° E",
        "50 % within 140 km, 90 % within 610 km (calibrated)",
        "62 %",
        "city",
        "read_signs · 3f9a1c7e52",
        "rank_regions · 3f9a1c7e52",
        "opinion, no source",
        "5 tool calls",
        "compact@1a2b3c",
    ):
        assert wanted in text


def test_the_three_best_alternatives_are_named_and_the_answer_is_not_among_them() -> None:
    section = printed(located()).split("Alternatives")[1].split("Evidence")[0]
    assert [name in section for name in ("Xi'an", "Kyoto", "Paris", "Beijing")] == [True, True, True, False]
    assert "rejected" in section


def test_an_abstention_is_said_plainly() -> None:
    text = printed(located(abstained()))
    assert "No answer: GeoSleuth abstains" in text
    assert "spread over four continents" in text
    assert "° N" not in text.split("Best guesses")[0]


def test_a_claimed_position_is_shown_as_a_claim() -> None:
    text = printed(located(answered(metadata_position=at(40.0, 116.0))))
    assert "file claims" in text
    assert "not checked" in text


def test_untrusted_text_neither_steers_the_terminal_nor_is_markup() -> None:
    text = printed(located(hostile(), HOSTILE + "[bold red]x[/]"), width=200)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[bold red]x[/]" in text


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_every_width_prints_all_alternatives(width: int) -> None:
    text = printed(located(), width)
    assert "Kyoto" in text
    assert max(map(len, text.splitlines())) <= width


def test_a_summary_line_is_one_line() -> None:
    assert summary_line(located(name="a\nb.jpg")).plain.count("\n") == 0
    assert "No answer: GeoSleuth abstains" in summary_line(located(abstained())).plain


@pytest.mark.parametrize(
    ("level", "wanted"),
    [
        (Level.CITY, "Beijing, China"),
        (Level.REGION, "Beijing, China"),
        (Level.COUNTRY, "China"),
        (Level.CONTINENT, "Around China"),
    ],
)
def test_a_place_is_named_no_finer_than_its_level(level: Level, wanted: str) -> None:
    answer: Answer = answered(level=level)
    assert heading(answer) == wanted


def test_an_answer_vaguer_than_a_continent_is_called_a_guess() -> None:
    assert heading(answered(level=Level.CONTINENT, radius_50_km=5650.0)) == "Hard to tell; at a guess, China"


def test_numbers_keep_only_digits_that_mean_something() -> None:
    assert [km(0.04), km(9.94), km(12.4), km(994.0), km(1249.0)] == ["0.0 km", "9.9 km", "12 km", "994 km", "1,250 km"]
    assert [percent(0.0), percent(0.004), percent(0.62), percent(0.999), percent(1.0)] == [
        "0 %", "< 1 %", "62 %", "> 99 %", "100 %",
    ]  # fmt: skip


def test_printable_keeps_one_line_and_real_letters() -> None:
    assert printable("Łódź\t北京\n") == "Łódź 北京"
    assert printable("a\x1b[31mb\x9b\u202ec\ud800") == "a\ufffd[31mb\ufffd\ufffdc\ufffd"
    assert printable("abcdef", 4) == "abc…"


def test_a_calibrated_confidence_stands_beside_the_ledgers() -> None:
    raw = answered(radius_is_calibrated=False)
    calibrated = answered(radius_is_calibrated=True, confidence=0.001)
    ledger = percent(raw.hypotheses[0].probability)
    assert confidence_text(raw) == percent(raw.confidence)
    assert confidence_text(calibrated) == f"< 1 % (calibrated; the ledger says {ledger})"
    assert certainty_note(raw).startswith("radius not calibrated · level: ")
    assert certainty_note(calibrated).startswith(f"calibrated; the ledger says {ledger} · level: ")
