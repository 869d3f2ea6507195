"""Every option changes what it says, by as much as can be worked out on paper."""

from __future__ import annotations

import dataclasses
import io
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from tensorboardX.proto import event_pb2
from torch import Tensor, nn

from service.errors import GlasslineError
from tests.running_server import REPOSITORY
from training import fitting
from training.batches import Batches
from training.best_epoch import BestEpoch
from training.class_weights import class_weights
from training.fitting import Fitted, fit
from training.optimizers import optimizer_of, rate_at, schedule_of
from training.options import Options, WrongOption, flag_of
from training.provenance import weights_digest

START, GRADIENT = 2.0, 0.5


def one_weight() -> nn.Linear:
    """A network of one weight, 2, and one bias, 1."""
    network = nn.Linear(1, 1)
    nn.init.constant_(network.weight, START)
    nn.init.constant_(network.bias, 1.0)
    return network


def updated(steps: int = 1, **options: Any) -> tuple[float, float]:
    """The weight and the bias after updates with the gradient 0.5 each."""
    network = one_weight()
    optimizer = optimizer_of(network, Options(learning_rate=0.1, **options))
    for _ in range(steps):
        for weights in network.parameters():
            weights.grad = torch.full_like(weights, GRADIENT)
        optimizer.step()
    return float(network.weight.item()), float(network.bias.item())


@pytest.mark.parametrize(
    ("optimizer", "steps", "moved"),  # by hand, rate 0.1, gradient 0.5, momentum 0.9
    [
        ("sgd", 2, 0.1 * (0.5 + 0.5)),
        ("momentum", 2, 0.1 * (0.5 + (0.9 * 0.5 + 0.5))),
        ("nesterov", 1, 0.1 * (0.5 + 0.9 * 0.5)),
        ("adagrad", 2, 0.1 * (1 + 0.5 / math.sqrt(0.25 + 0.25))),
        ("rmsprop", 1, 0.1 * 0.5 / math.sqrt(0.01 * 0.25)),
        ("adam", 2, 0.1 * 2),  # of a gradient that stays the same each step is the rate
        ("adamw", 2, 0.1 * 2),
    ],
)
def test_optimizers_move_as_their_papers_say(optimizer: str, steps: int, moved: float) -> None:
    weight, bias = updated(steps, optimizer=optimizer)
    assert weight == pytest.approx(START - moved, rel=1e-5)
    assert bias == pytest.approx(1 - moved, rel=1e-5, abs=1e-6)


def test_momentum_keeps_the_share_that_was_asked_for() -> None:
    weight, _ = updated(2, optimizer="momentum", momentum=0.5)
    assert weight == pytest.approx(START - 0.1 * (0.5 + (0.5 * 0.5 + 0.5)))


def test_l2_pulls_weights_and_leaves_biases() -> None:
    weight, bias = updated(optimizer="sgd", l2=0.3)
    assert weight == pytest.approx(START - 0.1 * (GRADIENT + 0.3 * START))
    assert bias == pytest.approx(1 - 0.1 * GRADIENT)


def test_l2_of_adamw_is_decoupled_from_the_gradient() -> None:
    weight, _ = updated(optimizer="adamw", l2=0.3)
    assert weight == pytest.approx(START * (1 - 0.1 * 0.3) - 0.1, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "shares"),  # of the rate, at the first update of epochs 0, 1, 2, ...; two each
    [
        ({}, [1, 1, 1, 1]),
        ({"schedule": "step", "schedule_every": 2, "schedule_factor": 0.1}, [1, 1, 0.1, 0.1]),
        ({"schedule": "exponential", "schedule_factor": 0.5}, [1, 0.5, 0.25, 0.125]),
        ({"schedule": "cosine"}, [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
        ({"warmup": 2}, [0.25, 0.75, 1, 1]),
        ({"warmup": 2, "schedule": "cosine"}, [0.25, 0.75, 1, 0.5]),
    ],
)
def test_schedules(options: dict[str, Any], shares: list[float]) -> None:
    asked = Options(epochs=4, **options)
    assert [rate_at(2 * epoch, 8, asked) for epoch in range(4)] == pytest.approx(shares)


def test_one_cycle_rises_to_the_learning_rate_and_ends_near_0() -> None:
    asked = Options(epochs=4, learning_rate=0.2, optimizer="sgd", schedule="one-cycle")
    optimizer = optimizer_of(one_weight(), asked)
    schedule = schedule_of(optimizer, asked, 20)
    assert schedule is not None
    rates = []
    for _ in range(19):
        optimizer.step()
        schedule["scheduler"].step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert max(rates) == pytest.approx(0.2)
    assert rates[-1] < 1e-5


# --- fits: rows of a straight line with noise ---


def line(rows: int = 24, seed: int = 0) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 3)).astype(np.float32)
    y = x @ np.array([[1.0], [-2.0], [0.5]], np.float32) + 0.3
    return torch.from_numpy(x), torch.from_numpy(y.astype(np.float32))


