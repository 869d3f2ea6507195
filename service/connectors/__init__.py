"""Bridges between a plant's messages and the streams of a running server."""
