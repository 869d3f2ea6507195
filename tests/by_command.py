"""`glassline train` in this process, which has loaded torch already: another takes seconds to."""

from __future__ import annotations

from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from service import settings as configuration
from training.commands import app


def train(*words: str, home: Path) -> Result:
    """What the command with these words does and says, and its exit code."""
    configuration.load.cache_clear()
    try:
        return CliRunner().invoke(app, words, env={"GLASSLINE_HOME": str(home), "COLUMNS": "200"})
    finally:
        configuration.load.cache_clear()


def trained(*words: str, home: Path) -> None:
    """Train by the command; whoever calls this needs what is released then."""
    done = train(*words, home=home)
    if done.exit_code:
        raise AssertionError(done.output) from done.exception
