"""Documentation is tested: every route, setting and metric stands in it."""

from __future__ import annotations

import re

import httpx
import pytest

from service import metrics
from service.settings import Settings
from tests.running_server import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
LINKED = [REPOSITORY / path for path in re.findall(r"\]\(([\w./-]+\.md)\)", README)]
DOCS = README + "".join(path.read_text() for path in LINKED)


def test_every_linked_page_exists() -> None:
    assert LINKED
    assert all(path.is_file() for path in LINKED)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    row = re.search(rf"^\| `GLASSLINE_{name.upper()}` \| `?([^|`]*)`? \|", DOCS, re.MULTILINE)
    assert row, f"GLASSLINE_{name.upper()} is in no table of the README or its pages"
    default = Settings.model_fields[name].default
    assert row[1].strip() == str(default)


@pytest.mark.parametrize("name", [name for name, _, _ in metrics.documented()])
def test_every_metric_is_documented(name: str) -> None:
    assert f"`{name}`" in DOCS


def test_every_route_is_documented(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert len(document["paths"]) >= 15
    missing = [path for path in document["paths"] if f"{path}`" not in DOCS]
    assert missing == []


def test_the_openapi_document_is_valid(client: httpx.Client) -> None:
    from openapi_spec_validator import validate

    validate(client.get("/openapi.json").json())


def test_the_readme_shows_the_two_commands() -> None:
    assert re.search(r"^make demo$", README, re.MULTILINE)
    assert re.search(r"^make test$", README, re.MULTILINE)
