"""Explanations. Knows no HTTP and no model: a picture and a predict function come in."""
