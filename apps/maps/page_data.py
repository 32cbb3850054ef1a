"""The data of the map page: all texts as they are shown, all shapes in map longitudes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from agents.schemas import Answer, Evidence, Hypothesis, HypothesisStatus
from apps.maps.geometry import (
    OUTLINED_SHARES,
    HeatLayer,
    around,
    disc,
    exteriors,
    heat_layers,
    near_longitude_deg,
    polygon_rings,
)
from apps.maps.tile_data import jpeg_uri, pictures_of, tile_data
from apps.maps.viewport import KM_PER_DEGREE, LIKELY, belief_bounds
from apps.output.formatting import (
    LocatedPhoto,
    area_text,
    areas_text,
    certainty_note,
    chances,
    chances_text,
    confidence_heading,
    confidence_text,
    cost_text,
    credible_circles,
    evidence_source,
    has_information,
    heading,
    hypothesis_text,
    information_text,
    km,
    model_costs,
    percent,
    printable,
    radii_text,
    radius_note,
    short_area_text,
    versions_text,
)
from geo.point import Point
from retrieval.candidate import Candidate

Data = dict[str, Any]
_MIN_VIEW_KM = 150.0
_CLAIMS_IN_TIP = 4
_BRIEF_COUNT = 4
_TEXT_LIMIT = 600


def photo_data(item: LocatedPhoto, centre_lon_deg: float, brief: bool = False) -> Data:
    """One photo's panel and marks; positions are (longitude, latitude) within 180° of the map's middle.

    `brief` keeps only the first hypotheses, evidence and candidates: a page of many photos has to stay small.
    """
    answer = _brief(item.answer) if brief else item.answer
    return {
        "name": printable(item.name),
        "thumbnail": jpeg_uri(item.thumbnail_jpeg) if item.thumbnail_jpeg else None,
        "heading": heading(answer),
        "point": _at(answer.point, centre_lon_deg) if answer.point else None,
        "discs": _discs(answer, centre_lon_deg),
        "heat": _heat(answer, centre_lon_deg, brief),
        "hypotheses": [
            _hypothesis(answer, number, hypothesis, centre_lon_deg)
            for number, hypothesis in enumerate(answer.hypotheses, 1)
        ],
        "evidence": [
            _evidence(evidence, answer) | {"pictures": pictures_of(evidence, answer, item.thumbnail_jpeg)}
            for evidence in answer.evidence
        ],
        "candidates": [_candidate(candidate, centre_lon_deg) for candidate in answer.candidates],
        "tiles": [tile_data(tile, centre_lon_deg) for tile in answer.matches],
        "metadata": _metadata(answer, centre_lon_deg),
        "bounds": answer_bounds(answer, centre_lon_deg),
    } | _texts(answer)


def _brief(answer: Answer) -> Answer:
    kept = {
        "hypotheses": answer.hypotheses[:_BRIEF_COUNT],
        "evidence": answer.evidence[:_BRIEF_COUNT],
        "candidates": answer.candidates[: 2 * _BRIEF_COUNT],
        "matches": tuple(tile.model_copy(update={"jpeg_base64": ""}) for tile in answer.matches[:1]),
    }
    return answer.model_copy(update=kept)


def lean_photo_data(item: LocatedPhoto) -> Data:
    """What a page of very many photos has of each: half a kilobyte, and no shapes; the script fills in the rest.

    Longitudes are as they are: the map's middle is known when all photos are.
    """
    answer = item.answer
    point = answer.point
    return {
        "name": printable(item.name),
        "heading": heading(answer),
        "point": [round(point.lon, 5), round(point.lat, 5)] if point else None,
        "coordinates": str(point) if point else "",
        "confidence": percent(answer.confidence),
        "confidenceLabel": confidence_heading(answer),
        "share": answer.confidence,
        "chances": [[within, percent(chance), chance] for within, chance in chances(answer)],
        "circles": [
            [share, f"{percent(share)} within", km(radius), radius] for _, share, radius in credible_circles(answer)
        ],
        "note": certainty_note(answer),
    } | ({"thumbnail": jpeg_uri(item.thumbnail_jpeg)} if item.thumbnail_jpeg else {})


def _texts(answer: Answer) -> Data:
    return {
        "coordinates": str(answer.point) if answer.point else "",
        "confidence": percent(answer.confidence),
        "confidenceLabel": confidence_heading(answer),
        "share": answer.confidence,
        "chances": [
            {"within": within, "percent": percent(chance), "share": chance} for within, chance in chances(answer)
        ],
        "areas": areas_text(answer),
        "note": certainty_note(answer),
        "summary": _summary(answer),
        "reasoning": printable(answer.reasoning, 4 * _TEXT_LIMIT),
        "cost": [cost_text(answer), *model_costs(answer.cost_by_model)],
        "versions": versions_text(answer),
        "hash": f"photo sha256 {', '.join(answer.photo_sha256s)}",
    }


def _summary(answer: Answer) -> list[str]:
    lines = (f"confidence {confidence_text(answer)}", chances_text(answer), radii_text(answer), areas_text(answer))
    return [line for line in lines if line]


def _heat(answer: Answer, centre_lon_deg: float, brief: bool) -> list[Data]:
    """The nested areas, widest first; where the page has to stay small, those with an outline, in fewer corners."""
    layers = heat_layers(answer, centre_lon_deg, OUTLINED_SHARES if brief else None)
    return [_heat_layer(layer, brief) for layer in layers]


def _heat_layer(layer: HeatLayer, brief: bool) -> Data:
    west, south, east, north = layer.shape.bounds if not layer.shape.is_empty else (0.0, 0.0, 0.0, 0.0)
    span_deg = max(east - west, north - south, 1e-5)
    shape = layer.shape.simplify(span_deg / (200.0 if brief else 3000.0))
    share = layer.area.share
    return {
        "kind": f"area{share * 100:.0f}",
        "colour": "#{:02x}{:02x}{:02x}".format(*layer.colour),
        "outlined": share in OUTLINED_SHARES,
        "size": short_area_text(layer.area),
        "title": f"{percent(share)} area",
        "lines": [area_text(layer.area)],
        "polygons": polygon_rings(shape, _decimals(span_deg * KM_PER_DEGREE)),
    }


def _discs(answer: Answer, centre_lon_deg: float) -> list[Data]:
    return [
        {
            "kind": f"within{share * 100:.0f}",
            "title": f"{percent(share)} within",
            "size": km(radius_km),
            "lines": [f"{km(radius_km)} of the answer", f"radius {radius_note(answer)}"],
            "rings": _rings(centre, radius_km, centre_lon_deg),
        }
        for centre, share, radius_km in credible_circles(answer)
    ]


def _hypothesis(answer: Answer, number: int, hypothesis: Hypothesis, centre_lon_deg: float) -> Data:
    return {
        "id": hypothesis.id,
        "label": str(number),
        "name": printable(hypothesis.name, _TEXT_LIMIT),
        "percent": percent(hypothesis.probability),
        "share": hypothesis.probability,
        "lines": [hypothesis_text(hypothesis)],
        "at": _at(hypothesis.point, centre_lon_deg),
        "rings": _rings(hypothesis.point, hypothesis.radius_km, centre_lon_deg),
        "bounds": _bounds(hypothesis.point, hypothesis.radius_km, centre_lon_deg),
        "claims": _claims(answer, hypothesis),
        "chosen": number == 1 and answer.point is not None,
        "out": hypothesis.status is not HypothesisStatus.OPEN,
    }


def _claims(answer: Answer, hypothesis: Hypothesis) -> list[Data]:
    """The evidence that weighs most for or against a hypothesis."""
    weighed = [(evidence.log_likelihood_ratio.get(hypothesis.id, 0.0), evidence) for evidence in answer.evidence]
    heaviest = sorted((pair for pair in weighed if pair[0]), key=lambda pair: -abs(pair[0]))[:_CLAIMS_IN_TIP]
    return [{"text": printable(evidence.claim, 160), "against": weight < 0} for weight, evidence in heaviest]


def _evidence(evidence: Evidence, answer: Answer) -> Data:
    names = {hypothesis.id: printable(hypothesis.name, 40) for hypothesis in answer.hypotheses}
    arguments = json.dumps(evidence.source.arguments, ensure_ascii=False) if evidence.source else ""
    return {
        "claim": printable(evidence.claim, _TEXT_LIMIT),
        "source": evidence_source(evidence),
        "told": f"told {information_text(evidence)}" if has_information(answer) else "",
        "details": printable(f"{arguments} → sha256 {evidence.source.result_sha256}") if evidence.source else "",
        "weights": [
            {"id": key, "text": f"{names[key]} {weight:+.1f}", "against": weight < 0}
            for key, weight in evidence.log_likelihood_ratio.items()
            if key in names and weight
        ],
    }


def _candidate(candidate: Candidate, centre_lon_deg: float) -> Data:
    return {
        "at": _at(candidate.point, centre_lon_deg),
        "title": f"Candidate {candidate.rank + 1}",
        "lines": [
            f"similarity {candidate.similarity:.3f}",
            printable(f"{candidate.atlas} · {candidate.item_id}", 120),
            str(candidate.point),
        ],
    }


def _metadata(answer: Answer, centre_lon_deg: float) -> Data | None:
    if answer.metadata_position is None:
        return None
    return {
        "at": _at(answer.metadata_position, centre_lon_deg),
        "title": "What the file claims",
        "lines": [f"The file's metadata says {answer.metadata_position}.", "It can be edited and is not checked."],
    }


def answer_bounds(answer: Answer, centre_lon_deg: float) -> list[float]:
    """West, south, east, north of what to show of an answer."""
    if answer.areas:
        return _area_bounds(answer, centre_lon_deg)
    if answer.point is not None:
        return _bounds(answer.point, answer.radius_90_km or 0.0, centre_lon_deg)
    if not answer.hypotheses:
        return [centre_lon_deg - 180.0, -85.0, centre_lon_deg + 180.0, 85.0]
    spots = np.array([_bounds(h.point, h.radius_km, centre_lon_deg) for h in answer.hypotheses[:3]])
    return [*spots[:, :2].min(axis=0).tolist(), *spots[:, 2:].max(axis=0).tolist()]


def focus_bounds(answer: Answer, centre_lon_deg: float) -> list[float]:
    """West, south, east, north of the 50 % radius and the likely hypotheses: closer than all of the belief."""
    if answer.point is None or answer.radius_50_km is None:
        return answer_bounds(answer, centre_lon_deg)
    boxes = [_bounds(answer.point, answer.radius_50_km, centre_lon_deg)]
    boxes += [_bounds(h.point, 0.0, centre_lon_deg) for h in answer.hypotheses if h.probability >= LIKELY]
    edges = np.array(boxes)
    return [*edges[:, :2].min(axis=0).tolist(), *edges[:, 2:].max(axis=0).tolist()]


def _area_bounds(answer: Answer, centre_lon_deg: float) -> list[float]:
    """The belief, and what is near the point."""
    west, south, east, north = belief_bounds(answer)
    turn_deg = near_longitude_deg((west + east) / 2.0, centre_lon_deg) - (west + east) / 2.0
    boxes = [[max(west + turn_deg, centre_lon_deg - 180.0), south, min(east + turn_deg, centre_lon_deg + 180.0), north]]
    if answer.point is not None:
        boxes.append(_bounds(answer.point, 0.0, centre_lon_deg))
    edges = np.array(boxes)
    return [round(value, 4) for value in (*edges[:, :2].min(axis=0).tolist(), *edges[:, 2:].max(axis=0).tolist())]


def _bounds(centre: Point, radius_km: float, centre_lon_deg: float) -> list[float]:
    area = around(disc(centre, max(radius_km, _MIN_VIEW_KM)), centre_lon_deg)
    return [round(value, 4) for value in area.bounds]


def _rings(centre: Point, radius_km: float, centre_lon_deg: float) -> list[list[tuple[float, float]]]:
    return exteriors(around(disc(centre, radius_km), centre_lon_deg), _decimals(radius_km))


def _decimals(size_km: float) -> int:
    """Decimals of a degree for a shape of a size: a thousandth of it is finer than any screen shows."""
    return int(np.clip(np.ceil(5.0 - np.log10(max(size_km, 0.01))), 2, 6))


def _at(point: Point, centre_lon_deg: float) -> list[float]:
    return [round(near_longitude_deg(point.lon, centre_lon_deg), 5), round(point.lat, 5)]
