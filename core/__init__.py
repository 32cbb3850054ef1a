"""Mechanics that know nothing of photos or places."""

import os

# From 1.29 on, ONNX Runtime for Linux reports the models it loads to its maker unless this is set before it is loaded;
# every package here imports this one first. A value that the user has set stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
