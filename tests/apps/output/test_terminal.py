"""What a person reads at a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from agents.schemas import Answer, Cost, Level
from apps.chat.view import cost_lines, photo_line
from apps.output.formatting import (
    LocatedPhoto,
    areas_text,
    certainty_note,
    chance_bars,
    chances_text,
    confidence_text,
    heading,
    information_text,
    km,
    model_costs,
    percent,
    printable,
    square_km,
)
from apps.output.terminal import print_answer, summary_line
from tests.fakes.answers import HOSTILE, abstained, answered, at, believed, hostile, located


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


CHANCES = "within 1 km 12 % · 25 km 48 % · 200 km 71 % · 750 km 88 % · 2,500 km 97 %"


def test_a_belief_is_told_as_chances_areas_and_information() -> None:
    text = printed(located(believed()), width=140)
    for wanted in (
        f"▁▄▆▇█ {CHANCES}",
        "48 % within 25 km (calibrated)",
        "half of such photos lie in 133,000 km², nine tenths in 656,000 km²",
        "much (2.4 nats)",
        "hardly anything (0.02 nats)",
        "openai:gpt-4.1: 2 model calls · 4,200 tokens · $0.0105 · 4.10 s",
    ):
        assert wanted in text
    assert "ledger" not in text


def test_an_answer_of_an_old_run_has_none_of_that() -> None:
    old = answered()
    assert (chances_text(old), chance_bars(old), areas_text(old), model_costs(old.cost_by_model)) == (
        None,
        "",
        None,
        [],
    )
    text = printed(located(old))
    for missing in ("chances", "areas", "nats"):
        assert missing not in text


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_every_width_prints_all_chances(width: int) -> None:
    text = printed(located(believed()), width)
    assert max(map(len, text.splitlines())) <= width
    assert all(chance in " ".join(text.split()) for chance in ("12 %", "48 %", "71 %", "88 %", "97 %"))


def test_an_abstention_tells_the_areas_of_its_belief() -> None:
    undecided = believed(point=None, place=None, level=None, chance_within_km={}, status=abstained().status)
    assert "half of such photos lie in 133,000 km²" in printed(located(undecided))


def test_a_summary_says_within_what_the_confidence_holds() -> None:
    assert summary_line(located(believed())).plain.endswith("▁▄▆▇█ 48 % within 25 km, 90 % within 610 km")
    assert summary_line(located()).plain.endswith("Beijing, China  62 %, within 610 km")
    assert photo_line(1, "a.jpg", believed(), True).endswith("Beijing, China  ▁▄▆▇█ 48 % within 25 km")
    assert photo_line(1, "a.jpg", None, False).endswith("not located")


def test_the_cost_of_a_conversation_names_the_models_of_its_juries() -> None:
    lines = cost_lines(Cost(model_calls=9, usd=0.03), [believed(), believed(), answered()]).splitlines()
    assert lines[0].startswith("9 model calls")
    assert lines[1] == "  openai:gpt-4.1: 4 model calls · 8,400 tokens · $0.0210 · 8.20 s"
    assert len(lines) == 3
    assert len(cost_lines(Cost(), [answered()]).splitlines()) == 1


def test_model_names_are_printed_as_text() -> None:
    (line,) = model_costs({HOSTILE: Cost(model_calls=1)})
    assert printable(line) == line


def test_areas_and_information_keep_only_digits_that_mean_something() -> None:
    sizes = [square_km(size) for size in (0.0312, 2.04, 99.6, 1243.0, 48_049.0, 999_499.0, 12_340_000.0, 5.1e8)]
    assert sizes == [
        "0.03 km²", "2.0 km²", "100 km²", "1,240 km²", "48,000 km²", "999,000 km²", "12.3 million km²",
        "510 million km²",
    ]  # fmt: skip
    told = [
        information_text(believed().evidence[0].model_copy(update={"information_nats": nats}))
        for nats in (0.0, 0.3, 1.2, 2.9, 4.0)
    ]
    assert told == [
        "hardly anything (0.00 nats)", "a little (0.3 nats)", "something (1.2 nats)", "much (2.9 nats)",
        "very much (4.0 nats)",
    ]  # fmt: skip