def small(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Dropout(dropout), nn.Linear(5, 1))


def fitted(
    network: nn.Module | None = None,
    validation: tuple[Tensor, ...] | None = None,
    **options: Any,
) -> tuple[nn.Module, Fitted]:
    asked = Options(**{"epochs": 3, "device": "cpu", "batch_size": 8, **options})
    network = network or small()
    loss = nn.functional.mse_loss
    told = fit(
        network,
        loss,
        ("error", loss),
        line(),
        validation or line(seed=1),
        asked,
        "line",
        Console(file=io.StringIO()),
    )
    return network, told


def digest(**options: Any) -> str:
    return weights_digest(fitted(**options)[0])


def test_the_same_seed_gives_the_same_weights() -> None:
    assert digest(seed=3) == digest(seed=3)
    assert digest(seed=3) != digest(seed=4)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "rmsprop"},
        {"learning_rate": 0.002},
        {"schedule": "exponential"},
        {"warmup": 1},
        {"l1": 0.1},
        {"l2": 0.1},
        {"batch_mode": "full"},
        {"batch_mode": "stochastic"},
        {"batch_size": 4},
        {"reshuffle": False},
        {"arithmetic": "bf16-mixed"},
        {"clip_norm": 0.01},
    ],
)
def test_options_decide_about_the_weights(options: dict[str, Any]) -> None:
    assert digest(**options) != digest()


