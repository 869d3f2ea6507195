"""The digits are the ones that the checksum names, split fairly, decoded as the service does."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from service import settings as service_settings
from service.protocol.media import decode_image, encode_png
from training.data import digits
from training.data.pictures import Pictures


@pytest.fixture(scope="module")
def data() -> Pictures:
    return digits.load()


def test_parts_have_the_declared_shapes(data: Pictures) -> None:
    rows = {"train": 1077, "validation": 360, "test": 360}
    for name, count in rows.items():
        part = getattr(data, name)
        assert part.images.shape == (count, 1, 32, 32)
        assert part.images.dtype == np.uint8
        assert part.labels.shape == (count,)


def test_each_part_has_every_digit_in_proportion(data: Pictures) -> None:
    whole = np.bincount(load_digits().target) / 1797
    for part in (data.train, data.validation, data.test):
        share = np.bincount(part.labels) / len(part.labels)
        np.testing.assert_allclose(share, whole, atol=1.5 / len(part.labels))


def test_parts_are_disjoint_and_complete(data: Pictures) -> None:
    every = np.concatenate([p.images for p in (data.train, data.validation, data.test)])
    original = np.concatenate([digits.decoded(digits.png(p)) for p in load_digits().images])
    as_set = sorted(image.tobytes() for image in every)
    assert as_set == sorted(image.tobytes() for image in original)


def test_posted_8x8_pngs_are_bit_for_bit_what_the_model_was_trained_on(
    data: Pictures,
) -> None:
    limit = service_settings.Settings.model_fields["max_image_pixels"].default
    everything = np.concatenate([data.train.images, data.validation.images, data.test.images])
    trained_on = {image.tobytes() for image in everything}
    for picture in load_digits().images:
        grey = np.round(picture * 255 / 16).astype(np.uint8)
        posted = decode_image(encode_png(grey[np.newaxis]), digits.MEDIA, limit)
        assert posted.tobytes() in trained_on
        # The oracle knows nothing of our decoder.
        plain = Image.fromarray(grey).resize((32, 32), Image.Resampling.BILINEAR)
        assert np.array_equal(posted[0, 0], np.asarray(plain))


@pytest.mark.parametrize(
    ("ink", "grey"),  # round(ink * 255 / 16), by hand; 15.9375 an ink level
    [(0, 0), (1, 16), (8, 128), (13, 207), (16, 255)],
)
def test_ink_becomes_grey(ink: int, grey: int) -> None:
    media = digits.MEDIA.model_copy(update={"width": 8, "height": 8})
    picture = decode_image(digits.png(np.full((8, 8), ink)), media, 64)
    assert (picture == grey).all()


def test_the_split_follows_its_seed(data: Pictures) -> None:
    assert np.array_equal(digits.load().test.images, data.test.images)
    assert not np.array_equal(digits.load(seed=1).test.images, data.test.images)


def test_other_pixels_are_refused() -> None:
    bunch = load_digits()
    small, labels = bunch.images.astype(np.uint8), bunch.target
    digits._check(small, labels)
    small[5, 3, 3] ^= 1
    with pytest.raises(digits.DataMismatch, match=f"wanted {digits.SHA256}"):
        digits._check(small, labels)
