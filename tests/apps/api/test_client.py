"""The client in docs/api.md, as it stands there, against a real server."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from apps.api.app import create_app
from apps.service.access import ApiKeys
from tests.fakes.photo_files import jpeg
from tests.fakes.services import ROOT, listening, service

KEY = "k" * 20


def test_the_client_of_the_docs_locates_photos(tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, type] = {}
    exec(code, names)  # noqa: S102 - our own
    photos = [jpeg(tmp_path / f"{number}.jpg", number) for number in range(2)]
    with service(tmp_path) as opened, listening(create_app(opened, ApiKeys.of([f"anna:{KEY}"]))) as url:
        client = names["GeoSleuthClient"](url, KEY)
        assert client.locate(photos[0], "where?").point is not None
        job = client.locate_many(photos)
        while opened.jobs.find("anna", job).status != "done":
            time.sleep(0.05)
        assert [json.loads(line)["photo"] for line in client.results(job)] == ["0.jpg", "1.jpg"]
