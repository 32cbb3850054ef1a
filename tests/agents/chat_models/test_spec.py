"""How models are asked for: every kind, what leaves the machine, and what is wrong with a spec, without credentials."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata

from agents.chat_models.prices import Price, find_price
from agents.chat_models.registry import load_model
from agents.chat_models.spec import ModelOptions, find_jury, find_model, parse_spec, short_name, split_jury
from core.errors import UserError

LOCAL = "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize(
    ("spec", "host"),
    [
        ("offline", None),
        ("recorded:answers.jsonl@photos", None),
        ("mailbox:requests/today", "whoever reads the folder"),
        ("mailbox:anna@requests/to@day", "whoever reads the folder"),
        ("paste", "whatever service you give them to"),
        ("openai:gpt-4o", "api.openai.com"),
        ("anthropic:claude-sonnet-4-5", "api.anthropic.com"),
        ("google_genai:gemini-2.5-flash", "generativelanguage.googleapis.com"),
        ("ollama:llava:13b", None),
        ("ollama:llava@http://gpu.example.org:11434", "gpu.example.org"),
        (f"vllm:Qwen/Qwen2.5-VL-7B-Instruct@{LOCAL}", None),
        ("openai_compatible:m@http://localhost:8000/v1", None),
        ("openai_compatible:m@http://[::1]:8000/v1", None),
        ("openai_compatible:m@https://models.example.org/v1", "models.example.org"),
        ("openai_compatible:org/m@v2@https://models.example.org/v1/", "models.example.org"),
    ],
)
def test_a_spec_says_where_photos_go(spec: str, host: str | None) -> None:
    described = find_model(spec)
    assert described.leaves_the_machine == host
    assert find_model(described.name) == described


@pytest.mark.parametrize(
    ("model", "short"),
    [
        ("recorded:answers/o4-mini.jsonl@photos", "recorded o4-mini"),
        ("openai:gpt-4o", "gpt-4o"),
        ("vllm:Qwen/Qwen2.5-VL-7B@http://127.0.0.1:8000/v1", "Qwen2.5-VL-7B"),
        ("offline", "offline"),
        ("mailbox:anna@requests/today", "mailbox anna"),
        ("mailbox:./requests/to@day", "mailbox to@day"),
        ("paste", "paste"),
        ("something of an old run", "something of an old run"),
    ],
)
def test_tables_name_recorded_answers_by_their_file(model: str, short: str) -> None:
    assert short_name(model) == short


def test_a_jury_is_named_with_commas() -> None:
    names = f"openai:gpt-4o, recorded:answers.jsonl ,vllm:m@{LOCAL}"
    assert [(one.name, one.leaves_the_machine) for one in find_jury(names)] == [
        ("openai:gpt-4o", "api.openai.com"),
        ("recorded:answers.jsonl", None),
        (f"vllm:m@{LOCAL}", None),
    ]
    assert split_jury("offline") == ("offline",)
    assert short_name("recorded:a/x.jsonl@photos,openai:gpt-4o") == "recorded x + gpt-4o"


@pytest.mark.parametrize(
    ("jury", "problem"),
    [
        ("recorded:Lisbon, Portugal.jsonl,offline", "or of a mailbox can hold none"),
        ("offline,openai:a,offline", "names 'offline' twice"),
        ("offline,", "without empty places"),
        ("offline,gpt-9", "unknown model 'gpt-9'"),
        ("vllm:m@http://user:hunter22@h/v1,offline", "no name or password"),
    ],
)
def test_a_jury_that_cannot_be_used_says_what_to_write(jury: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        find_jury(jury)
    assert "hunter22" not in str(caught.value)


def test_a_models_own_name_may_hold_colons_and_ats() -> None:
    assert parse_spec("ollama:llava:13b").target == "llava:13b"
    assert parse_spec("openai_compatible:org/m@v2@http://h/v1").target == "org/m@v2"


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("gpt-9", "unknown model 'gpt-9': choose one of offline, recorded:FILE"),
        ("offline:x", "takes no name"),
        ("openai:", "write openai:NAME"),
        ("recorded:", "write recorded:FILE"),
        ("mailbox:", "write mailbox:"),
        ("paste:me", "takes no name"),
        ("vllm:m", "say where the server is"),
        ("vllm:m@gpu.example.org", "must start with http"),
        ("vllm:m@ftp://gpu.example.org", "must start with http"),
        ("vllm:m@http://", "cannot be used"),
        ("vllm:m@http://h:notaport/v1", "cannot be"),
        ("vllm:m@http://h/v1?key=hunter22", "no query"),
        ("vllm:m@http://user:hunter22@h/v1", "no name or password"),
        ("openai:gpt-4o@https://elsewhere.example.org", "takes no URL"),
        ("hunter22://x@y", "unknown model"),
    ],
)
def test_a_spec_that_cannot_be_used_says_what_to_write(spec: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        find_model(spec)
    assert "hunter22@" not in str(caught.value)
    assert "key=hunter22" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "module", "extra"),
    [
        ("openai:x", "langchain_openai", "openai"),
        (f"vllm:x@{LOCAL}", "langchain_openai", "openai"),
        ("anthropic:x", "langchain_anthropic", "anthropic"),
        ("google_genai:x", "langchain_google_genai", "google"),
        ("ollama:x", "langchain_ollama", "ollama"),
    ],
)
def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, spec: str, module: str, extra: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, f"{module}.chat_models.base", None)
    monkeypatch.delitem(sys.modules, "agents.chat_models.dialects.openai_compatible", raising=False)
    with pytest.raises(UserError, match=rf"pip install 'geosleuth\[{extra}\]'"):
        load_model(spec)


@pytest.mark.parametrize(
    ("spec", "module", "key"),
    [
        ("openai:gpt-4o", "langchain_openai", "OPENAI_API_KEY"),
        ("anthropic:claude-sonnet-4-5", "langchain_anthropic", "ANTHROPIC_API_KEY"),
        ("google_genai:gemini-2.5-flash", "langchain_google_genai", "GOOGLE_API_KEY"),
    ],
)
def test_a_missing_key_is_said_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, spec: str, module: str, key: str
) -> None:
    pytest.importorskip(module)
    for name in (key, "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=f"set the environment variable {key}"):
        load_model(spec)
    monkeypatch.setenv(key, "sk-test-0123456789abcdef")
    loaded = load_model(spec)
    assert (loaded.capabilities.images, loaded.capabilities.tools) == (True, True)
    assert loaded.price is not None
    assert "0123456789abcdef" not in repr(loaded)


def test_an_unknown_price_is_said_and_a_table_of_ones_own_mends_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("langchain_openai")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    assert any("no price is known" in remark for remark in load_model("openai:gpt-99-nova").remarks)
    table = tmp_path / "prices.json"
    table.write_text('{"openai:gpt-99-nova": {"input": 1.0, "output": 2.0}}')
    priced = load_model("openai:gpt-99-nova", ModelOptions(prices=table))
    assert (priced.price, priced.remarks) == (Price(input=1.0, output=2.0), ())


def test_list_prices_and_their_source() -> None:
    pytest.importorskip("genai_prices")
    price = find_price(parse_spec("openai:gpt-4o"))
    assert price is not None
    assert (price.input, price.output, price.cached_input) == (2.5, 10.0, 1.25)
    assert price.source.startswith("genai-prices 0.")
    assert find_price(parse_spec("openai:gpt-4o-2024-08-06")) == price
    assert find_price(parse_spec("anthropic:claude-sonnet-4-20250514")) == find_price(
        parse_spec("anthropic:claude-sonnet-4")
    )
    assert find_price(parse_spec("google_genai:gemini-2.5-flash")) is not None


@pytest.mark.parametrize("spec", ["openai:gpt-99-nova", f"vllm:gpt-4o@{LOCAL}", "ollama:gpt-4o"])
def test_only_a_hosted_model_that_is_listed_has_a_list_price(spec: str) -> None:
    assert find_price(parse_spec(spec)) is None


def test_without_the_package_prices_are_unknown_and_the_remark_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("langchain_openai")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    [remark] = load_model("openai:gpt-4o").remarks
    assert "no price is known" in remark
    assert "genai-prices is not installed" in remark
    table = tmp_path / "prices.json"
    table.write_text('{"openai:gpt-4o": {"input": 1.0, "output": 2.0}}')
    assert load_model("openai:gpt-4o-2024-08-06", ModelOptions(prices=table)).price == Price(input=1.0, output=2.0)


def test_cached_tokens_have_a_price_of_their_own() -> None:
    price = Price(input=2.0, output=10.0, cached_input=0.5)
    used = {"input_tokens": 1_000_000, "output_tokens": 100_000, "total_tokens": 1_100_000}
    assert price.usd(used) == pytest.approx(3.0)  # type: ignore[arg-type]  # a plain dictionary of the same keys
    cached = {**used, "input_token_details": {"cache_read": 500_000}}
    assert price.usd(cached) == pytest.approx(2.25)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "problem"), [("{", "cannot be"), ('{"openai:x": {"input": -1, "output": 0}}', "input")]
)
def test_a_price_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, problem: str) -> None:
    table = tmp_path / "prices.json"
    table.write_text(text)
    with pytest.raises(UserError, match=problem):
        find_price(parse_spec("openai:x"), table)
    with pytest.raises(UserError, match="cannot be read"):
        find_price(parse_spec("openai:x"), tmp_path / "missing.json")


def test_cached_tokens_have_their_own_prices() -> None:
    price = Price(input=3.0, output=15.0, cached_input=0.3, cache_write=3.75)
    details = InputTokenDetails(cache_read=600, cache_creation=300)
    usage = UsageMetadata(input_tokens=1_000, output_tokens=100, total_tokens=1_100, input_token_details=details)
    assert price.usd(usage) == pytest.approx((100 * 3.0 + 600 * 0.3 + 300 * 3.75 + 100 * 15.0) / 1e6)
    plain = Price(input=3.0, output=15.0)
    assert plain.usd(usage) == pytest.approx((1_000 * 3.0 + 100 * 15.0) / 1e6)
