"""Explanations of the belief in sentences, by rules: why, why not, what would change the answer.

The data is that of `graphs.prompt_data`, which every model gets: hypotheses with probabilities, and evidence with the
nats that it raised the log-odds of each by, all other evidence given: +1 makes the odds of a place 2.7 times as high.
`information_nats` says how much a piece of evidence told in all, `most_nats` how much one more of a kind may take from
a place that it speaks against.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

MIN_NATS = 0.05
MAX_LINES = 6
ONE_WITNESS = ("sign", "language")
"""All signs together are one piece of evidence of a kind: another sign adds what the first ones left."""

NO_LMM = "(These are rules over the evidence, no LMM: the picture was not looked at.)"

_WOULD_COUNT = {
    "place_name": "a sign that names a town there",
    "sign": "a telephone code, internet domain, postal code or currency of its country on a sign",
    "language": "writing in its country's language",
    "person": "what you know yourself and answer when asked",
    "retrieval": "photos taken there in an atlas of yours (geosleuth atlas build)",
    "sight": "a multimodal model that sees the picture and names it (--model)",
}


def share(probability: float) -> str:
    """A probability in per cent; never a rounded 0 or 100."""
    if 0.0 < probability < 0.01:
        return "less than 1 %"
    return "more than 99 %" if 0.99 < probability < 1.0 else f"{probability:.0%}".replace("%", " %")


def why(data: Row) -> str:
    """Evidence for and against the hypothesis that was committed to."""
    leader = first(data)
    if leader is None:
        return f"No hypothesis is open. {answer_text(data)}"
    parts = [f"{leader['name']} ({leader['id']}) has a probability of {share(leader['probability'])}."]
    lines = _evidence_lines(data, leader["id"])
    parts.append("\n".join(lines) if lines else "No evidence speaks for or against it: photos are often taken there.")
    parts += _most_telling(data)
    parts.append(f"Somewhere that no hypothesis covers: {share(data.get('elsewhere', 0.0))}.")
    return "\n".join(parts)


def answer_text(data: Row) -> str:
    """The present answer in a sentence."""
    answer = data.get("answer") or {}
    if not answer.get("name"):
        status = answer.get("status", "nothing was located yet")
        return f"There is no answer ({status}). {answer.get('reasoning', '')}".strip()
    radius = f"within {answer['radius_50_km']:,.0f} km half of the time" if answer.get("radius_50_km") else ""
    return f"The answer is {answer['name']}, {radius}; confidence {share(answer['confidence'])}."


def compare(data: Row, a: Row, b: Row, alike: Mapping[str, float] | None = None) -> str:
    """Evidence that distinguishes two hypotheses, and by how much.

    Args:
        data: hypotheses and evidence.
        a: the more probable one.
        b: the other.
        alike: by hypothesis id, the similarity of the best look-alike found near it.
    """
    parts = [f"{h['name']} ({h['id']}): {share(h['probability'])}." for h in (a, b)]
    lines = _difference_lines(data, a["id"], b["id"])
    if lines:
        parts += [f"What tells them apart, by how much more it raised {a['id']} than {b['id']}, in nats:", *lines]
    else:
        parts.append("No evidence so far tells them apart.")
    parts += _look_alikes(a, b, alike or {})
    parts.append(_odds(a, b))
    if b["id"] == (data.get("answer") or {}).get("hypothesis_id"):
        parts.append(f"The answer is {b['name']} all the same: more of the probability lies around its point.")
    return "\n".join(parts)


def what_would_change_it(data: Row) -> str:
    """Evidence that would put the second place first, and what one more piece of each kind may do."""
    rows = open_rows(data)
    leader = first(data)
    other = next((row for row in rows if leader and row["name"] != leader["name"]), None)
    if leader is None or other is None:
        return "There is no second hypothesis to change to. Name a place to compare with, and it becomes one."
    gap = math.log(max(leader["probability"], 1e-9) / max(other["probability"], 1e-9))
    behind = f"{gap:.1f} nats behind" if gap > MIN_NATS else "no less likely than"
    intro = f"{other['name']} ({other['id']}) is {behind} {leader['name']} ({leader['id']})."
    lines = _what_would_count(data, leader["id"], gap)
    heading = (
        f"What would speak for it, and how much that takes from {leader['id']} at most (what it adds comes on top):"
    )
    away = data.get("elsewhere", 0.0)
    unknown = [f"Places that are no hypothesis yet have {share(away)} in all: name one, and it is compared."]
    return "\n".join([intro, *([heading] if lines else []), *lines, *(unknown if away > 0.1 else [])])


def _what_would_count(data: Row, leader: str, gap_nats: float) -> list[str]:
    """A line for each kind of evidence that may count, the most telling first."""
    lines = []
    for kind, most in sorted((data.get("most_nats") or {}).items(), key=lambda item: -item[1]):
        left = most - (_against(data, kind, leader) if kind in ONE_WITNESS else 0.0)
        if kind in _WOULD_COUNT and left > MIN_NATS:
            enough = ", enough to overtake" if left > gap_nats else ""
            lines.append(f"  {_WOULD_COUNT[kind]}: {left:.1f} nats{enough}")
    return lines


def _against(data: Row, kind: str, key: str) -> float:
    """What evidence of a kind speaks against a hypothesis so far, in nats."""
    return -min(0.0, math.fsum(item["nats"].get(key, 0.0) for item in _evidence(data) if item["kind"] == kind))


def open_rows(data: Row) -> list[Row]:
    """Open hypotheses, most probable first."""
    return list(data.get("hypotheses") or [])


def first(data: Row) -> Row | None:
    """The hypothesis that was committed to; where there is no answer, the most probable one."""
    committed = (data.get("answer") or {}).get("hypothesis_id")
    rows = open_rows(data)
    return next((row for row in rows if row["id"] == committed), next(iter(rows), None))


def _evidence_lines(data: Row, key: str) -> list[str]:
    weighed = _heaviest(data, lambda nats: nats.get(key, 0.0))
    return [f"  {'for' if nats > 0 else 'against'} it, {nats:+.1f} nats: {_cited(item)}" for nats, item in weighed]


def _most_telling(data: Row) -> list[str]:
    """Which evidence told most about where on Earth the photo was taken."""
    told = max(_evidence(data), key=lambda item: item.get("information_nats", 0.0), default=None)
    nats = told.get("information_nats", 0.0) if told else 0.0
    if told is None or nats < MIN_NATS:
        return ["Nothing told much beyond where photos are usually taken."]
    return [f"{told['id']} told most of where on Earth it was: {nats:.1f} nats."]


def _difference_lines(data: Row, a: str, b: str) -> list[str]:
    weighed = _heaviest(data, lambda nats: nats.get(a, 0.0) - nats.get(b, 0.0))
    return [f"  {gap:+.1f}: {_cited(item)}" for gap, item in weighed]


def _heaviest(data: Row, weight: Callable[[Mapping[str, float]], float]) -> list[tuple[float, Row]]:
    """The evidence that weighs most, with its weight in nats."""
    weighed = [(weight(item["nats"]), item) for item in _evidence(data)]
    weighed = [pair for pair in weighed if abs(pair[0]) >= MIN_NATS]
    return sorted(weighed, key=lambda pair: -abs(pair[0]))[:MAX_LINES]


def _cited(item: Row) -> str:
    return f"{item['claim']} ({item['id']}, {str(item['kind']).replace('_', ' ')})"


def _look_alikes(a: Row, b: Row, alike: Mapping[str, float]) -> list[str]:
    if a["id"] not in alike or b["id"] not in alike:
        return []
    near = f"{alike[a['id']]:.3f} near {a['name']}, {alike[b['id']]:.3f} near {b['name']}"
    return [f"Most similar known place: {near} (similarities tell little by themselves)."]


def _odds(a: Row, b: Row) -> str:
    if min(a["probability"], b["probability"]) <= 0.0:
        return f"{b['name'] if b['probability'] <= a['probability'] else a['name']} has next to no probability."
    ratio = a["probability"] / b["probability"]
    if ratio < 1.05:
        return "They are equally likely."
    return f"So {a['name']} is {ratio:,.1f} times as likely as {b['name']}."


def _evidence(data: Row) -> Iterable[Row]:
    rows: Sequence[Row] = data.get("evidence") or []
    return rows
