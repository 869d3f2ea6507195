"""The pictures of service/explain/README.md: real models, a real server, one of each modality.

  python tests/bench/explain_gallery.py --data ../shared/data

Pictures and tables are explained by models of `glassline train`. The text and the sequence need
data that do not come with a package: movie reviews in `rt-polarity/` and the turbofans of
`cmapss/`, below `--data`; without it those two are left as they are.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from service.manifest import ExplainerDefaults, Graph, Manifest, Parity, Provenance, Tensor
from service.store import ModelStore
from training import provenance
from training.candidate import Candidate, values
from training.release import release

PICTURES = Path(__file__).resolve().parents[2] / "service" / "explain" / "pictures"
PORT = 3877
SENTENCE = (
    "the leads are charming and the photography is beautiful , but the plot is dull , "
    "predictable and far too long"
)
#: Of the 21 sensors these 14 move at all (FD001).
SENSORS = {
    "T24": 2, "T30": 3, "T50": 4, "P30": 7, "Nf": 8, "Nc": 9, "Ps30": 11, "phi": 12, "NRf": 13,
    "NRc": 14, "BPR": 15, "htBleed": 17, "W31": 20, "W32": 21,
}  # fmt: skip
STEPS, CAP = 30, 125


@dataclass(frozen=True)
class Nothing:
    """No configuration."""


def known(network: nn.Module) -> Provenance:
    """Where these two come from: this file."""
    return provenance.describe("tests/bench/explain_gallery.py", Nothing(), 0, 0, {}, network)


def text_model(store: ModelStore, folder: Path) -> None:
    """Words to a logistic regression; the words are cut inside the graph."""
    lines = [
        [(line, label) for line in (folder / f"rt-polarity.{kind}").read_text("utf-8").splitlines()]
        for label, kind in enumerate(("neg", "pos"))
    ]
    pairs = [pair for kind in lines for pair in kind]
    order = np.random.default_rng(0).permutation(len(pairs))
    train, test = np.split(order, [len(order) * 9 // 10])
    counter = CountVectorizer(token_pattern=r"\S+", min_df=3, lowercase=False, binary=False)
    counts = counter.fit_transform([pairs[i][0] for i in train])
    regression = LogisticRegression(C=0.3, max_iter=500)
    regression.fit(counts, [pairs[i][1] for i in train])
    right = regression.score(
        counter.transform([pairs[i][0] for i in test]), [pairs[i][1] for i in test]
    )
    words = [str(word) for word in counter.get_feature_names_out()]
    weights = np.stack([-regression.coef_[0], regression.coef_[0]], axis=1).astype(np.float32) / 2
    bias = np.array([-regression.intercept_[0], regression.intercept_[0]], np.float32) / 2
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["texts"]),
        helper.make_node("StringSplit", ["texts"], ["words", "number"], delimiter=" "),
        helper.make_node(
            "TfIdfVectorizer", ["words"], ["counts"], mode="TF", min_gram_length=1,
            max_gram_length=1, max_skip_count=0, ngram_counts=[0],
            ngram_indexes=list(range(len(words))), pool_strings=words,
        ),
        helper.make_node("Gemm", ["counts", "weights", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "reviews",
        [helper.make_tensor_value_info("x", TensorProto.STRING, ["rows", 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 2])],
        [
            onnx.numpy_helper.from_array(np.array([-1], np.int64), "flat"),
            onnx.numpy_helper.from_array(weights, "weights"),
            onnx.numpy_helper.from_array(bias, "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    content = model.SerializeToString()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "predict.onnx")
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        store.put(
            Manifest(
                name="reviews", version="1", family="linear", task="classify",
                graphs={"predict": Graph(file=path.name, sha256=digest)},
                inputs=(Tensor(name="x", datatype="BYTES", shape=(-1, 1)),),
                outputs=(Tensor(name="probabilities", datatype="FP32", shape=(-1, 2)),),
                labels=("negative", "positive"), metrics={"accuracy": float(right)},
                explainer=ExplainerDefaults(modality="text", num_samples=5000),
                parity=Parity(rows=1, max_abs_difference=0, label_flips=0, tolerance=1e-5),
                provenance=known(nn.Identity()),
            ),
            {path.name: path},
        )  # fmt: skip
    print(f"reviews: {right:.3f} right of {len(test)}")


class Turbofan(nn.Module):
    """Windows of 14 sensors to the cycles that are left: three convolutions over time."""

    def __init__(self, mean: NDArray[np.float64], spread: NDArray[np.float64]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("spread", torch.tensor(spread, dtype=torch.float32))
        self.layers = nn.Sequential(
            nn.Conv1d(14, 32, 5, padding=2), nn.ReLU(), nn.Conv1d(32, 32, 5, padding=2), nn.ReLU(),
            nn.Conv1d(32, 16, 5, padding=2), nn.ReLU(), nn.Flatten(), nn.Linear(16 * STEPS, 64),
            nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 1),
        )  # fmt: skip

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        """(n, T, 14) raw sensors to (n, 1) cycles."""
        scaled = (window - self.mean) / self.spread
        cycles: torch.Tensor = self.layers(scaled.transpose(1, 2)) * CAP
        return cycles


def sequence_model(store: ModelStore, folder: Path, example: Path) -> None:
    """A convolution over 30 cycles; `example` gets the window of the engine that ends first."""
    train, test = (np.loadtxt(folder / f"{part}_FD001.txt") for part in ("train", "test"))
    columns = [4 + index for index in SENSORS.values()]
    engines = {unit: train[train[:, 0] == unit] for unit in np.unique(train[:, 0])}
    windows, left = [], []
    for rows in engines.values():
        for end in range(STEPS, len(rows) + 1):
            windows.append(rows[end - STEPS : end, columns])
            left.append(min(CAP, len(rows) - end))
    last = [test[test[:, 0] == unit][-STEPS:, columns] for unit in np.unique(test[:, 0])]
    true = np.minimum(CAP, np.loadtxt(folder / "RUL_FD001.txt"))
    whole = [at for at, window in enumerate(last) if len(window) == STEPS]
    x = torch.tensor(np.stack(windows), dtype=torch.float32)
    y = torch.tensor(left, dtype=torch.float32)[:, None]
    torch.manual_seed(0)
    flat = train[:, columns]
    network = Turbofan(flat.mean(axis=0), flat.std(axis=0))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for epoch in range(12):
        for some in torch.randperm(len(x)).split(256):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(network(x[some]) / CAP, y[some] / CAP)
            loss.backward()
            optimizer.step()
        print(f"turbofan: epoch {epoch + 1}, train RMSE of the last batch {loss.sqrt() * CAP:.1f}")
    rows = np.stack([last[at] for at in whole]).astype(np.float32)
    stored = release(
        Candidate(
            name="turbofan", family="cnn", task="regress",
            summary="Cycles that a turbofan has left, from 30 cycles of 14 sensors.",
            network=network.eval(),
            inputs=(Tensor(name="window", datatype="FP32", shape=(-1, STEPS, 14),
                           features=tuple(SENSORS)),),
            outputs=(values(["cycles left"], "cycles"),),
            rows={"window": rows}, truth=true[whole][:, None],
            provenance=known(network),
            explainer=ExplainerDefaults(modality="sequence", num_samples=5000),
        ),
        store,
    )  # fmt: skip
    print("turbofan:", stored.manifest.metrics)
    window = rows[int(np.argmin(true[whole]))]
    tensor = {"name": "window", "datatype": "FP32", "shape": [1, *window.shape],
              "data": window.astype(float).ravel().tolist()}  # fmt: skip
    example.write_text(json.dumps({"inputs": [tensor]}))


def glassline(*arguments: str) -> None:
    """A command of the installed product."""
    subprocess.run([Path(sys.executable).with_name("glassline"), *arguments], check=True)


def main() -> None:
    """Train, serve, explain, keep the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--home", type=Path, default=None, help="keep the models here")
    options = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        home = options.home or Path(scratch)
        os.environ |= {"GLASSLINE_HOME": str(home), "GLASSLINE_PORT": str(PORT)}
        glassline("train", "imagenet-example", "--if-missing")
        glassline("train", "cnn", "--arch", "lenet5", "--data", "digits", "--if-missing")
        glassline("train", "mlp", "--data", "breast_cancer", "--if-missing")
        store = ModelStore(home)
        asked = [
            (kind, model, store.get(model).asset("example"), [])
            for kind, model in (
                ("picture", "efficientnet-lite0"),
                ("digit", "lenet-digits"),
                ("table", "mlp-breast-cancer"),
            )
        ]
        if options.data:
            if "reviews" not in store.names():
                text_model(store, options.data / "rt-polarity")
            text = home / "text.txt"
            text.write_text(SENTENCE)
            window = home / "window.json"
            if not window.exists():
                sequence_model(store, options.data / "cmapss", window)
            asked.append(("text", "reviews", text, []))
            asked.append(("sequence", "turbofan", window, ["--set", "method=lime-segments"]))
        server = subprocess.Popen([Path(sys.executable).with_name("glassline"), "serve"])
        try:
            ready()
            for kind, model, file, more in asked:
                for suffix in ("png", "html"):
                    out = PICTURES if suffix == "png" else Path(tempfile.gettempdir())
                    glassline("explain", str(file), "-o", str(out / f"{kind}.{suffix}"),
                              "--model", model, *more)  # fmt: skip
        finally:
            server.terminate()
            server.wait()


def ready() -> None:
    """Wait for the server."""
    for _ in range(120):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/v2/health/ready"):
                return
        except OSError:
            time.sleep(0.5)
    raise SystemExit("the server did not come up")


if __name__ == "__main__":
    main()
