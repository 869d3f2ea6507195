"""Folders of pictures: read as the service reads, split fairly, nothing left out in silence."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from training.data import folders
from training.data.pictures import BadPictures, Pictures, decoded, square

MEDIA = square(16, "RGB")


def picture(seed: int, format: str = "PNG") -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (20, 24, 3)).astype(np.uint8)
    body = io.BytesIO()
    Image.fromarray(noise).save(body, format)
    return body.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twenty pictures of each class: `bad`, of which one lies deeper, and `good`."""
    folder = tmp_path / "parts"
    for at, label in enumerate(("bad", "good")):
        for number in range(20):
            inside = folder / label / ("line 2" if (label, number) == ("bad", 3) else "")
            inside.mkdir(parents=True, exist_ok=True)
            jpeg = number % 2
            name = f"{number:02}.{'JPG' if jpeg else 'png'}"
            (inside / name).write_bytes(picture(100 * at + number, "JPEG" if jpeg else "PNG"))
    return folder


def load(root: Path, skip_broken: bool = False) -> tuple[Pictures, str]:
    written = io.StringIO()
    return folders.load(root, MEDIA, skip_broken, Console(file=written)), written.getvalue()


def test_classes_are_folders_and_each_is_in_every_part(root: Path) -> None:
    data, said = load(root)
    assert data.labels == ("bad", "good")
    assert [np.bincount(part.labels).tolist() for part in data.parts] == [[12, 12], [4, 4], [4, 4]]
    assert data.train.images.shape == (24, 3, 16, 16)
    assert said == ""


def test_pictures_are_decoded_as_the_service_decodes_them(root: Path) -> None:
    data, _ = load(root)
    seen = {image.tobytes() for part in data.parts for image in part.images}
    bodies = [path.read_bytes() for path in root.rglob("*.*")]
    assert seen == {decoded(body, MEDIA).tobytes() for body in bodies}
    assert len(seen) == 40


def test_the_digest_is_that_of_sha256sum(root: Path) -> None:
    files = sorted(path for path in root.rglob("*.*"))
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(root).as_posix()}\n"
        for path in files
    ]
    assert load(root)[0].sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()
    (root / "good" / "00.png").write_bytes(picture(7))
    assert load(root)[0].sha256 != hashlib.sha256("".join(lines).encode()).hexdigest()


def test_a_broken_picture_is_named_and_refused(root: Path) -> None:
    (root / "good" / "00.png").write_bytes(picture(1)[:200])
    (root / "good" / "02.png").write_bytes(b"")
    with pytest.raises(BadPictures, match=r"2 files broken: good/00.png \(got a damaged PNG") as no:
        load(root)
    assert "good/02.png (got 0 bytes that are neither" in str(no.value)
    assert "--skip-broken" in str(no.value)


def test_a_broken_picture_is_named_and_left_out_where_that_was_asked_for(root: Path) -> None:
    (root / "good" / "00.png").write_bytes(picture(1)[:200])
    data, said = load(root, skip_broken=True)
    assert "1 file broken, left out: good/00.png (got a damaged PNG" in said
    assert sum(map(len, data.parts)) == 39
    assert data.described()["broken_left_out"] == 1


def test_other_files_and_copies_are_named(root: Path) -> None:
    (root / "good" / "notes.txt").write_text("of the second line")
    (root / "labels.csv").write_text("0,1")
    (root / "good" / "99.png").write_bytes((root / "good" / "00.png").read_bytes())
    (root / ".DS_Store").write_bytes(b"x")
    data, said = load(root)
    assert "2 files neither PNG nor JPEG, left out: good/notes.txt; labels.csv" in said
    assert "1 file copies of others, left out: good/99.png (of good/00.png)" in said
    assert sum(map(len, data.parts)) == 40


def test_the_same_picture_in_two_classes_is_refused(root: Path) -> None:
    (root / "good" / "99.png").write_bytes((root / "bad" / "00.png").read_bytes())
    with pytest.raises(BadPictures, match="good/99.png is the same picture as bad/00.png"):
        load(root)


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.png").write_bytes(picture(0))
    with pytest.raises(BadPictures, match="got good; wanted two classes or more"):
        load(tmp_path)


def test_a_class_without_pictures_is_named(root: Path) -> None:
    (root / "worse").mkdir()
    with pytest.raises(BadPictures, match="no PNG or JPEG in worse"):
        load(root)


def test_a_class_with_four_pictures_is_refused(root: Path) -> None:
    for path in sorted((root / "good").glob("*"))[4:]:
        path.unlink()
    with pytest.raises(BadPictures, match="class 'good' has 4 pictures, wanted at least 5"):
        load(root)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadPictures, match="is no folder. Name one with a subfolder of PNG"):
        load(tmp_path / "nothing")


def test_more_than_fits_in_memory_is_refused_before_it_is_read(root: Path) -> None:
    with pytest.raises(BadPictures, match="40 pictures of 9000 x 9000 pixels take 9 GiB"):
        folders.load(root, square(9000, "RGB"), False, Console(file=io.StringIO()))