@pytest.mark.parametrize(
    ("mode", "updates"),  # of 24 rows in an epoch
    [("full", 1), ("mini", 3), ("stochastic", 24)],
)
def test_batch_modes_make_as_many_updates(
    mode: str, updates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    step = fitting.Lesson.training_step

    def counted(self: Any, batch: list[Tensor], index: int) -> Tensor:
        taken.append(len(batch[0]))
        return step(self, batch, index)

    monkeypatch.setattr(fitting.Lesson, "training_step", counted)
    fitted(batch_mode=mode, epochs=1)
    assert taken == [24 // updates] * updates


def test_full_batches_are_the_gradient_of_all_rows() -> None:
    network, asked = small(), {"batch_mode": "full", "epochs": 1, "optimizer": "sgd"}
    x, y = line()
    nn.functional.mse_loss(network(x), y).backward()
    wanted = [w.detach() - 0.5 * w.grad for w in network.parameters() if w.grad is not None]
    got, _ = fitted(learning_rate=0.5, **asked)
    for one, other in zip(got.parameters(), wanted, strict=True):
        torch.testing.assert_close(one.detach(), other)


def test_l1_pulls_each_weight_by_the_same_amount() -> None:
    network, asked = small(), {"batch_mode": "full", "epochs": 1, "optimizer": "sgd"}
    x, y = line()
    penalty = sum(network[at].weight.abs().sum() for at in (0, 3))
    (nn.functional.mse_loss(network(x), y) + 0.05 * penalty).backward()
    wanted = network[0].weight.detach() - 0.5 * network[0].weight.grad
    got, _ = fitted(learning_rate=0.5, l1=0.05, **asked)
    torch.testing.assert_close(got[0].weight.detach(), wanted)


def test_orders_are_new_each_epoch_or_the_first_one_again() -> None:
    def order(reshuffle: bool, epoch: int) -> list[int]:
        batches = Batches(10, 4, seed=1, reshuffle=reshuffle)
        batches.set_epoch(epoch)
        taken = list(batches)
        assert [len(one) for one in taken] == [4, 4, 2]
        return [row for one in taken for row in one]

    assert sorted(order(True, 0)) == list(range(10))
    assert order(True, 0) != order(True, 1)
    assert order(False, 0) == order(False, 1) == order(True, 0)


def test_batches_by_length_hold_every_row_once_and_little_padding() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    batches = Batches(1000, 10, seed=1, reshuffle=True, lengths=lengths)
    taken = list(batches)
    assert sorted(row for one in taken for row in one) == list(range(1000))
    spread = np.mean([np.ptp(lengths[one]) for one in taken])
    assert spread < 5, "rows of about one length are together"
    first = [lengths[one].mean() for one in taken]
    assert np.corrcoef(first, range(100))[0, 1] < 0.3, "but short batches do not come first"
    batches.set_epoch(1)
    assert list(batches) != taken


def test_a_gradient_that_is_longer_than_clip_norm_is_shortened_to_it() -> None:
    """One update by all rows: the step is the learning rate times a gradient of that length."""
    network = small()
    before = torch.cat([one.detach().flatten().clone() for one in network.parameters()])
    fitted(network, optimizer="sgd", learning_rate=0.5, batch_mode="full", epochs=1, clip_norm=0.01)
    after = torch.cat([one.detach().flatten() for one in network.parameters()])
    assert float((after - before).norm()) == pytest.approx(0.5 * 0.01, rel=1e-3)


def test_dropout_leaves_out_units_in_training_alone() -> None:
    without, _ = fitted(small(), seed=1)
    with_dropout, _ = fitted(small(dropout=0.5), seed=1)
    assert weights_digest(without) != weights_digest(with_dropout)
    x, _ = line()
    with_dropout.eval()
    assert torch.equal(with_dropout(x), with_dropout(x))


@pytest.mark.slow
def test_processes_that_train_together_come_to_what_one_comes_to() -> None:
    alone, told = fitted(epochs=2, patience=1)
    together, again = fitted(epochs=2, patience=1, devices=2)
    for one, other in zip(alone.parameters(), together.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    assert again.best == told.best
    for ours, theirs in zip(told.epochs, again.epochs, strict=True):
        assert theirs == pytest.approx(ours, rel=1e-5)


def test_early_stopping_puts_the_best_weights_back() -> None:
    x, y = line(seed=1)
    # A validation part that wants the contrary gets worse with every epoch.
    network, told = fitted(validation=(x, -5 * y), patience=3, epochs=50, learning_rate=0.05)
    losses = [epoch.validation_loss for epoch in told.epochs]
    assert told.best == int(np.argmin(losses))
    assert len(told.epochs) == told.best + 1 + 3
    with torch.inference_mode():
        again = nn.functional.mse_loss(network.eval()(x), -5 * y)
    assert float(again) == pytest.approx(losses[told.best], rel=1e-5)


def test_without_patience_all_epochs_are_run() -> None:
    x, y = line(seed=1)
    _, told = fitted(validation=(x, -5 * y), epochs=9, learning_rate=0.05)
    assert len(told.epochs) == 9


def test_plateaus_lower_the_rate() -> None:
    x, y = line(seed=1)
    plateau = {"schedule": "plateau", "schedule_every": 1, "schedule_factor": 0.1}
    _, told = fitted(validation=(x, -5 * y), epochs=8, learning_rate=0.05, **plateau)
    assert told.epochs[0].learning_rate == pytest.approx(0.05)
    assert told.epochs[-1].learning_rate < 0.006


def test_going_on_from_a_checkpoint_is_as_if_it_had_not_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"epochs": 6, "optimizer": "adam", "schedule": "cosine", "patience": 0}
    whole, told = fitted(small(dropout=0.3), **asked)
    kept = tmp_path / "state" / "line.ckpt"

    class Stopped(Exception):
        """A power cut."""

    end = BestEpoch.on_train_epoch_end

    def cut(self: Any, trainer: Any, module: Any) -> None:
        if trainer.current_epoch == 3:
            raise Stopped
        end(self, trainer, module)

    with monkeypatch.context() as patched:
        patched.setattr(BestEpoch, "on_train_epoch_end", cut)
        with pytest.raises(Stopped):
            fitted(small(dropout=0.3), checkpoint=str(kept), **asked)
    network = small(dropout=0.3)
    nn.init.zeros_(network[0].weight)  # whatever it begins with
    gone_on, again = fitted(network, resume=str(kept), **asked)
    assert weights_digest(gone_on) == weights_digest(whole)
    assert again.epochs == told.epochs
    assert again.best == told.best
    assert sorted(p.name for p in kept.parent.iterdir()) == ["line.ckpt"]


def test_a_checkpoint_goes_on_with_its_own_options_alone(tmp_path: Path) -> None:
    kept = tmp_path / "line.ckpt"
    fitted(checkpoint=str(kept))
    with pytest.raises(WrongOption, match="was made with --optimizer adam, --l2 0.0"):
        fitted(resume=str(kept), l2=0.1, optimizer="sgd")


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    kept = tmp_path / "line.ckpt"
    fitted(checkpoint=str(kept))
    inputs = small()[0].in_features
    other = nn.Sequential(nn.Linear(inputs, 3), nn.ReLU(), nn.Linear(3, 1))
    with pytest.raises(WrongOption, match="is of another network: .*weight has the shape"):
        fitted(other, resume=str(kept))


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint"])
def test_what_is_no_checkpoint_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "no.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WrongOption, match="--resume: .* is no checkpoint"):
        fitted(resume=str(path))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    kept = tmp_path / "line.ckpt"
    fitted(checkpoint=str(kept), epochs=1)
    before = kept.read_bytes()
    kept.with_name("line.ckpt.part").symlink_to("/dev/full")
    with pytest.raises(GlasslineError, match=r"epoch 1 cannot be written .*No space left"):
        fitted(checkpoint=str(kept), epochs=1)
    assert kept.read_bytes() == before


def test_losses_are_logged_as_csv(tmp_path: Path) -> None:
    _, told = fitted(log="csv", log_folder=str(tmp_path))
    (written,) = tmp_path.rglob("metrics.csv")
    header, *rows = written.read_text().splitlines()
    assert {"epoch", "training_loss", "validation_loss"} <= set(header.split(","))
    at = header.split(",").index("validation_loss")
    got = [float(row.split(",")[at]) for row in rows if row.split(",")[at]]
    assert got == pytest.approx([epoch.validation_loss for epoch in told.epochs])


def test_losses_are_logged_for_tensorboard(tmp_path: Path) -> None:
    _, told = fitted(log="tensorboard", log_folder=str(tmp_path))
    (written,) = tmp_path.rglob("events.out.tfevents.*")
    body, at, got = written.read_bytes(), 0, []
    while at < len(body):  # length, its checksum, the event, its checksum
        (size,) = struct.unpack_from("<Q", body, at)
        event = event_pb2.Event.FromString(body[at + 12 : at + 12 + size])
        got += [one.simple_value for one in event.summary.value if one.tag == "validation_loss"]
        at += 16 + size
    assert got == pytest.approx([epoch.validation_loss for epoch in told.epochs])


def test_diverging_says_what_to_change() -> None:
    with pytest.raises(GlasslineError, match=r"diverged.*Lower --learning-rate \(it was 0\.99\)"):
        fitted(small(), learning_rate=0.99, optimizer="sgd", epochs=300, batch_mode="stochastic",
               validation=(torch.full((2, 3), 1e30), torch.zeros(2, 1)))  # fmt: skip


def test_it_stops_when_its_weights_are_no_numbers_and_ends_with_the_best_that_were() -> None:
    network, told = fitted(
        small(), learning_rate=0.99, optimizer="sgd", epochs=300, batch_mode="stochastic"
    )
    assert len(told.epochs) < 5
    assert not math.isfinite(told.epochs[-1].training_loss)
    assert all(torch.isfinite(weights).all() for weights in network.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.0}, r"--learning-rate: got 0, wanted more than 0 and less than 1"),
        ({"learning_rate": math.nan}, "--learning-rate: got nan, wanted more than 0"),
        ({"dropout": 1.0}, "--dropout: got 1, wanted at least 0 and less than 1"),
        ({"momentum": 1.5}, "--momentum: got 1.5"),
        ({"l2": -1.0}, "--l2: got -1, wanted at least 0"),
        ({"epochs": 0}, "--epochs: got 0, wanted at least 1"),
        ({"seed": -1}, "--seed: got -1"),
        ({"optimizer": "adamax"}, "--optimizer: got 'adamax', wanted one of sgd, momentum"),
        ({"warmup": 3, "schedule": "one-cycle"}, "--warmup: got 3 with --schedule one-cycle"),
        ({"warmup": 9, "epochs": 9}, "--warmup: got 9, wanted less than the 9 epochs"),
        ({"devices": 0}, "--devices: got 0, wanted at least 1"),
    ],
)
def test_wrong_values_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongOption, match=message):
        Options(**options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    "options", [{"device": "cuda"}, {"batch_size": 2, "devices": 3}, {"arithmetic": "16-mixed"}]
)
def test_what_the_machine_has_not_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(WrongOption, match=flag_of(list(options)[-1])):
        fitted(**options)


