"""Configuration: one source of truth, read once, wrong values named."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from service import settings
from service.settings import InvalidSettings, Settings


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"GLASSLINE_{name.upper()}", raising=False)
    monkeypatch.delenv("GLASSLINE_CONFIG", raising=False)
    settings.load.cache_clear()


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "glassline.toml"
    file.write_text("port = 4000\nworkers = 3\n")
    monkeypatch.setenv("GLASSLINE_CONFIG", str(file))
    monkeypatch.setenv("GLASSLINE_PORT", "5000")
    read = settings.load()
    assert (read.port, read.workers, read.host) == (5000, 3, "127.0.0.1")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        settings.load().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "0"), ("PORT", "high"), ("WORKERS", "-1"), ("DEVICE", "tpu"), ("EXPLAIN_QUEUE", "0")],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"GLASSLINE_{name}", value)
    with pytest.raises(InvalidSettings, match=f"GLASSLINE_{name}.*got '{value}'"):
        settings.load()


def test_an_unknown_key_in_the_file_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "glassline.toml"
    file.write_text("prot = 4000\n")
    monkeypatch.setenv("GLASSLINE_CONFIG", str(file))
    with pytest.raises(InvalidSettings, match="PROT"):
        settings.load()


def test_a_missing_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLASSLINE_CONFIG", "/nowhere/glassline.toml")
    with pytest.raises(InvalidSettings, match="/nowhere/glassline.toml"):
        settings.load()


def test_a_child_process_sees_the_same_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GLASSLINE_HOME", str(tmp_path))
    monkeypatch.setenv("GLASSLINE_WORKERS", "2")
    parent = settings.load()
    for name, value in parent.environment().items():
        monkeypatch.setenv(name, value)
    settings.load.cache_clear()
    assert settings.load() == parent.model_copy(update={"home": tmp_path})
    assert parent.environment()["BENTOML_HOME"] == str(tmp_path / "run" / "bentoml-3000")
