"""A variational autoencoder's decoder as a generator of its own."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.autoencoder import Autoencoder, Generator
from service.manifest import ImageMedia, Provenance
from service.store import ModelStore, StoredModel
from training.feature_space import MeanSpace, found_in, space_of
from training.generator_release import Origin, release_generator
from training.lessons import one_thread

#: What is put behind the name of the detector.
SUFFIX = "-decoder"
#: Pictures that are encoded together.
TOGETHER = 256


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

    Noise is brought to the mean and the covariance of the codes of training pictures. Pictures are
    compared in the feature space of a released classifier of the same pictures, or where there is
    none in `MeanSpace`.

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
    return release_generator(Generator(network, *codes_of(network, train)), origin, space, store)


def codes_of(network: Autoencoder, pictures: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Mean of the codes that are drawn for some pictures, and the root of their covariance.

    A code is drawn around a mean of its own with variances of its own: the covariance is that of
    these means, and on its diagonal the mean of these variances besides.

    Args:
        network: variational.
        pictures: (n, C, H, W), n at least 2.

    Returns:
        (latent,) and (latent, latent), a lower triangle.
    """
    network = network.eval()
    with torch.inference_mode(), one_thread():
        parts = [
            network.encode(torch.from_numpy(pictures[at : at + TOGETHER]))
            for at in range(0, len(pictures), TOGETHER)
        ]
    means, variances = (torch.cat(values).double() for values in zip(*parts, strict=True))
    latent = means.shape[1]
    covariance = torch.cov(means.T).reshape(latent, latent)  # of one value it is a number
    covariance = covariance + torch.diag(variances.exp().mean(dim=0))
    root = torch.linalg.cholesky(covariance)
    return means.mean(dim=0).float().clone(), root.float().clone()
