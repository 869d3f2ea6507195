"""Train a multilayer perceptron on a table and release it. Read `main` from top to bottom."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from rich.console import Console
from torch import Tensor, nn

from models.mlp import (
    MISSING,
    MLPConfig,
    Sigmoid,
    Softmax,
    TableNetwork,
    Values,
)
from service.manifest import ExplainerDefaults, Precision
from service.manifest import Tensor as Declared
from service.store import ModelStore, StoredModel
from training import provenance
from training.candidate import Candidate, Held, probabilities, values
from training.class_weights import class_weights
from training.data import tables
from training.data.tables import Split, Table
from training.fitting import Fitted, Loss, fit, refit_options
from training.learning_curve import learning_curve
from training.options import MLP, Options, WrongOption
from training.release import release
from training.table_inputs import background_of, columns_of, example_of


@dataclass(frozen=True, slots=True)
class Config:
    """What `glassline train mlp` can be told; recorded in the manifest.

    `hidden` counts the units of the hidden layers from the input on; the other fields are those
    of `tables.load`.
    """

    data: str = "breast_cancer"
    target: str | None = None
    task: Literal["auto", "classify", "regress"] = "auto"
    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    skip_missing_target: bool = False
    hidden: tuple[int, ...] = (100,)
    name: str = "mlp-breast-cancer"
    split_seed: int = tables.SPLIT_SEED
    precision: Precision = "fp32"
    options: Options = MLP


def main(config: Config, store: ModelStore, console: Console) -> StoredModel:
    """Load, train, release.

    Raises:
        WrongOption: an option does not fit the table or the machine.
        BadTable, BadFile: nothing can be learnt from the table.
        GlasslineError: training diverged.
        ReleaseRefused: the exported graph is not the trained network.
    """
    table = tables.load(
        config.data,
        config.target,
        config.task,
        config.drop,
        config.categorical,
        config.skip_missing_target,
    )
    parts = tables.split(table, config.split_seed)
    network, fitted = train(config, table, parts, console)
    with console.status("exporting, comparing with the trained network, evaluating ..."):
        return release(candidate_of(config, table, parts, network, fitted), store)


def train(
    config: Config, table: Table, parts: Split, console: Console
) -> tuple[TableNetwork, Fitted]:
    """Fit the network; the same seed gives the same weights on the same machine.

    Returns:
        The network with the weights of its best epoch on the validation part, or of as many
        epochs on both parts together (`refit`; Goodfellow, Bengio and Courville 2016, algorithm
        7.2): logits, one of two classes, else one a class; or standardised values. How the
        first fit went.
    """
    network, fitted = _fitted(config, table, parts.train, parts.validation, console)
    if not config.options.refit:
        return network, fitted
    options = refit_options(config.options, fitted)
    both = np.concatenate([parts.train, parts.validation])
    again = replace(config, options=options)
    network, more = _fitted(again, table, both, parts.validation, console, keep="last")
    return network, replace(fitted, seconds=fitted.seconds + more.seconds)


def _fitted(
    config: Config,
    table: Table,
    train: NDArray[np.intp],
    validation: NDArray[np.intp],
    console: Console,
    keep: Literal["best", "last"] = "best",
) -> tuple[TableNetwork, Fitted]:
    options = config.options
    torch.manual_seed(options.seed)
    network = TableNetwork(
        columns_of(table, train, options.scaling),
        MLPConfig(config.hidden, _outputs(table), options.activation, options.dropout),
    )
    rows, wanted = torch.from_numpy(table.rows), torch.from_numpy(_wanted(table, train))
    weights = torch.ones(max(1, len(table.labels)))
    unweighted = _loss(table, weights)
    if table.task == "classify":
        truth = table.truth[train].astype(np.int64)
        weights = torch.from_numpy(class_weights(options.class_weights, table.labels, truth))
    elif options.class_weights != "none":
        raise WrongOption("--class-weights: a regression has no classes. Leave it out.")
    fitted = fit(
        network,
        loss=unweighted,
        score=_score(table, train),
        train=(rows[train], wanted[train]),
        validation=(rows[validation], wanted[validation]),
        options=options,
        title=config.name,
        console=console,
        training_loss=_loss(table, weights),
        keep=keep,
    )
    return network, fitted


def candidate_of(
    config: Config, table: Table, parts: Split, network: TableNetwork, fitted: Fitted
) -> Candidate:
    """What is released: the network with its last step, tested on rows it has never seen."""
    classifies = table.task == "classify"
    source: dict[str, JsonValue] = {
        "name": table.name,
        "sha256": table.sha256,
        "licence": table.licence,
        "target": table.target,
        "split_seed": config.split_seed,
        "train_rows": len(parts.train),
        "validation_rows": len(parts.validation),
        "test_rows": len(parts.test),
    }
    if table.kinds:
        kinds = {table.columns[at]: ", ".join(known) for at, known in table.kinds.items()}
        source["kinds, numbered from 0"] = "; ".join(f"{k}: {v}" for k, v in kinds.items())
    # What the last fit has seen: a refit has seen both parts.
    seen = parts.train
    if config.options.refit:
        seen = np.concatenate([parts.train, parts.validation])
    background = background_of(table, seen, network)
    return Candidate(
        name=config.name,
        family="mlp",
        task=table.task,
        summary=_summary(config, table, network),
        network=served(table, seen, network),
        inputs=(
            Declared(
                name="row", datatype="FP32", shape=(-1, len(table.columns)), features=table.columns
            ),
        ),
        outputs=(probabilities(len(table.labels)) if classifies else values([table.target]),),
        rows={"row": table.rows[parts.test]},
        truth=table.truth[parts.test],
        labels=table.labels,
        explainer=ExplainerDefaults(modality="table", num_samples=5000),
        assets={
            "example": ("example.csv", example_of(table, parts.test)),
            "background": ("background.json", json.dumps(background.to_json()).encode()),
            "learning_curve": ("learning-curve.png", learning_curve(fitted, config.name)),
        },
        provenance=provenance.describe(
            "training/train_mlp.py", config, config.options.seed, fitted.seconds, source, network
        ),
        precision=config.precision,
        # Of a refit no row is left that it has not seen.
        validation=None
        if config.options.refit
        else Held({"row": table.rows[parts.validation]}, table.truth[parts.validation]),
        calibration={"row": table.rows[seen]},
    )


def served(table: Table, train: NDArray[np.intp], network: TableNetwork) -> nn.Module:
    """The network with what makes an answer of it: probabilities, or values in their unit."""
    if table.task == "classify":
        return Sigmoid(network) if len(table.labels) == 2 else Softmax(network)
    shift, scale = _unit(table, train)
    return Values(network, torch.tensor([shift]), torch.tensor([scale]))


def _outputs(table: Table) -> int:
    """Units of the last layer: one sigmoid decides between two classes."""
    return len(table.labels) if len(table.labels) > 2 else 1


def _unit(table: Table, train: NDArray[np.intp]) -> tuple[float, float]:
    """Mean and deviation of the target in the training part."""
    known = table.truth[train]
    return float(known.mean()), float(known.std()) or 1.0


def _wanted(table: Table, train: NDArray[np.intp]) -> NDArray[np.int64] | NDArray[np.float32]:
    if table.task == "classify":
        return table.truth.astype(np.int64)
    shift, scale = _unit(table, train)
    return ((table.truth - shift) / scale).astype(np.float32)


def _loss(table: Table, weights: Tensor) -> Loss:
    """Cross-entropy by class weight, or the mean squared error of standardised values."""
    if table.task == "regress":
        return nn.functional.mse_loss

    def loss(logits: Tensor, wanted: Tensor) -> Tensor:
        weight = weights.to(logits.device)[wanted]
        if logits.shape[1] == 1:
            each = nn.functional.binary_cross_entropy_with_logits(
                logits[:, 0], wanted.to(logits.dtype), reduction="none"
            )
        else:
            each = nn.functional.cross_entropy(logits, wanted, reduction="none")
        return (each * weight).sum() / weight.sum()

    return loss


def _score(table: Table, train: NDArray[np.intp]) -> tuple[str, Loss]:
    """Share of rows that are right, or the mean absolute error in the target's unit."""
    if table.task == "regress":
        _, scale = _unit(table, train)
        return "error", lambda values, wanted: (values - wanted).abs().mean() * scale

    def accuracy(logits: Tensor, wanted: Tensor) -> Tensor:
        best = logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(dim=1)
        return (best.to(torch.int64) == wanted).to(torch.float32).mean()

    return "accuracy", accuracy


def _summary(config: Config, table: Table, network: TableNetwork) -> str:
    units = "-".join(str(n) for n in (network.row.width, *config.hidden, _outputs(table)))
    what = f"one of {len(table.labels)} classes" if table.labels else "a number"
    gaps = f"A gap is NaN, or {MISSING:g} where NaN cannot be sent; it is filled in the graph."
    return (
        f"A multilayer perceptron ({units} units, {config.options.activation}) that predicts "
        f"'{table.target}', {what}, from {len(table.columns)} columns of {table.name}. {gaps} "
        "It was tested on rows of the same table: of rows that came about otherwise nothing is "
        "known."
    )
