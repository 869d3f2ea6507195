"""Offline training: data, model, fit, release. Only files cross from here to `service/`."""

import service  # noqa: F401 - first: it keeps ONNX Runtime from reporting to its maker
