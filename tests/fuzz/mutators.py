"""Ways to damage the bytes of a file, each a function of the bytes and a random generator alone.

`HARMLESS` ones say the same in other bytes: a reader either understands them or refuses them. `DAMAGING` ones may say
anything afterwards.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

Mutator = Callable[[bytes, random.Random], bytes]

_HOLE = "@@HOLE@@"
_DEEP = 100_000
ODD_JSON = (
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1e400",
        "-0.0",
        "1e-400",
        "9" * 5_000,
        "9" * 400,
        "18446744073709551616",
    ),
    *(
        "null",
        "true",
        '""',
        "[]",
        "{}",
        "[[]]",
        "-1",
        "0.5",
        '"x"',
        '"\\u0000"',
        '"\\ud800"',
        '"a\u2028b"',
        '"\\u001b[31m"',
    ),
    *(f'"{"x" * 100_000}"', "[" * _DEEP, "[" * _DEEP + "]" * _DEEP, '{"a":' * 2_000 + "1" + "}" * 2_000, '"../../x"'),
)
"""What takes the place of a value in JSON; some of it is no JSON."""
ODD_TEXT = (
    *("NaN", "inf", "-1", "1e999", "9" * 5_000, "", " ", "\0", "\u2028", "\ufeff", "\x1b[31m", '"', "\r", "\n", "\x85"),
    *("../..", "/", "x" * 200_000, "²", "１２", "=1+1", "~nouser/x", "٣", "\U0001f600"),
)
"""What takes the place of a number or a word in a text."""


def damaged(data: bytes, rng: random.Random, others: Mapping[str, bytes]) -> bytes:
    """The bytes with one to three of the damages; `others` are whole files of other kinds, by name."""
    if rng.random() < 0.04 and others:
        return others[rng.choice(sorted(others))]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(DAMAGING)(data, rng)
    return data


def _flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64)) if changed else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, rng: random.Random) -> bytes:
    start, length = _span(data, rng)
    fill = rng.choice((b"\0", b"\xff", b"", None))
    new = rng.randbytes(length) if fill is None else fill * length
    return data[:start] + new + data[start + length :]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _without_start(data: bytes, rng: random.Random) -> bytes:
    return data[rng.randrange(len(data) + 1) :]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    start, length = _span(data, rng)
    return data[: start + length] + data[start : start + length] * rng.choice((1, 2, 100)) + data[start + length :]


def _integer(data: bytes, rng: random.Random) -> bytes:
    """Where binary formats keep lengths and offsets: an extreme integer at a random place."""
    width, order = rng.choice((1, 2, 4, 8)), rng.choice(("big", "little"))
    value = rng.choice((0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1))
    start = rng.randrange(len(data) + 1)
    new: bytes = (value % 256**width).to_bytes(width, order)
    return data[:start] + new + data[start + width :]


def _span(data: bytes, rng: random.Random) -> tuple[int, int]:
    return rng.randrange(len(data) + 1), rng.choice((1, 2, 4, 16, 256, 4096))


def _word(data: bytes, rng: random.Random) -> bytes:
    """A number or a word of a text in another form."""
    words = list(re.finditer(rb"[-+.\w]+", data[:200_000]))
    if not words:
        return data
    word = rng.choice(words)
    return data[: word.start()] + rng.choice(ODD_TEXT).encode() + data[word.end() :]


def _line(data: bytes, rng: random.Random) -> bytes:
    """A line twice, left out, or elsewhere."""
    lines = data.split(b"\n")
    taken = lines.pop(rng.randrange(len(lines)))
    for _ in range(rng.randrange(3)):
        lines.insert(rng.randrange(len(lines) + 1), taken)
    return b"\n".join(lines)


def _column(data: bytes, rng: random.Random) -> bytes:
    """A column of a table doubled, left out, or exchanged with another."""
    rows = [line.split(b",") for line in data.split(b"\n")]
    first, second, change = rng.randrange(len(rows[0])), rng.randrange(len(rows[0])), rng.randrange(3)
    for row in rows:
        if max(first, second) < len(row):
            if change == 0:
                row.insert(second, row[first])
            elif change == 1:
                del row[first]
            else:
                row[first], row[second] = row[second], row[first]
    return b"\n".join(map(b",".join, rows))


def _delimiter(data: bytes, rng: random.Random) -> bytes:
    other: bytes = rng.choice((b";", b"\t", b"|", b", ", b',"'))
    return data.replace(b",", other)


def _encoding(data: bytes, rng: random.Random) -> bytes:
    """The same text in another encoding."""
    try:
        return data.decode().encode(rng.choice(("utf-16", "utf-32", "latin-1", "cp037")), "replace")
    except UnicodeDecodeError:
        return data


def _json_value(data: bytes, rng: random.Random) -> bytes:
    """A value of JSON, or of one of several lines of JSON, in another form, doubled, renamed or left out."""
    lines = data.split(b"\n") if not _parsed(data) else [data]
    number = rng.randrange(len(lines))
    value = _parsed(lines[number])
    if not value:
        return data
    holder, key = _random_place(value, rng)
    text = None
    change = rng.randrange(6)
    if change == 0:
        del holder[key]
    elif change == 1 and isinstance(holder, dict):
        holder[f"{key}2"] = holder.pop(key)
    elif change == 2 and isinstance(holder, list):
        holder.extend(holder[:1] * rng.choice((1, 50)))
    else:
        holder[key], text = _HOLE, rng.choice(ODD_JSON)
    new = json.dumps(value, ensure_ascii=False)
    lines[number] = (new if text is None else new.replace(f'"{_HOLE}"', text)).encode("utf-8", "surrogatepass")
    return b"\n".join(lines)


def _random_place(value: Any, rng: random.Random) -> tuple[Any, Any]:
    """A container within a value and one of its keys; the deeper, the less often."""
    while True:
        key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        if not (isinstance(value[key], dict | list) and value[key]) or rng.random() < 0.15:
            return value, key
        value = value[key]


def _parsed(data: bytes) -> Any:
    """A container that is not empty, or None."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) and value else None


def _byte_order_mark(data: bytes, _: random.Random) -> bytes:
    return b"\xef\xbb\xbf" + data


def _carriage_returns(data: bytes, _: random.Random) -> bytes:
    return data.replace(b"\n", b"\r\n")


def _blank_end(data: bytes, _: random.Random) -> bytes:
    return data + b"\n"


DAMAGING: tuple[Mutator, ...] = (
    *(_flip, _overwrite, _cut, _without_start, _repeat, _integer),
    *(_word, _line, _column, _delimiter, _encoding, _json_value, _json_value, _json_value),
)
HARMLESS: tuple[Mutator, ...] = (_byte_order_mark, _carriage_returns, _blank_end)
