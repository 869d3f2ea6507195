"""Recorded rows run again without a server: what a budget or a version would have alarmed."""
