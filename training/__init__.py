"""Offline training: data, model, fit, release. Only files cross from here to `service/`."""
