"""Whole files of inputs explained, row by row, on Ray Data; no server is asked."""