@pytest.mark.parametrize(
    ("said", "weights"),  # of 6 good, 2 bad, 0 odd rows
    [
        ("none", [1, 1, 1]),
        ("balanced", [8 / 18, 8 / 6, 8 / 3]),
        ("bad=5", [1, 5, 1]),
        ("bad=5,odd=0.5", [1, 5, 0.5]),
    ],
)
def test_class_weights(said: str, weights: list[float]) -> None:
    truth = np.array([0] * 6 + [1] * 2)
    got = class_weights(said, ("good", "bad", "odd"), truth)
    assert got.tolist() == pytest.approx(weights)


@pytest.mark.parametrize("said", ["some", "bad", "bad=0", "bad=x", "bad=inf", "worse=2", ""])
def test_class_weights_that_are_none_are_refused(said: str) -> None:
    with pytest.raises(WrongOption, match="--class-weights"):
        class_weights(said, ("good", "bad"), np.array([0, 1]))


@pytest.mark.parametrize("option", dataclasses.fields(Options), ids=lambda one: one.name)
def test_every_option_has_help_and_stands_in_the_readme(option: dataclasses.Field[Any]) -> None:
    assert len(option.metadata["help"]) > 10
    readme = (REPOSITORY / "training" / "README.md").read_text()
    assert f"| `{flag_of(option.name)}`" in readme
