"""Tables, texts, sequences and regressions explained by a running server, from real graphs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from lime.lime_tabular import LimeTabularExplainer
from lime.lime_text import LimeTextExplainer
from PIL import Image

from tests.running_server import Server, a_server, glassline
from tests.small_models import FEATURES, release_small_models

CSV, TEXT = {"content-type": "text/csv"}, {"content-type": "text/plain"}
ROW = b"width,height\n3.5,2.5\n"
SAID = "A scratch, and then another scratch beside the d\u00e4nt."


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("features")
    release_small_models(home)
    with a_server(home, GLASSLINE_EXPLAIN_MAX_SAMPLES="20000") as running:
        yield running


@pytest.fixture
def http(features: Server) -> Iterator[httpx.Client]:
    with features.client() as client:
        yield client


def ask(
    http: httpx.Client, model: str, body: bytes, kind: dict[str, str], **asked: Any
) -> httpx.Response:
    return http.post(f"/v2/models/{model}/explain", content=body, headers=kind, params=asked)


def explained(
    http: httpx.Client, model: str, body: bytes, kind: dict[str, str], **asked: Any
) -> dict[str, Any]:
    answer = ask(http, model, body, kind, **asked)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def window(
    http: httpx.Client, steps: int = 30, model: str = "flow", **asked: Any
) -> httpx.Response:
    """A window whose first channel rises late: there lies the evidence."""
    values = np.zeros((1, steps, 2), np.float32)
    values[0, steps * 2 // 3 :, 0] = 3
    values[0, :, 1] = 0.4
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, steps, 2]}
    body = {"inputs": [{**tensor, "data": values.ravel().tolist()}], "parameters": asked}
    return http.post(f"/v2/models/{model}/explain", json=body)


def test_a_row_is_explained_as_upstream_explains_it(http: httpx.Client) -> None:
    answer = explained(http, "parts", ROW, CSV, seed=5, num_samples=800)
    one = answer["explanation"]["explanations"][0]
    said = [answer["explanation"]["features"][at]["description"] for at, _ in one["weights"]]
    draw = np.random.default_rng(0).normal((5, 2), (2, 1), (400, 2))

    def predict(rows: Any) -> Any:
        data = [float(value) for value in rows.ravel()]
        tensor = {"name": "x", "datatype": "FP64", "shape": list(rows.shape), "data": data}
        asked = {"inputs": [tensor], "outputs": [{"name": "probabilities"}]}
        got = http.post("/v2/models/parts/infer", json=asked).json()["outputs"][0]["data"]
        return np.array(got, np.float32).reshape(len(rows), -1)

    upstream = LimeTabularExplainer(
        draw, feature_names=list(FEATURES), discretize_continuous=True, random_state=5
    ).explain_instance(
        np.array([3.5, 2.5]), in_chunks(predict), num_samples=800, labels=(one["label"],)
    )
    assert dict(zip(said, [weight for _, weight in one["weights"]], strict=True)) == dict(
        upstream.as_list(label=one["label"])
    )


def in_chunks(predict: Any) -> Any:
    """The server takes batches of bounded size."""

    def whole(rows: Any) -> Any:
        return np.concatenate([predict(part) for part in np.array_split(rows, len(rows) // 50)])

    return whole


def test_a_text_is_explained_as_upstream_explains_it(http: httpx.Client) -> None:
    model = "words"
    word = "scratch"
    answer = explained(http, model, word.encode(), TEXT, seed=2, num_samples=50)
    one = answer["explanation"]["explanations"][0]
    assert answer["explanation"]["features"][one["weights"][0][0]]["name"] == word

    def predict(texts: list[str]) -> Any:
        tensor = {"name": "x", "datatype": "BYTES", "shape": [len(texts), 1], "data": texts}
        asked = {"inputs": [tensor], "outputs": [{"name": "probabilities"}]}
        got = http.post(f"/v2/models/{model}/infer", json=asked).json()["outputs"][0]["data"]
        return np.array(got, np.float32).reshape(len(texts), -1)

    upstream = LimeTextExplainer(random_state=2).explain_instance(
        word, predict, num_samples=50, labels=(one["label"],)
    )
    assert [[0, weight] for _, weight in upstream.as_list(label=one["label"])] == one["weights"]


def test_a_regression_is_explained_by_the_value_that_is_named(http: httpx.Client) -> None:
    answer = explained(http, "thickness", ROW, CSV, target="thickness", discretizer="none")
    one = answer["explanation"]["explanations"][0]
    assert (one["label"], one["name"]) == (0, "thickness")
    assert one["score"] == pytest.approx(3.5 - 2 * 2.5)
    # thickness = width - 2 height, told in standard deviations of 2 and 1
    weights = {answer["explanation"]["features"][at]["name"]: w for at, w in one["weights"]}
    assert weights["width"] == pytest.approx(2, rel=0.1)
    assert weights["height"] == pytest.approx(-2, rel=0.1)
    record = http.get(f"/audit/records/{answer['record_id']}").json()["record"]
    assert record["decision"]["labels"] == []


def test_the_late_rise_is_what_a_window_is_explained_by(http: httpx.Client) -> None:
    answer = window(http, seed=1)
    assert answer.status_code == 200, answer.text
    explanation = answer.json()["explanation"]
    assert explanation["method"] == "lime-segments"
    first, weight = explanation["explanations"][0]["weights"][0]
    feature = explanation["features"][first]
    assert feature["channel"] == 0
    assert feature["spans"][0][0] >= 20
    assert weight > 0
    assert feature["name"].startswith("width ")


@pytest.mark.parametrize("steps", [2, 7, 130])
def test_windows_of_any_length_are_explained(http: httpx.Client, steps: int) -> None:
    explanation = window(http, steps, num_samples=100).json()["explanation"]
    ends = [span[1] for feature in explanation["features"] for span in feature["spans"]]
    assert max(ends) == steps


def test_every_modality_is_drawn(http: httpx.Client) -> None:
    made = [
        explained(http, "parts", ROW, CSV),
        explained(http, "thickness", ROW, CSV),
        window(http).json(),
        explained(http, "words", "d\u00e4nt".encode(), TEXT),
    ]
    for answer in made:
        path = f"/v2/explanations/{answer['explanation_id']}"
        png = http.get(path, headers={"accept": "image/png"})
        assert png.status_code == 200, png.text
        assert Image.open(io.BytesIO(png.content)).width == 960
        page = http.get(path, headers={"accept": "text/html"})
        assert page.status_code == 200, page.text
        first = answer["explanation"]["explanations"][0]["weights"][0][0]
        assert (
            answer["explanation"]["features"][first]["description"]
            .replace("<", "&lt;")
            .replace(">", "&gt;")
            in page.text
        )
        assert answer["explanation_id"] in page.text
        assert "http" not in page.text.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_what_the_model_itself_shows_is_recorded_and_drawn(http: httpx.Client) -> None:
    answer = window(http, model="rebuild", target="width error").json()
    evidence = answer["explanation"]["evidence"]
    assert [(one["output"], one["kind"], one["shape"]) for one in evidence] == [
        ("error", "reconstruction-error", [30, 2])
    ]
    recorded = http.get(f"/audit/records/{answer['explanation_id']}").json()["record"]
    assert recorded["evidence"] == evidence
    assert "evidence error" in [payload["name"] for payload in recorded["payloads"]]
    page = http.get(answer["links"]["explanation"], headers={"accept": "text/html"}).text
    assert page.count("data:image/png") == 2
    assert "Reconstruction error, output “error” of the model itself" in page


def test_quality_on_request_comes_for_every_modality(http: httpx.Client) -> None:
    asked = {"faithfulness": True, "repeats": 2, "num_samples": 200, "seed": 2**32 - 1}
    for answer in (
        explained(http, "parts", b"9,0.5\n", CSV, **asked),
        window(http, **asked).json(),
        explained(http, "words", b"scratch", TEXT, **asked),
    ):
        quality = answer["explanation"]["quality"]
        assert quality["deletion_auc"] <= quality["insertion_auc"]
        assert quality["repeats"] == 2
        assert 0 <= quality["csi"] <= 1
        assert 0 < quality["vsi"] <= 1


def test_the_same_is_answered_with_the_same_bits_and_from_its_record(http: httpx.Client) -> None:
    one = explained(http, "parts", ROW, CSV, seed=9)
    assert explained(http, "parts", ROW, CSV, seed=9) == one
    other = explained(http, "parts", ROW, CSV, seed=9, num_features=1)
    assert other["explanation_id"] != one["explanation_id"]
    later = http.post(
        f"/v2/records/{one['record_id']}/explain", json={"parameters": {"seed": 9}}
    ).json()
    assert later["explanation"]["digests"] == one["explanation"]["digests"]


@pytest.mark.parametrize(
    ("model", "body", "kind", "asked", "words"),
    [
        ("parts", ROW, CSV, {"hide_color": 5}, "hide_color: got 5, but this is an explanation"),
        ("parts", ROW, CSV, {"method": "lime-segments"}, "method: got 'lime-segments'"),
        ("parts", ROW, CSV, {"discretizer": "decile"}, "discretizer"),
        ("parts", ROW, CSV, {"num_features": 3}, "num_features': got 3, but there are 2 columns"),
        ("parts", ROW, CSV, {"target": "ugly"}, "target: got 'ugly'"),
        ("parts", ROW, CSV, {"output": "logits"}, "output: got 'logits'"),
        ("parts", ROW, CSV, {"num_samples": 0}, "num_samples"),
        ("parts", ROW, CSV, {"num_samples": 10**9}, "at most 20000"),
        ("thickness", ROW, CSV, {"target": 2}, "target: got 2"),
        ("words", b"...", TEXT, {}, "without a word"),
        ("words", b"a b", TEXT, {"num_features": 5}, "got 5, but there are 2 words"),
        ("words", b"dent", TEXT, {"mask_string": "x"}, "mask_string"),
        ("words", b"dent", TEXT, {"segment_steps": 2}, "segment_steps: got 2"),
        ("flow", b"1,2\n1,2\n1,2\n", CSV, {}, "never change"),
        ("flow", b"1,2\n3,2\n", CSV, {"segment_steps": 3}, "segment_steps': got 3"),
        ("flow", b"1,2\n3,2\n", CSV, {"method": "lime"}, "Ask for 'lime-segments'"),
        ("flow", b"1,2\n3,2\n", CSV, {"discretizer": "none"}, "discretizer: got 'none'"),
    ],
)
def test_what_cannot_be_explained_says_why(
    http: httpx.Client, model: str, body: bytes, kind: dict[str, str], asked: Any, words: str
) -> None:
    answer = ask(http, model, body, kind, **asked)
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]


def test_the_command_line_asks_for_tables_and_texts_too(features: Server, tmp_path: Path) -> None:
    table, why = tmp_path / "parts.csv", tmp_path / "why.html"
    table.write_bytes(ROW)

    def run(*arguments: str) -> str:
        done = glassline(*arguments, "--url", features.url, home=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "-1.5" in run("predict", str(table), "--model", "thickness")
    asked = ("--model", "parts", "--set", "discretizer=none", "--set", "repeats=1")
    run("explain", str(table), "-o", str(why), *asked)
    assert "<th>discretizer</th><td>none</td>" in why.read_text()
    wrong = glassline(
        "explain", str(table), "--model", "parts", "--set", "seed", "--url", features.url,
        home=tmp_path,
    )  # fmt: skip
    assert wrong.returncode == 1
    assert "wanted name=value" in wrong.stderr
