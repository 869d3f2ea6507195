"""A variational autoencoder's decoder as a generator of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.autoencoder import Autoencoder, Generator
from service.manifest import ImageMedia, Provenance
from service.store import ModelStore, StoredModel
from training.feature_space import MeanSpace, found_in, space_of
from training.generator_release import Origin, release_generator

#: What is put behind the name of the detector.
SUFFIX = "-decoder"


def release_decoder(
    network: Autoencoder,
    of: str,
    data: str,
    media: ImageMedia,
    train: NDArray[np.uint8],
    unseen: NDArray[np.uint8],
    curve: bytes,
    provenance: Provenance,
    store: ModelStore,
) -> StoredModel:
    """Release the decoder of a detector's own training as `NAME-decoder`, of the task `generate`.

    Its noise are codes as the divergence wants them, N(0, 1). Pictures are compared in the feature
    space of a released classifier of the same pictures, or where there is none in `MeanSpace`.

    Args:
        network: variational, of pictures.
        of: name of the detector.
        data: what people call the pictures.
        media: how they are decoded.
        train: that it has learnt from, (n, C, H, W), 0 to 255.
        unseen: normal ones that it has not, at least 4.
        curve: how training went, a PNG.
        provenance: of the training; `data` has the digest of the pictures.
        store: takes it.

    Raises:
        ReleaseRefused: the exported graph is not the network; nothing was stored.
    """
    known = found_in(store, str(provenance.data.get("sha256", "")), media)
    origin = Origin(
        name=f"{of}{SUFFIX}"[-63:].lstrip("-"),
        family="autoencoder",
        summary=(
            f"The decoder of the variational autoencoder {of}, as it was trained on {data}: it "
            "draws pictures such as it calls normal, smoother than real ones, as a mean over what "
            "it is not sure of. It shows what the detector has learnt. What it draws never was in "
            "front of a camera: it is no evidence of anything."
        ),
        noise=network.config.latent,
        train=train,
        test=unseen,
        test_labels=np.zeros(len(unseen), np.int64),
        curve=curve,
        provenance=provenance,
    )
    space = space_of(store, known) if known else MeanSpace()
    return release_generator(Generator(network), origin, space, store)
