"""What a predicting process holds is what the repository agreed on, from its first moment."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

from service.serving import FOLLOW_SECONDS, open_serving
from service.settings import Settings


def test_what_is_unloaded_while_a_process_starts_is_not_served_by_it(
    home: Path, tmp_path: Path
) -> None:
    shutil.copytree(home / "bentoml" / "models", tmp_path / "bentoml" / "models")
    nobody: Any = None  # no explanation is asked for
    serving = open_serving(Settings(home=tmp_path), nobody)
    assert [model.manifest.name for model in serving.registry.loaded()] == ["lenet-digits"]
    serving.repository.unload("lenet-digits")  # loaded, and not following yet

    async def follow() -> None:
        serving.start_following()
        await asyncio.sleep(3 * FOLLOW_SECONDS)
        await serving.streams.close()
        serving.close()

    asyncio.run(follow())
    assert serving.registry.loaded() == []
