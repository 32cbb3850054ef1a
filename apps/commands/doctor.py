"""`geosleuth doctor`: what is installed, and what is missing."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.options import Home


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    online: Annotated[bool, typer.Option("--online", help="Also try the services that could be used.")] = False,
    home: Home = None,
) -> int:
    """Say what is installed, what each missing thing would add, and how to get it."""
    from apps.doctor.checks import diagnose
    from apps.doctor.report import print_findings
    from graphs.settings import make_settings

    print_findings(diagnose(make_settings(home=home), online), as_json)
    return 0
