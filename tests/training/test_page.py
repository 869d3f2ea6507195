"""The evaluation page: whole in one file, of the figures in the manifest, served and written."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from service.store import ModelStore, StoredModel
from tests.running_server import glassline
from tests.training.test_release import candidate as lenet_candidate
from tests.training.test_release import lenet
from training import train_mlp
from training.options import Options
from training.release import release
from training.train_mlp import Config

QUICK = Options(epochs=8, device="cpu", learning_rate=0.01)


def trained(data: str, home: Path) -> StoredModel:
    config = Config(data=data, hidden=(8,), name=data, options=QUICK)
    return train_mlp.main(config, ModelStore(home), Console(file=io.StringIO()))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> StoredModel:
    return trained("wine", tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def page(classifier: StoredModel) -> str:
    path = classifier.asset("page")
    assert path is not None
    return path.read_text()


def test_it_needs_nothing_but_itself(page: str) -> None:
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    assert "default-src 'none'" in page


def test_figures_are_those_of_the_manifest(classifier: StoredModel, page: str) -> None:
    metrics = classifier.manifest.metrics
    assert f"<b>{100 * metrics['accuracy']:.1f} %</b>" in page
    assert f"<b>{100 * metrics['calibration_error']:.1f} %</b>" in page
    assert f"temperature {metrics['temperature']:.2f}" in page
    made = classifier.manifest.provenance
    assert str(made.data["sha256"]) in page
    assert str(made.environment["weights_sha256"]) in page
    for label in classifier.manifest.labels:
        assert f"<th>{label}</th>" in page
    # What no row is left that it has not seen, and how the rest was split.
    assert "<th>split seed</th><td>20</td>" in page


def test_the_worst_answers_are_explained_by_their_columns(page: str) -> None:
    shown = re.findall(r"<figcaption>", page)
    assert 1 <= len(shown) <= 10
    assert page.count('<table class="weights">') == len(shown)
    assert re.search(r"by LIME, with \d+ samples and seed 0", page)


def test_the_figures_are_a_picture_too(classifier: StoredModel) -> None:
    path = classifier.asset("evaluation")
    assert path is not None
    with Image.open(path) as picture:
        assert picture.width >= 1000
        assert np.asarray(picture.convert("L")).std() > 10


def test_a_regression_shows_errors_with_intervals(tmp_path: Path) -> None:
    stored = trained("diabetes", tmp_path)
    path = stored.asset("page")
    assert path is not None
    page = path.read_text()
    metrics = stored.manifest.metrics
    assert f"<b>{metrics['mae']:.3g}" in page
    assert len(re.findall(r"95 %: [\d.]+ to [\d.]+", page)) == 2
    assert "The 10 largest errors" in page
    assert "Class by class" not in page


def test_pictures_stand_beside_what_they_were_called_for(tmp_path: Path) -> None:
    asked = dataclasses.replace(lenet_candidate(lenet()), mistakes=2, sanity=(0, 0))
    stored = release(asked, ModelStore(tmp_path))
    path = stored.asset("page")
    assert path is not None
    page = path.read_text()
    assert "The 2 worst mistakes" in page
    assert page.count('class="pair"') == 2
    assert "no temperature was fitted" in page


def test_a_browser_gets_the_page_and_whoever_asks_for_a_picture_the_picture(
    client: httpx.Client,
) -> None:
    accept = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for path in ("/v2/models/lenet-digits/page", "/v2/models/lenet-digits/versions/1/page"):
        answer = client.get(path, headers=accept)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.headers["vary"] == "accept"
        assert "lenet-digits" in answer.text
    picture = client.get("/v2/models/lenet-digits/page", headers={"accept": "image/png"})
    assert picture.content.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("/v2/models/nobody/page", "*/*", 404),
        ("/v2/models/lenet-digits/versions/99/page", "*/*", 404),
        ("/v2/models/lenet-digits/page", "application/json", 406),
    ],
)
def test_what_is_not_there_is_refused(
    client: httpx.Client, path: str, accept: str, status: int
) -> None:
    answer = client.get(path, headers={"accept": accept})
    assert (answer.status_code, set(answer.json())) == (status, {"error"})


def test_the_command_writes_it(home: Path, tmp_path: Path) -> None:
    for name, begins in (("page.html", b"<!DOCTYPE html>"), ("page.png", b"\x89PNG")):
        file = tmp_path / name
        done = glassline("models", "page", "lenet-digits@1", "-o", str(file), home=home)
        assert done.returncode == 0, done.stderr
        assert file.read_bytes().startswith(begins)
    refused = glassline("models", "page", "lenet-digits", "-o", "page.pdf", home=home)
    assert refused.returncode == 1
    assert ".html or .png" in refused.stderr
