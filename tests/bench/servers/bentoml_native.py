"""BentoML's own API as installed: `bentoml serve bentoml_native:Native`."""

from __future__ import annotations

import bentoml
import numpy as np
from graph import PORT, open_session


@bentoml.service(workers=1, http={"host": "127.0.0.1", "port": PORT})
class Native:
    """One array in, one out, in BentoML's JSON."""

    def __init__(self) -> None:
        self._session = open_session()

    @bentoml.api
    def infer(self, image: np.ndarray) -> np.ndarray:
        """Probabilities of each row."""
        pixels = image.astype(np.uint8)
        answer: np.ndarray = self._session.run(["probabilities"], {"image": pixels})[0]
        return answer
