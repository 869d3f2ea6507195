"""Glassline online: serve, explain, record. Never imports torch, `models` or `training`."""

import os

__version__ = "0.1.0"

# ONNX Runtime 1.29 and later report model names to their maker unless told not to before
# the first import. What runs on a production line is nobody else's business.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
