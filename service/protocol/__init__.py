"""Bytes to named arrays and back: Open Inference Protocol v2, and bare pictures."""
