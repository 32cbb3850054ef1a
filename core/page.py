"""One HTML file with everything in it: it opens without a network and asks for none.

The page's policy forbids every request, and runs only the scripts whose hashes it names. Data travel as JSON, for a
script to place as text, so that nothing in them can act on the page.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from string import Template

_PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="generator" content="GeoSleuth">
<link rel="icon" href="data:,">
<title>$title</title>
<style>$style</style>
</head>
<body>
$body
<script type="application/json" id="data">$data</script>
$scripts
</body>
</html>
""")


def self_contained_page(title: str, style: str, body: str, data: Mapping[str, object], scripts: Sequence[str]) -> str:
    """A page as one text.

    Args:
        title: plain text.
        style: CSS that refers to nothing outside the page.
        body: HTML. What comes from outside must be escaped in it.
        data: what the scripts find as JSON in the element `data`.
        scripts: JavaScript, run in this order.

    Raises:
        ValueError: `data` hold what JSON does not know, such as NaN.
    """
    return _PAGE.substitute(
        policy=_policy(scripts, style),
        title=escape(title),
        style=style,
        body=body.strip(),
        data=_script_json(data),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def _script_json(data: Mapping[str, object]) -> str:
    """JSON that cannot end a script element or start markup."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(scripts: Sequence[str], style: str) -> str:
    return (
        f"default-src 'none'; script-src {' '.join(map(_hash, scripts))}; style-src {_hash(style)};"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    """As a Content-Security-Policy names the content of an element it allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
