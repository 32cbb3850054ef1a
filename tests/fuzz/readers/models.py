"""Files that settings name: calibrations, parameters, model records, prices, strategies, recorded answers."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from agents.chat_models.prices import find_price
from agents.chat_models.recorded import load_recorded
from agents.chat_models.spec import ModelOptions, parse_spec
from agents.strategy_files import load_strategies
from belief.parameters import Parameters
from belief.records import load_records
from core.files import read_model
from graphs.assessment.calibration import EvidenceLevel, load_calibration
from tests.fuzz.cases import Files, Target

_FIT = {
    "radius_50": {"slope": 1.0, "shift": 0.1},
    "radius_90": {"slope": 0.9, "shift": 0.2},
    "confidence_raw": [0.0, 0.5, 1.0],
    "confidence_right": [0.1, 0.4, 0.9],
    "photos": 240,
    "photographers": 30,
}
_CALIBRATION = {
    "format": 1,
    "subject": {"encoder": "e@1", "strategy": "refine", "model": "m", "atlas_kinds": ["gps"], "posterior": "0" * 16},
    "fitted_on": "240 photos",
    "measured": "held",
    "levels": {level.value: _FIT for level in EvidenceLevel},
}
_HAIKU = {
    "name": "haiku",
    "summary": "a poem, then a position",
    "steps": ["guess"],
    "commit_rule": "model",
    "asks": [{"prompt": "poem", "wants": "text", "values": {"form": "haiku"}}, {"prompt": "position"}],
    "shown": ["question"],
    "samples": 3,
    "temperature": 0.5,
}
_TOML = (
    'name = "toml"\nsummary = "s"\nsteps = ["guess"]\ncommit_rule = "model"\nsamples = 2\n'
    '[[asks]]\nprompt = "poem"\nwants = "text"\nvalues = {form = "haiku"}\n[[asks]]\nprompt = "position"\n'
)
_POEM = "Write a $form about photo $photo_id.\n"
_SAID = [{"photo_sha256": "ab" * 32, "response": '{"lat": 1, "lon": 2}'}, {"photo_sha256": "cd" * 32, "response": None}]


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _packaged_parameters() -> Files:
    return {"parameters.json": resources.files("belief").joinpath("parameters.json").read_bytes()}


def _packaged_records() -> Files:
    return {"records.json": _json(json.loads(_packaged_parameters()["parameters.json"])["records"])}


def _calibrated(folder: Path) -> object:
    """Radii and confidence of answers must be numbers that make sense, whatever the file holds."""
    found = load_calibration(folder / "calibration.json")
    for fit in found.levels.values():
        for raw_km in (0.001, 10.0, 20_000.0):
            radii = fit.radii(raw_km, 2.0 * raw_km)
            assert 0.0 <= radii.half_km <= radii.most_km <= 20_100.0, radii
            assert 0.0 <= fit.confidence(0.3) <= 1.0
    return found


def _price(folder: Path) -> object:
    price = find_price(parse_spec("openai:gpt-x"), folder / "prices.json")
    usage = {"input_tokens": 1000, "output_tokens": 10, "total_tokens": 1010}
    dollars = price.usd(usage) if price else 0.0  # type: ignore[arg-type]  # a plain dict
    assert 0.0 <= dollars < float("inf"), dollars
    return dollars


def _recorded(folder: Path) -> object:
    spec = parse_spec(f"recorded:{folder / 'said.jsonl'}")
    return len(load_recorded(spec, ModelOptions()).said)


def _strategies(folder: Path) -> object:
    found = load_strategies(folder)
    for strategy in found.values():
        for ask in strategy.asks:
            assert strategy.template(ask.prompt)
    return sorted(found)


TARGETS = (
    Target("calibration", lambda: {"calibration.json": _json(_CALIBRATION)}, _calibrated),
    Target(
        "parameters",
        _packaged_parameters,
        lambda folder: read_model(folder / "parameters.json", Parameters, "file of parameters", "make it again"),
    ),
    Target("model-records", _packaged_records, lambda folder: load_records(folder / "records.json").like("any")),
    Target("prices", lambda: {"prices.json": _json({"openai:gpt-x": {"input": 1.5, "output": 2.0}})}, _price),
    Target(
        "strategies",
        lambda: {"haiku.json": _json(_HAIKU), "toml.toml": _TOML.encode(), "poem.md": _POEM.encode()},
        _strategies,
    ),
    Target("recorded-answers", lambda: {"said.jsonl": b"".join(_json(row) + b"\n" for row in _SAID)}, _recorded),
)
