"""Sequences and texts: learnt, released, served at any length, explained; bad input refused."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from service import settings as configuration
from service.protocol.vocabulary import Vocabulary
from service.store import ModelStore, StoredModel
from tests.running_server import Server, a_server
from tests.training.recurrent_data import remarks, runs_csv
from training import train_recurrent, train_texts
from training.commands import app
from training.data import japanese_vowels
from training.data.sequences import SPLIT_SEED
from training.options import Options, WrongOption
from training.recurrent_config import Config

QUICK = Options(
    epochs=12, batch_size=16, optimizer="adamw", learning_rate=0.02, schedule="one-cycle",
    clip_norm=1.0, device="cpu",
)  # fmt: skip
CSV, TEXT = {"content-type": "text/csv"}, {"content-type": "text/plain"}
WINDOW = "heat,vibration\n" + "".join(f"{20 + step},0.1\n" for step in range(10))


def quiet() -> Console:
    return Console(file=io.StringIO())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with `wear` (regress, gaps filled), `state` (classify), `ahead` and `remarks`."""
    folder = tmp_path_factory.mktemp("recurrent")
    store = ModelStore(folder)
    runs = str(runs_csv(folder / "runs.csv", gaps=0.1))
    whole = str(runs_csv(folder / "whole.csv"))
    wear = Config(
        data=runs, target="wear", drop=("state",), units=8, window=12, shortest=4, stride=3,
        gaps="interpolate", interval=0.8, name="wear", options=QUICK,
    )  # fmt: skip
    train_recurrent.main(wear, store, quiet())
    state = Config(
        data=whole, target="state", drop=("wear",), cell="lstm", units=8, bidirectional=True,
        pooling="attention+max", name="state", options=QUICK,
    )  # fmt: skip
    train_recurrent.main(state, store, quiet())
    ahead = Config(
        data=whole, target="heat", task="forecast", horizon=3, drop=("wear", "state"), cell="rnn",
        units=8, window=8, shortest=2, stride=2, truncate=4, interval=0, name="ahead",
        options=QUICK,
    )  # fmt: skip
    train_recurrent.main(ahead, store, quiet())
    said = train_texts.Config(
        data=str(remarks(folder / "remarks")), units=6, width=8, pairs=256, longest=12,
        name="remarks", options=QUICK,
    )  # fmt: skip
    train_texts.main(said, store, quiet())
    return folder


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    with a_server(home) as running:
        yield running


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own for a command that runs in this process."""
    monkeypatch.setenv("GLASSLINE_HOME", str(tmp_path))
    configuration.load.cache_clear()
    yield tmp_path
    configuration.load.cache_clear()


def model(home: Path, name: str) -> StoredModel:
    return ModelStore(home).get(name)


def outputs(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {o["name"]: o["data"] for o in answer.json()["outputs"]}


def ask(http: httpx.Client, name: str, body: Any, kind: dict[str, str] | None = None) -> Any:
    where = f"/v2/models/{name}/infer"
    if kind is None:
        return http.post(where, json={"inputs": body})
    return http.post(where, content=body, headers=kind)


def window(values: Any, **more: Any) -> dict[str, Any]:
    array = np.asarray(values, object)
    return {"name": "window", "datatype": "FP32", "shape": list(array.shape),
            "data": array.ravel().tolist(), **more}  # fmt: skip


def lengths(*steps: int) -> dict[str, Any]:
    return {"name": "length", "datatype": "INT64", "shape": [len(steps)], "data": list(steps)}


def test_it_learns_and_the_figures_stand_in_the_manifest(home: Path) -> None:
    wear, state, ahead = (model(home, name).manifest for name in ("wear", "state", "ahead"))
    assert wear.metrics["r2"] > 0.3
    assert wear.interval is not None
    assert (wear.interval.level, wear.interval.units) == (0.8, 6)
    assert 0 <= wear.metrics["interval_coverage"] <= 1
    assert wear.parity.max_abs_difference <= 1e-5 * 30
    assert state.metrics["accuracy"] >= 0.8
    assert state.labels == ("fresh", "worn")
    assert ahead.outputs[0].features == ("heat +1", "heat +2", "heat +3")
    assert ahead.metrics["r2"] > 0.5
    said = model(home, "remarks").manifest
    assert said.metrics["accuracy"] >= 0.9
    assert said.metrics["test_rows"] == 24


def test_parts_are_split_by_sequence(home: Path) -> None:
    config = Config(data=str(home / "runs.csv"), target="wear", drop=("state",))
    sequences = train_recurrent.read(config)
    parts = train_recurrent.split(sequences, SPLIT_SEED)
    counts = [len(parts.train), len(parts.held_out), len(parts.test)]
    assert counts == [18, 6, 6]
    assert len({*parts.train, *parts.held_out, *parts.test}) == 30
    for name, one in zip(sequences.ids, sequences.series, strict=True):  # put in order of time
        heat = one[~np.isnan(one[:, 0]), 0]
        assert (np.diff(heat) > -2).all(), name


def test_the_same_seed_gives_the_same_weights(home: Path) -> None:
    made = model(home, "state").manifest.provenance
    config = Config(
        data=str(home / "whole.csv"), target="state", drop=("wear",), cell="lstm", units=8,
        bidirectional=True, pooling="attention+max", name="state", options=QUICK,
    )  # fmt: skip
    again = train_recurrent.main(config, ModelStore(home / "again"), quiet())
    there = again.manifest.provenance.environment["weights_sha256"]
    assert there == made.environment["weights_sha256"]


def test_pictures_of_a_release_are_pictures(home: Path) -> None:
    path = model(home, "wear").asset("predicted_against_true")
    assert path is not None
    with Image.open(path) as picture:
        assert picture.size == (1200, 560)
    assert model(home, "wear").asset("example") is not None


def test_the_vocabulary_is_an_asset_with_a_digest(home: Path) -> None:
    path = model(home, "remarks").asset("vocabulary")
    assert path is not None
    known = Vocabulary.of_json(json.loads(path.read_bytes()))
    assert {"scratched", "fine", "the"} <= set(known.words)


def test_every_form_of_a_window_says_the_same(http: httpx.Client) -> None:
    steps = [[20 + step, 0.1] for step in range(10)]
    by_table = outputs(ask(http, "wear", WINDOW, CSV))
    assert by_table == outputs(ask(http, "wear", [window([steps])]))
    turned = window([[[b, a] for a, b in steps]], parameters={"features": ["vibration", "heat"]})
    assert by_table == outputs(ask(http, "wear", [turned]))
    padded = window([[*steps, [1e5, -1e5], [0, 0]]])
    behind = outputs(ask(http, "wear", [padded, lengths(10)]))
    assert behind["value"] == pytest.approx(by_table["value"], abs=1e-5)
    answer = http.post("/v1/models/wear:predict", json={"instances": [steps]})
    assert answer.json()["predictions"][0]["value"] == pytest.approx(by_table["value"], abs=1e-6)
    raw = np.array([steps], "<f4").tobytes() + np.array([10], "<i8").tobytes()
    header = json.dumps({"inputs": [
        {"name": "window", "datatype": "FP32", "shape": [1, 10, 2],
         "parameters": {"binary_data_size": 80}},
        {"name": "length", "datatype": "INT64", "shape": [1],
         "parameters": {"binary_data_size": 8}},
    ]}).encode()  # fmt: skip
    binary = http.post(
        "/v2/models/wear/infer", content=header + raw,
        headers={"inference-header-content-length": str(len(header))},
    )  # fmt: skip
    assert outputs(binary) == by_table


def test_lengths_are_mixed_in_one_batch(http: httpx.Client) -> None:
    short, long = "20,0\n21,0\n22,0\n23,0\n", "".join(f"{25 + step},0\n" for step in range(9))
    together = outputs(ask(http, "wear", f"{short}\n{long}", CSV))
    alone = [outputs(ask(http, "wear", one, CSV))["value"][0] for one in (short, long)]
    assert together["value"] == pytest.approx(alone, abs=1e-5)
    ragged = [[[20, 0], [21, 0], [22, 0], [23, 0]], [[25 + step, 0] for step in range(9)]]
    answer = http.post("/v1/models/wear:predict", json={"instances": ragged}).json()
    assert [one["value"][0] for one in answer["predictions"]] == pytest.approx(alone, abs=1e-5)


def test_the_interval_is_in_the_answer_and_in_the_metadata(http: httpx.Client) -> None:
    answer = outputs(ask(http, "wear", WINDOW, CSV))
    assert answer["lower"][0] < answer["value"][0] < answer["upper"][0]
    said = http.get("/v2/models/wear").json()
    assert said["parameters"]["interval"]["level"] == 0.8
    assert said["parameters"]["media"]["gaps"] == "interpolate"


def test_gaps_are_filled_counted_recorded_and_replayed(http: httpx.Client) -> None:
    holey = WINDOW.replace("24,0.1", "NaN,0.1").replace("28,0.1", ",")
    answer = ask(http, "wear", holey, CSV)
    assert outputs(answer)["interpolated"] == [3]
    values = [[None if cell in ("", "NaN") else float(cell) for cell in line.split(",")]
              for line in holey.splitlines()[1:]]  # fmt: skip
    assert outputs(ask(http, "wear", [window([values])])) == outputs(answer)
    assert outputs(ask(http, "wear", WINDOW, CSV))["interpolated"] == [0]
    record = answer.headers["glassline-record-id"]
    explained = http.post(f"/v2/records/{record}/explain", json={"parameters": {"seed": 1}})
    assert explained.status_code == 200, explained.text
    replayed = http.post(f"/audit/records/{record}/replay")
    assert replayed.json()["verdict"] == "bit-exact", replayed.text


def test_a_window_is_explained_by_channel_and_time(http: httpx.Client) -> None:
    answer = http.post(
        "/v2/models/wear/explain?seed=2&num_samples=300", content=WINDOW, headers=CSV
    ).json()
    explanation = answer["explanation"]
    assert explanation["method"] == "lime-segments"
    first, _ = explanation["explanations"][0]["weights"][0]
    assert explanation["features"][first]["name"].startswith("heat ")
    png = http.get(answer["links"]["explanation"], headers={"accept": "image/png"})
    assert Image.open(io.BytesIO(png.content)).width == 960


def test_a_text_is_explained_by_the_word_that_decides(http: httpx.Client) -> None:
    said = "the part of line two was scratched today"
    assert outputs(ask(http, "remarks", said, TEXT))["label"] == ["bad"]
    tensor = {"name": "text", "datatype": "BYTES", "shape": [2], "data": [said, "quiet and clean"]}
    both = outputs(ask(http, "remarks", [tensor]))
    assert both["label"] == ["bad", "good"]
    alone = outputs(ask(http, "remarks", "quiet and clean", TEXT))
    assert both["probabilities"][2:] == pytest.approx(alone["probabilities"], abs=1e-6)
    explained = http.post("/v2/models/remarks/explain?num_samples=300", content=said, headers=TEXT)
    assert explained.status_code == 200, explained.text
    explanation = explained.json()["explanation"]
    first, weight = explanation["explanations"][0]["weights"][0]
    assert explanation["features"][first]["name"] == "scratched"
    assert weight > 0


@pytest.mark.parametrize(
    ("name", "body", "kind", "words"),
    [
        ("wear", "", CSV, "got no rows"),
        ("wear", "heat,vibration\n", CSV, "got no rows"),
        ("wear", "1,2\n" * 13, CSV, "got 13 rows, wanted at most 12"),
        ("wear", "1,2\n1,2\n", CSV, "row 0: got 2 steps, wanted 4 to 12"),
        ("wear", "heat\n" + "1\n" * 5, CSV, "column 'vibration' is missing"),
        ("wear", "heat,vibration\n" + "1,\n" * 5, CSV, "no value at all in channel 'vibration'"),
        ("state", "heat,vibration\n" + "1,2\n,2\n", CSV, "column 'heat': got ''"),
        ("state", b"\xff\xfe1,2", CSV, "is no utf-8"),
        ("wear", [window([[[1, 2]] * 13])], None, "got 13 steps, wanted 4 to 12"),
        ("wear", [window([[[1, 2]] * 5]), lengths(6)], None, "got 'length' 6 for a window of 5"),
        ("wear", [window([[[1, 2]] * 5]), lengths(0)], None, "got 0 steps, wanted 4 to 12"),
        ("wear", [window([[[1, 2]] * 5]), lengths(-3)], None, "got -3 steps, wanted 4 to 12"),
        ("wear", [window([[[1, 2, 3]] * 5])], None, "has shape (1, 5, 3)"),
        ("wear", [window([[[1, 2]] * 5], parameters={"features": ["heat", "dust"]})], None,
         "lacks the features 'vibration'"),
        ("wear", [{"name": "window", "datatype": "FP32", "shape": [1, 0, 2], "data": []}], None,
         "has shape (1, 0, 2)"),
        ("state", [window([[[1, None]] * 5])], None, "has null at element 1"),
        ("remarks", "", TEXT, "got no text"),
        ("remarks", "   ", TEXT, "got a text without a word"),
        ("remarks", "Grüße aus Köln", TEXT, "words that the model has never seen"),
        ("remarks", "fine " * 13, TEXT, "got 13 words, wanted at most 12"),
        ("remarks", b"caf\xe9", TEXT, "byte 3 is no utf-8"),
        ("remarks", [{"name": "text", "datatype": "BYTES", "shape": [2], "data": ["fine", ""]}],
         None, "row 1: got a text without a word"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_says_why(
    http: httpx.Client, name: str, body: Any, kind: dict[str, str] | None, words: str
) -> None:
    answer = ask(http, name, body, kind)
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--bidirectional", "--truncate", "5"], "--truncate"),
        (["--window", "5", "--shortest", "9"], "--shortest: got 9"),
        (["--data", "nowhere.csv", "--target", "wear"], "'nowhere.csv' is no file"),
        (["--cell", "tree"], "'tree' is not one of"),
        (["--min-count", "3"], "--min-count: got 3, but 'japanese-vowels' holds series"),
        (["--data", "said.txt", "--stride", "3"], "--stride: got 3, but 'said.txt' holds texts"),
        (["--target", "speaker"], "has its own of both"),
    ],
)
@pytest.mark.usefixtures("own_home")
def test_flags_that_do_not_fit_are_refused(flags: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["recurrent", *flags])
    assert done.exit_code == 2
    assert words in done.output


def test_too_few_sequences_for_an_interval_are_told(home: Path) -> None:
    config = Config(
        data=str(home / "runs.csv"), target="wear", drop=("state",), units=4, interval=0.9,
        gaps="interpolate", options=Options(epochs=1, device="cpu"),
    )  # fmt: skip
    with pytest.raises(WrongOption, match="0.9 with 6 held-out sequences, wanted at least 9"):
        train_recurrent.main(config, ModelStore(home / "none"), quiet())


def test_the_command_trains_on_the_bundled_series(own_home: Path) -> None:
    flags = ["--epochs", "2", "--units", "16", "--cell", "lstm", "--device", "cpu"]
    done = CliRunner().invoke(app, ["recurrent", *flags])
    assert done.exit_code == 0, done.output
    manifest = ModelStore(own_home).get("lstm-japanese-vowels").manifest
    assert manifest.provenance.data["sha256"] == japanese_vowels.SHA256
    assert manifest.metrics["test_rows"] == 370
    assert manifest.sequences is not None
    assert manifest.sequences.longest == 29
