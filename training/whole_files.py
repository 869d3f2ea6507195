"""Files that are written whole or not at all, checkpoints above all."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch

from service.errors import GlasslineError


def save_checkpoint(path: Path, checkpoint: dict[str, Any], failed: str) -> None:
    """Put a checkpoint in the place of the one before.

    Raises:
        GlasslineError: it cannot be written, which is `failed` in words; the one before is whole.
    """
    body = io.BytesIO()
    torch.save(checkpoint, body)
    try:
        write_whole(path, body.getbuffer())
    except OSError as error:
        raise GlasslineError(
            f"checkpoint {path}: {failed} ({error.strerror}). The one before it is whole. Make "
            "room, then go on with --resume."
        ) from None


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Put a file in the place of the one before, once all of it is on the disk.

    Raises:
        OSError: it cannot be written; the one before it is whole.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
