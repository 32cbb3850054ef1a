"""The scripted LMM of the simulation: rates as chosen, looks that the tools can make, and nothing read into errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
import numpy as np
import pytest

from agents.messages import request
from benchmarks.simulation.error_model import ErrorModel, Rates
from benchmarks.simulation.policy import LOOKS, ScriptedPolicy, look_name
from benchmarks.simulation.server import serve
from benchmarks.simulation.tools import KnownRetrieval
from evals.fitting.judgements import RIGHT_WITHIN_KM
from geo.point import Point
from geo.sphere import point_distance_km
from tools.results import Circle
from tools.services.imagery import BundledImagery

TRUTH = {
    f"photo-{n}": Point(lat=float(lat), lon=float(lon))
    for n, (lat, lon) in enumerate(zip(np.linspace(-50, 65, 400), np.linspace(-170, 170, 400), strict=True))
}
PHOTO = "photo-7"


def offering(*names: str) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": name, "parameters": {}}} for name in names]


def told(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": request("Look.", data).content}


def looked(call_id: str, tool: str, arguments: Mapping[str, Any], result: str) -> list[dict[str, Any]]:
    """A round of one tool call and its result, as they come over the wire."""
    call = {"id": call_id, "type": "function", "function": {"name": tool, "arguments": json.dumps(arguments)}}
    return [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": result},
    ]


def test_every_look_is_one_that_the_bundled_tools_can_make() -> None:
    assert {zoom for tool, zoom in LOOKS if tool == "satellite_view"} <= set(BundledImagery.zooms)
    assert len({look_name(*look) for look in LOOKS}) == len(LOOKS)


@pytest.mark.parametrize(("result", "judged"), [("a coast", 1), ("Error: zoom 9 is not available here", 0)])
def test_a_tool_that_failed_shows_nothing(result: str, judged: int) -> None:
    place = {"id": "H1", "lat": 10.0, "lon": 20.0}
    look = looked("call-1", "satellite_view", {"lat": 10.0, "lon": 20.0, "zoom": 5}, result)
    body = {
        "messages": [told({"photo_id": PHOTO, "hypotheses": [place]}), *look],
        "tools": offering("ReviseHypotheses"),
    }
    name, arguments = ScriptedPolicy(ErrorModel(Rates(), TRUTH))(body).calls[0]
    assert name == "ReviseHypotheses"
    assert [row["tool_call_id"] for row in arguments["judgements"]] == ["call-1"] * judged


def test_it_is_right_as_often_as_was_chosen() -> None:
    errors = ErrorModel(Rates(first=0.35, listed=0.65, reading=0.8), TRUTH)
    guesses = {photo: errors.guesses(photo) for photo in TRUTH}
    assert np.mean([given[0].right for given in guesses.values()]) == pytest.approx(0.35, abs=0.07)
    assert np.mean([any(g.right for g in given) for given in guesses.values()]) == pytest.approx(0.65, abs=0.07)
    readings = [errors.fits(photo, g.point, "x") == g.right for photo, given in guesses.items() for g in given]
    assert np.mean(readings) == pytest.approx(0.8, abs=0.04)
    for photo, given in guesses.items():
        near = [point_distance_km(g.point, TRUTH[photo]) <= RIGHT_WITHIN_KM for g in given]
        assert near == [g.right for g in given]


def test_the_same_is_always_read_alike() -> None:
    first, second = (ErrorModel(Rates(), TRUTH) for _ in range(2))
    assert first.guesses(PHOTO) == second.guesses(PHOTO)
    here = TRUTH[PHOTO]
    assert [first.fits(PHOTO, here, look_name(*look)) for look in LOOKS] == [
        second.fits(PHOTO, here, look_name(*look)) for look in reversed(LOOKS)
    ][::-1]


@pytest.mark.parametrize("rates", [{"first": 0.7, "listed": 0.6}, {"reading": 1.1}, {"guesses": 1}])
def test_rates_that_cannot_be_are_refused(rates: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="rates need"):
        Rates(**rates)


def test_known_retrieval_is_right_as_often_as_was_chosen() -> None:
    search = KnownRetrieval(0.4, TRUTH)
    best = [search.candidates(photo, None, None, 20)[0].point for photo in TRUTH]
    right = [point_distance_km(p, t) <= RIGHT_WITHIN_KM for p, t in zip(best, TRUTH.values(), strict=True)]
    assert np.mean(right) == pytest.approx(0.4, abs=0.07)
    found = search.candidates(PHOTO, None, Circle(centre=best[7], radius_km=50.0), 20)
    assert found
    assert all(point_distance_km(c.point, best[7]) <= 50.0 for c in found)


def test_it_speaks_the_protocol_with_and_without_streaming() -> None:
    with serve(ScriptedPolicy(ErrorModel(Rates(), TRUTH))) as url, httpx.Client(trust_env=False) as client:
        body = {"messages": [told({"photo_id": PHOTO})], "tools": offering("GivePosition"), "model": "scripted"}
        whole = client.post(f"{url}/chat/completions", json=body).json()
        call = whole["choices"][0]["message"]["tool_calls"][0]["function"]
        assert call["name"] == "GivePosition"
        assert set(json.loads(call["arguments"])) == {"lat", "lon"}
        assert whole["usage"]["total_tokens"] > 0
        lines = client.post(f"{url}/chat/completions", json={**body, "stream": True}).text.split("\n\n")
        assert lines[-2] == "data: [DONE]"
        assert call["name"] in lines[0]
        assert client.post(f"{url}/elsewhere", json=body).status_code == 404
