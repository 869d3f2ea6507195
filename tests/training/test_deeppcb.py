"""DeepPCB: crops are around their boxes, no board is in two parts, and what is broken is named."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from service.protocol.media import encode_png
from training.data import deeppcb
from training.data.pictures import BadPictures, Pictures, decoded, square

REAL = Path(__file__).resolve().parents[2].parent / "shared/data/deeppcb"
MEDIA = square(64, "L")
#: Centre of each box of a made-up board: one of each type, the last at the very edge.
CENTRES = [(100, 100), (200, 100), (300, 100), (400, 100), (500, 100), (10, 630)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve boards of noise; ten in trainval.txt, two in test.txt."""
    boards = [f"group1/{number:03}" for number in range(12)]
    (tmp_path / "group1").mkdir()
    for number, board in enumerate(boards):
        for at, kind in enumerate(("test", "temp")):
            random = np.random.default_rng([number, at])
            noise = random.integers(0, 2, (640, 640)).astype(np.uint8) * 255
            Image.fromarray(noise).convert("1").save(tmp_path / f"{board}_{kind}.png")
        rows = [f"{x - 10},{y - 8},{x + 10},{y + 8},{at + 1}" for at, (x, y) in enumerate(CENTRES)]
        (tmp_path / f"{board}.txt").write_text("\n".join(rows) + "\n")
    (tmp_path / "trainval.txt").write_text("\n".join(boards[:10]))
    (tmp_path / "test.txt").write_text("\n".join(boards[10:]))
    return tmp_path


def load(root: Path, good: bool = False, size: int = 64) -> Pictures:
    media = square(size, "L")
    return deeppcb.load(root, media, good, Console(file=io.StringIO()))


def board(root: Path, name: str) -> np.ndarray:
    return decoded((root / f"group1/{name}.png").read_bytes(), deeppcb.BOARD)[0, 0]


def test_a_crop_is_what_is_around_its_box(root: Path) -> None:
    data = load(root)
    tested = board(root, "010_test")
    # Box 3 of the first test board: columns 268 to 331, rows 68 to 131.
    assert np.array_equal(data.test.images[2, 0], tested[68:132, 268:332])
    assert data.test.labels[:6].tolist() == [0, 1, 2, 3, 4, 5]
    assert data.labels == ("open", "short", "mousebite", "spur", "copper", "pin-hole")


def test_training_crops_have_a_margin_around_the_same_centre(root: Path) -> None:
    data = load(root)
    assert data.margin == 4
    assert data.train.images.shape == (9 * 6, 1, 72, 72)
    names = [f"{number:03}_test" for number in range(10)]
    wanted = {board(root, name)[64:136, 64:136].tobytes() for name in names}
    first = {image.tobytes() for image in data.train.images[data.train.labels == 0]}
    assert first < wanted


def test_beyond_the_edge_the_last_pixels_go_on() -> None:
    numbers = np.arange(100, dtype=np.uint8).reshape(10, 10)
    found = deeppcb.crop(numbers, (0, 9), 4)
    # Columns -2 to 1, rows 7 to 10, by hand.
    assert found.tolist() == [
        [70, 70, 70, 71], [80, 80, 80, 81], [90, 90, 90, 91], [90, 90, 90, 91],
    ]  # fmt: skip


def test_another_size_is_the_same_crop_stretched(root: Path) -> None:
    tested = board(root, "010_test")[68:132, 268:332]
    wanted = decoded(encode_png(tested[np.newaxis]), square(32, "L"))
    assert np.array_equal(load(root, size=32).test.images[2], wanted[0])


def test_no_board_is_in_two_parts(root: Path) -> None:
    data = load(root)
    assert [len(part) for part in data.parts] == [54, 6, 12]
    assert data.described()["validation_boards"] == 1
    centres = data.train.images[..., 4:68, 4:68]
    seen = [{image.tobytes() for image in images}
            for images in (centres, data.validation.images, data.test.images)]  # fmt: skip
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


def test_good_places_come_from_the_template(root: Path) -> None:
    data = load(root, good=True)
    assert data.labels[-1] == "good"
    good = data.test.images[data.test.labels == 6]
    assert len(good) == 2
    assert np.array_equal(good[0, 0], board(root, "010_temp")[68:132, 68:132])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3,4,7", r"line 1: got '1,2,3,4,7', wanted x1,y1,x2,y2,type with type 1 to 6"),
        ("1,2,3,4", "line 1: got '1,2,3,4'"),
        ("a,2,3,4,1", "line 1: got 'a,2,3,4,1'"),
    ],
)
def test_a_wrong_box_is_named(root: Path, line: str, message: str) -> None:
    (root / "group1/003.txt").write_text(line)
    with pytest.raises(BadPictures, match=f"003.txt: {message}"):
        load(root)


def test_a_broken_board_and_a_missing_one_are_named(root: Path) -> None:
    path = root / "group1/004_test.png"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(BadPictures, match=r"004_test.png: picture: got a damaged PNG"):
        load(root)
    path.unlink()
    with pytest.raises(BadPictures, match=r"004_test.png: .*No such file"):
        load(root)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadPictures, match="has no trainval.txt, wanted the folder of DeepPCB"):
        load(tmp_path)


def test_a_list_that_leaves_a_class_out_is_refused(root: Path) -> None:
    for name in ("010", "011"):
        path = root / f"group1/{name}.txt"
        path.write_text("\n".join(path.read_text().splitlines()[:5]))
    with pytest.raises(BadPictures, match="the test part has no pin-hole"):
        load(root)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/deeppcb is not there")
def test_the_real_set_has_8981_crops_of_boards_that_are_in_one_part() -> None:
    data = deeppcb.load(REAL, MEDIA, False, Console(file=io.StringIO()))
    assert [len(part) for part in data.parts] == [5952, 639, 2390]
    assert np.bincount(data.test.labels).tolist() == [492, 373, 446, 372, 357, 350]
