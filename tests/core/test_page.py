"""The page that makes no request: its policy allows exactly what is in it, and data cannot act."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from core.page import self_contained_page

ATTACK = '</script><script>alert(1)</script><img src=x onerror="alert(2)">&'


def page(data: dict[str, object], title: str = "A page") -> str:
    return self_contained_page(title, "p { color: red }", "<p>text</p>\n", data, ["let a = 1;", "a += 1;"])


def csp_hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def test_the_policy_allows_what_is_in_the_page_and_nothing_else() -> None:
    found = page({})
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', found)
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy[1].split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == " ".join(map(csp_hash, re.findall(r"<script>(.*?)</script>", found)))
    assert rules["style-src"] == csp_hash(re.findall(r"<style>(.*?)</style>", found)[0])
    assert rules["img-src"] == "data:"


def test_data_and_title_come_back_as_they_were_and_make_no_markup() -> None:
    found = page({"text": ATTACK, "more": ["é", 1.5]}, title=ATTACK)
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', found)
    assert data is not None
    assert json.loads(data[1]) == {"text": ATTACK, "more": ["é", 1.5]}
    assert found.count("<script") == 3
    assert "<img" not in found


def test_what_json_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        page({"distance": float("nan")})
