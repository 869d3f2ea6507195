"""What every Lightning fit shares: the progress bar, quiet, one thread."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from training.torchvision_import import lightning


class Bar(lightning.Callback):
    """One progress bar over the epochs on a terminal; ten plain lines anywhere else."""

    def __init__(
        self, title: str, epochs: int, console: Console, metric: str = "validation_accuracy"
    ) -> None:
        self.title = title
        self.metric = metric
        self.said = metric.replace("_", " ")
        self.epochs = epochs
        self.console = console
        self.progress = Progress(
            TextColumn(title),
            BarColumn(),
            TextColumn("epoch {task.completed}/{task.total}"),
            TextColumn(self.said + " {task.fields[figure]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.progress.add_task(title, total=epochs, figure="-")

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        if trainer.is_global_zero:
            self.progress.start()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        if not trainer.is_global_zero:
            return
        done = trainer.current_epoch + 1
        figure = f"{float(trainer.callback_metrics[self.metric]):.4f}"
        self.progress.update(self.task, completed=done, figure=figure)
        every = max(1, self.epochs // 10)
        if not self.console.is_terminal and (done % every == 0 or done == self.epochs):
            line = f"{self.title}: epoch {done}/{self.epochs}, {self.said} {figure}"
            self.console.print(line, highlight=False, soft_wrap=True)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        self.progress.stop()

    def on_exception(self, trainer: Any, pl_module: Any, exception: Any) -> None:  # noqa: ARG002
        self.progress.stop()
        if isinstance(exception, KeyboardInterrupt):  # Lightning exits without a word
            line = f"{self.title}: stopped; nothing was released"
            self.console.print(line, highlight=False, soft_wrap=True)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Without Lightning's advice and announcements; its errors still come through."""
    with quiet("lightning.pytorch", "lightning.fabric"):
        # The data are in memory: workers would only cost their start.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # Frozen blocks are never in training mode; that is what they are frozen for.
        warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")
        yield


@contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Loggers of these names say nothing but errors; filters of warnings that are added end too."""
    logs = [logging.getLogger(name) for name in names]
    levels = [log.level for log in logs]
    with warnings.catch_warnings():
        # Lightning 2.6 and torch 2.13's own exporter ask for objects that torch has deprecated.
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprec")
        for log in logs:
            log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for log, level in zip(logs, levels, strict=True):
                log.setLevel(level)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one CPU thread.

    Small batches gain nothing from more, lose a lot on a busy machine (a LeNet-5 step took
    thirty times as long), and sums come out the same on any number of cores.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
