"""The pretrained example calls the cat a cat and the coffee an espresso."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from skimage import data as photographs

from service.inference.session import Session
from service.protocol.media import decode_image, encode_png
from service.store import ModelStore, StoredModel
from service.tasks.classify import Classifier
from training import imagenet


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredModel:
    home: Path = tmp_path_factory.mktemp("home")
    return imagenet.main(imagenet.Config(), ModelStore(home), Console(file=io.StringIO()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("photograph", "label", "confidence"),
    [("chelsea", "Egyptian cat", 0.3), ("coffee", "espresso", 0.8)],
)
def test_photographs_are_named_right(
    stored: StoredModel, photograph: str, label: str, confidence: float
) -> None:
    body = encode_png(getattr(photographs, photograph)().transpose(2, 0, 1))
    image = decode_image(body, imagenet.MEDIA, 2**24)
    outputs = Session(stored).run({"image": image})
    answer = Classifier(stored.manifest).answer(outputs)
    assert answer["label"][0] == label
    assert answer["confidence"][0] > confidence


@pytest.mark.slow
def test_hundreds_of_crops_pass_the_gate(stored: StoredModel) -> None:
    assert stored.manifest.parity.rows == 210
    assert stored.manifest.parity.label_flips == 0
    assert stored.manifest.metrics == {"top1_accuracy": 1.0, "photographs": 2.0}


@pytest.mark.slow
def test_the_example_is_chelsea_at_her_own_size(stored: StoredModel) -> None:
    body = (stored.folder / "example.png").read_bytes()
    media = imagenet.MEDIA.model_copy(update={"width": 451, "height": 300})
    picture = decode_image(body, media, 451 * 300)[0].transpose(1, 2, 0)
    assert np.array_equal(picture, photographs.chelsea())


def test_crops_come_from_their_seed_and_with_their_mirror_image() -> None:
    pictures = [photographs.chelsea(), photographs.coffee()]
    crops = imagenet._crops(pictures, 2, np.random.default_rng(4))
    assert crops.shape == (8, 3, 224, 224)
    assert np.array_equal(crops[1], crops[0][:, :, ::-1])
    assert np.array_equal(crops, imagenet._crops(pictures, 2, np.random.default_rng(4)))
