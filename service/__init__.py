"""Glassline online: serve, explain, record. Never imports torch, `models` or `training`."""

__version__ = "0.1.0"
