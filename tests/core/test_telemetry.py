"""ONNX Runtime's reports to its maker are off before it is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_loading_a_model_starts_no_telemetry() -> None:
    # Where it is on and cannot keep an id of the device, it says so; CI systems are left alone by it.
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment = kept | {"HOME": "/proc/none", "XDG_CACHE_HOME": "/proc/none", "PYTHONPATH": str(ROOT)}
    load = "import core.errors, onnxruntime as o; o.InferenceSession(sys.argv[1]); print('loaded')"
    model = next((ROOT / "retrieval").rglob("*.onnx"))
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {load}", model],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout == "loaded\n"
    assert "telemetry" not in done.stderr.lower()
