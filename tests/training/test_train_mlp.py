"""A perceptron on somebody's table: trained, released, served, explained; bad tables refused."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn.neural_network import MLPClassifier

from models.mlp import MISSING
from service.explain.background import TableBackground
from service.inference.session import Session
from service.store import ModelStore, StoredModel
from tests.by_command import train, trained
from tests.running_server import Server, a_server
from training import train_mlp
from training.data import tables
from training.options import Options, WrongOption
from training.provenance import weights_digest
from training.table_inputs import columns_of
from training.train_mlp import Config

QUICK = Options(epochs=40, patience=10, device="cpu", learning_rate=0.01)


def quiet() -> Console:
    return Console(file=io.StringIO())


def parts_csv(path: Path, rows: int = 240, seed: int = 0) -> Path:
    """Parts: bad where width - 2 * height is high or the colour is red; gaps in two columns."""
    random = np.random.default_rng(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["serial", "width", "colour", "height", "verdict"])
        for row in range(rows):
            width, height = random.normal(40, 10), random.normal(0.5, 0.2)
            colour = random.choice(["red", "green", "blue", ""])
            bad = (width - 40) / 10 - (height - 0.5) / 0.2 > 0 or colour == "red"
            shown = "" if random.random() < 0.1 else f"{width:.3f}"
            verdict = "bad" if bad else "good"
            writer.writerow([f"s{row}", shown, colour, f"{height:.4f}", verdict])
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StoredModel]:
    """A home with the model `parts`, trained by the real command."""
    folder = tmp_path_factory.mktemp("mlp")
    file = parts_csv(folder / "parts.csv")
    trained(
        "mlp", "--data", str(file), "--target", "verdict", "--drop", "serial",
        "--hidden", "16,8", "--epochs", "40", "--learning-rate", "0.01", "--patience", "10",
        "--device", "cpu", "--name", "parts", "--class-weights", "balanced", home=folder,
    )  # fmt: skip
    return folder, ModelStore(folder).get("parts")


def test_it_learns_from_numbers_kinds_and_gaps(made: tuple[Path, StoredModel]) -> None:
    manifest = made[1].manifest
    assert manifest.labels == ("bad", "good")
    assert manifest.inputs[0].features == ("width", "colour", "height")
    assert manifest.metrics["test_rows"] == 48
    assert manifest.metrics["accuracy"] >= 0.8
    assert manifest.parity.label_flips == 0
    assert manifest.parity.max_abs_difference <= 1e-5


def test_all_it_takes_to_train_again_is_recorded(made: tuple[Path, StoredModel]) -> None:
    made_by = made[1].manifest.provenance
    config = made_by.config
    assert (config["target"], config["drop"], config["hidden"]) == ("verdict", ["serial"], [16, 8])
    options = config["options"]
    assert isinstance(options, dict)
    assert options["class_weights"] == "balanced"
    assert set(options) == {one.name for one in dataclasses.fields(Options)}
    assert made_by.data["kinds, numbered from 0"] == "colour: blue, green, red, missing"
    assert "(7-16-8-1 units, relu)" in made[1].manifest.card


def test_the_background_names_the_kinds(made: tuple[Path, StoredModel]) -> None:
    path = made[1].asset("background")
    assert path is not None
    background = TableBackground.from_json(json.loads(path.read_bytes()))
    assert background.names == ("width", "colour", "height")
    assert background.categorical[1].names == ("blue", "green", "red", "missing")
    curve = made[1].asset("learning_curve")
    assert curve is not None
    assert curve.read_bytes().startswith(b"\x89PNG")


def test_a_gap_is_nan_or_the_number_that_stands_for_it(made: tuple[Path, StoredModel]) -> None:
    session = Session(made[1])
    rows = np.array([[np.nan, np.nan, 0.5], [MISSING, MISSING, 0.5], [MISSING, 3, 0.5]], np.float32)
    one, other, named = session.run({"row": rows})["probabilities"]
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(one, named)


@pytest.fixture(scope="module")
def serving(made: tuple[Path, StoredModel]) -> Iterator[Server]:
    with a_server(made[0]) as running:
        yield running


def ask(server: Server, route: str, body: Any, kind: str = "application/json") -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(
        f"{server.url}/v2/models/parts/{route}",
        content=content, headers={"content-type": kind}, timeout=60, trust_env=False,
    )  # fmt: skip


@pytest.mark.slow
def test_the_example_is_answered_as_the_graph_answers(
    serving: Server, made: tuple[Path, StoredModel]
) -> None:
    example = (made[1].folder / "example.csv").read_bytes()
    outputs = ask(serving, "infer", example, "text/csv").json()["outputs"]
    said = {one["name"]: one["data"] for one in outputs}
    header, row = csv.reader(io.StringIO(example.decode()))
    assert header == ["width", "colour", "height"]
    values = np.array([[float(cell) for cell in row]], np.float32)
    wanted = Session(made[1]).run({"row": values})["probabilities"][0]
    assert said["probabilities"] == pytest.approx(wanted.tolist(), abs=1e-6)
    assert said["label"] == [("bad", "good")[int(wanted.argmax())]]


@pytest.mark.slow
def test_the_explanation_finds_the_red_part(serving: Server) -> None:
    row = {"name": "row", "datatype": "FP32", "shape": [1, 3], "data": [35.0, 2, 0.9]}
    asked = {"inputs": [row], "parameters": {"target": "bad", "seed": 1}}
    answer = ask(serving, "explain", asked)
    assert answer.status_code == 200, answer.text
    said = answer.text
    assert "colour=red" in said


@pytest.mark.slow
@pytest.mark.parametrize("code", [4, -1, 0.5])
def test_a_kind_that_nobody_has_seen_is_refused(code: float, serving: Server) -> None:
    row = {"name": "row", "datatype": "FP32", "shape": [1, 3], "data": [35.0, code, 0.9]}
    answer = ask(serving, "infer", {"inputs": [row]})
    assert answer.status_code == 400
    assert "parts@1: the graph refuses these inputs" in answer.json()["error"]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--data", "{file}"], 2, "--target: which column of 'parts.csv' is to be predicted?"),
        (["--data", "{file}", "--target", "gone"], 2, "no column 'gone'"),
        (["--data", "{file}", "--target", "verdict"], 1, "column 'serial' has 240 different"),
        (["--data", "{file}", "--target", "serial"], 1, "no classes"),
        (["--data", "nowhere.csv"], 2, "--data: 'nowhere.csv' is no file"),
        (["--hidden", "64,x"], 2, "--hidden: got '64,x', wanted whole numbers"),
        (["--name", "Bad_Name"], 2, "--name: got 'Bad_Name'"),
        (["--data", "diabetes", "--class-weights", "balanced"], 2, "regression has no classes"),
        (["--class-weights", "x=2"], 2, "--class-weights: got 'x=2'"),
        (["--dropout", "1"], 2, "--dropout: got 1, wanted at least 0 and less than 1"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_message(
    words: list[str], status: int, message: str, tmp_path: Path
) -> None:
    file = parts_csv(tmp_path / "parts.csv")
    filled = [word.format(file=file) for word in words]
    done = train("mlp", *filled, home=tmp_path / "h")
    assert done.exit_code == status, done.output
    assert message in done.output.replace("\n", " ")
    assert "Traceback" not in done.output
    assert not list(tmp_path.rglob("manifest.json"))


def test_if_missing_is_done_at_once_and_without_torch(tmp_path: Path) -> None:
    (tmp_path / "bentoml" / "models" / "mlp-my-parts" / "2").mkdir(parents=True)
    code = (
        "import atexit, sys\natexit.register(lambda: print('torch' in sys.modules))\n"
        "from training.commands import app; app()"
    )
    words = ["mlp", "--data", "My Parts.csv", "--if-missing"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False,
        env={"GLASSLINE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}, timeout=60,
    )  # fmt: skip
    assert done.stdout == "mlp-my-parts@2 is in the store: nothing to do.\nFalse\n"


def test_regression_is_learnt_in_its_own_unit(tmp_path: Path) -> None:
    file = tmp_path / "wear.csv"
    random = np.random.default_rng(3)
    heat = random.uniform(0, 100, 200)
    rows = "".join(f"{h:.4f},{300 + 8 * h:.4f}\n" for h in heat)
    file.write_text("heat,wear\n" + rows)
    config = Config(data=str(file), target="wear", hidden=(16,), name="wear", options=QUICK)
    manifest = train_mlp.main(config, ModelStore(tmp_path / "home"), quiet()).manifest
    assert manifest.task == "regress"
    assert manifest.outputs[0].features == ("wear",)
    assert manifest.metrics["r2"] > 0.99
    assert manifest.metrics["mae"] < 15  # of values from 300 to 1100


@pytest.mark.parametrize("scaling", ["none", "minmax01", "minmax11", "standard"])
def test_scaling_is_fitted_on_the_training_part_alone(scaling: str) -> None:
    table = tables.load("wine")
    parts = tables.split(table)
    columns = columns_of(table, parts.train, scaling)
    train = table.rows[parts.train].astype(np.float64)
    scaled = (train - [one.shift for one in columns]) / [one.scale for one in columns]
    low, high = scaled.min(axis=0), scaled.max(axis=0)
    if scaling == "none":
        np.testing.assert_array_equal(scaled, train)
    elif scaling == "standard":
        np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(scaled.std(axis=0), 1)
    else:
        np.testing.assert_allclose(low, 0 if scaling == "minmax01" else -1, atol=1e-9)
        np.testing.assert_allclose(high, 1)
    # Rows outside the training part change nothing.
    other = dataclasses.replace(table, rows=table.rows.copy())
    other.rows[parts.test] *= 100
    assert columns_of(other, parts.train, scaling) == columns


@pytest.mark.parametrize(
    "change",
    [
        {"activation": "sigmoid"},
        {"activation": "tanh"},
        {"activation": "leaky-relu"},
        {"scaling": "minmax01"},
        {"scaling": "minmax11"},
        {"dropout": 0.3},
        {"class_weights": "balanced"},
        {"seed": 1},
    ],
)
def test_options_of_the_network_decide_about_its_weights(change: dict[str, Any]) -> None:
    table = tables.load("wine")
    parts = tables.split(table)

    def digest(**options: Any) -> str:
        asked = dataclasses.replace(QUICK, epochs=1, **options)
        config = Config(data="wine", hidden=(4,), options=asked)
        return weights_digest(train_mlp.train(config, table, parts, quiet())[0])

    assert digest(**change) != digest()


def test_class_weights_move_mistakes_from_the_dear_class_to_the_cheap(tmp_path: Path) -> None:
    table = tables.load(str(parts_csv(tmp_path / "p.csv")), "verdict", drop=["serial", "colour"])
    parts = tables.split(table)
    called_bad = []
    for said in ("bad=0.05", "none", "bad=20"):
        options = dataclasses.replace(QUICK, class_weights=said)
        network, _ = train_mlp.train(Config(hidden=(8,), options=options), table, parts, quiet())
        with torch.inference_mode():
            logit = network.eval()(torch.from_numpy(table.rows[parts.test]))
        called_bad.append(int((logit <= 0).sum()))
    assert called_bad[0] < called_bad[1] < called_bad[2]


def test_refit_trains_on_both_parts_for_as_many_epochs_as_were_best() -> None:
    table = tables.load("breast_cancer")
    parts = tables.split(table)
    both = dataclasses.replace(parts, train=np.concatenate([parts.train, parts.validation]))
    once = Config(hidden=(4,), options=QUICK)
    _, fitted = train_mlp.train(once, table, parts, quiet())
    assert fitted.best + 1 < len(fitted.epochs)
    again = dataclasses.replace(QUICK, epochs=fitted.best + 1, patience=0)
    whole, _ = train_mlp._fitted(
        dataclasses.replace(once, options=again),
        table, both.train, parts.validation, quiet(), keep="last",
    )  # fmt: skip
    refit = dataclasses.replace(once, options=dataclasses.replace(QUICK, refit=True))
    network, told = train_mlp.train(refit, table, parts, quiet())
    assert weights_digest(network) == weights_digest(whole)
    assert told.epochs == fitted.epochs


def test_a_regression_refuses_class_weights() -> None:
    table = tables.load("diabetes")
    options = dataclasses.replace(QUICK, class_weights="balanced")
    with pytest.raises(WrongOption, match="a regression has no classes"):
        train_mlp.train(Config(options=options), table, tables.split(table), quiet())


@pytest.mark.slow
def test_digits_are_told_apart_as_well_as_by_scikit_learn(tmp_path: Path) -> None:
    options = Options(epochs=60, device="cpu", seed=1)
    config = Config(data="digits", name="digits", options=options)
    stored = train_mlp.main(config, ModelStore(tmp_path), quiet())
    table = tables.load("digits")
    parts = tables.split(table)
    other = MLPClassifier((100,), random_state=1, max_iter=60, tol=0, n_iter_no_change=60)
    mean, deviation = table.rows[parts.train].mean(0), table.rows[parts.train].std(0) + 1e-9
    with pytest.warns(UserWarning, match="Maximum iterations"):
        other.fit((table.rows[parts.train] - mean) / deviation, table.truth[parts.train])
    reached = other.score((table.rows[parts.test] - mean) / deviation, table.truth[parts.test])
    assert stored.manifest.metrics["accuracy"] >= reached - 0.01
