"""What detectors learn from: three anomaly-free parts that never touch, and refusals in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from service.manifest import ImageMedia
from service.protocol.media import encode_png
from training.data import digits, good_pictures, power_demand, stream_file
from training.data.digits import DataMismatch
from training.data.one_class import BadNormal, OneClass, of_pictures
from training.data.pictures import BadPictures, square
from training.data.sequences import BadSequences
from training.data.streams import Streams, one_class
from training.options import WrongOption

QUIET = Console(quiet=True)


def bytes_of(rows: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in rows}


def test_one_digit_is_normal_and_only_the_test_part_has_others() -> None:
    pictures = digits.load()
    data = of_pictures(pictures, "3")
    threes = bytes_of(pictures.train.images[pictures.train.labels == 3])
    assert bytes_of(data.train) | bytes_of(data.held) == threes
    assert not bytes_of(data.train) & bytes_of(data.held)
    assert bytes_of(data.calibration) == bytes_of(
        pictures.validation.images[pictures.validation.labels == 3]
    )
    assert data.anomalous.sum() == (pictures.test.labels != 3).sum()
    with pytest.raises(WrongOption, match="--normal: got 'three', wanted one of 0, 1, 2"):
        of_pictures(pictures, "three")


def streams_of(count: int, steps: int, wrong: dict[int, slice] | None = None) -> Streams:
    random = np.random.default_rng(0)
    anomalous = [np.zeros(steps, bool) for _ in range(count)]
    for at, where in (wrong or {}).items():
        anomalous[at][where] = True
    return Streams(
        "pump", "0" * 64, "ours", ("heat", "flow"),
        tuple(random.normal(size=(steps, 2)).astype(np.float32) for _ in range(count)),
        tuple(anomalous), tuple(f"run {at}" for at in range(count)),
    )  # fmt: skip


def where(data: OneClass, streams: Streams, part: str) -> list[tuple[int, int]]:
    """Stream and last step of each window of a part."""
    ends = {
        stream[end - 6 : end].tobytes(): (at, end - 1)
        for at, stream in enumerate(streams.series)
        for end in range(6, len(stream) + 1)
    }
    return [ends[window.tobytes()] for window in getattr(data, part)]


def test_one_stream_is_split_by_time_and_no_window_is_in_two_parts() -> None:
    streams = streams_of(1, 400, {0: slice(300, 340)})
    data = one_class(streams, 6, 1, "refuse")
    spans = {}
    for part in ("train", "held", "calibration"):
        ends = [end for _, end in where(data, streams, part)]
        spans[part] = (min(ends) - 5, max(ends))
    assert spans["train"][0] == 0
    assert spans["train"][1] < spans["held"][0] <= spans["held"][1] < spans["calibration"][0]
    tested = where(data, streams, "test")
    assert data.anomalous.tolist() == [300 <= end < 340 for _, end in tested]
    assert sum(data.anomalous) == 40


def test_many_streams_are_split_whole() -> None:
    streams = streams_of(20, 30, {3: slice(10, 20), 7: slice(0, 30)})
    data = one_class(streams, 6, 1, "refuse")
    owners = {
        part: {at for at, _ in where(data, streams, part)}
        for part in ("train", "held", "calibration", "test")
    }
    assert {3, 7} <= owners["test"]
    assert sum(len(one) for one in owners.values()) == 20
    assert len(set.union(*owners.values())) == 20


def test_a_sensor_that_never_changes_is_named() -> None:
    streams = streams_of(1, 400)
    streams.series[0][:, 1] = 4.2
    with pytest.raises(BadNormal, match=r"'flow' never changes.*Leave it out: --drop flow"):
        one_class(streams, 6, 1, "refuse")


def test_gaps_are_refused_or_filled() -> None:
    streams = streams_of(1, 400)
    streams.series[0][17, 0] = np.nan
    with pytest.raises(BadSequences, match=r"channel 'heat' has a gap at step 17, one of 1"):
        one_class(streams, 6, 1, "refuse")
    filled = one_class(streams, 6, 1, "interpolate")
    assert np.isfinite(filled.train).all()


def test_too_few_windows_say_what_to_do() -> None:
    with pytest.raises(BadNormal, match=r"wanted at least 16.*--window, --stride"):
        one_class(streams_of(1, 40), 6, 2, "refuse")


def test_a_table_is_one_stream_or_several(tmp_path: Path) -> None:
    path = tmp_path / "pump.csv"
    path.write_text(
        "datetime;heat;flow;anomaly\n2026-01-01T00:00:02;3;1;1\n2026-01-01T00:00:01;2;5;0\n"
    )
    streams = stream_file.load(path, label="anomaly", time="datetime")
    assert streams.channels == ("heat", "flow")
    assert streams.series[0].tolist() == [[2, 5], [3, 1]]
    assert streams.anomalous[0].tolist() == [False, True]
    path.write_text("run,heat\na,1\nb,2\na,3\n")
    streams = stream_file.load(path, sequence="run")
    assert [one.ravel().tolist() for one in streams.series] == [[1, 3], [2]]
    assert streams.ids == ("a", "b")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"label": "fault"}, "--label: 'pump.csv' has no column 'fault'. It has heat, odd."),
        ({"label": "odd"}, "line 3, column 'odd': got 'maybe', wanted 0 of a normal step"),
        ({"drop": ("heat", "odd")}, "no channels are left"),
    ],
)
def test_a_table_that_says_nothing_is_refused(
    words: dict[str, str], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "pump.csv"
    path.write_text("heat,odd\n1,0\n2,maybe\n")
    with pytest.raises((WrongOption, BadSequences), match=message.replace(".", r"\.")):
        stream_file.load(path, **words)  # type: ignore[arg-type]


def folder_of(root: Path, counts: dict[str, int]) -> Path:
    random = np.random.default_rng(0)
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for at in range(count):
            picture = random.integers(0, 256, (3, 20, 20), np.uint8)
            (root / name / f"{at}.png").write_bytes(encode_png(picture))
    return root


def media() -> ImageMedia:
    return square(16, "RGB")


def test_a_folder_of_good_pictures_needs_no_bad_ones(tmp_path: Path) -> None:
    data = good_pictures.load(folder_of(tmp_path, {".": 50}), media(), "", False, QUIET)
    assert not data.anomalous.any()
    parts = (data.train, data.held, data.calibration, data.test)
    assert sum(len(part) for part in parts) == 50
    assert len(set.union(*(bytes_of(part) for part in parts))) == 50


def test_bad_pictures_are_tested_on_and_nothing_else(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"good": 50, "scratch": 3, "dent": 2})
    data = good_pictures.load(folder, media(), "", False, QUIET)
    assert data.anomalous.sum() == 5
    wrong = [name for name, bad in zip(data.shown, data.anomalous, strict=True) if bad]
    assert {name.split("/")[0] for name in wrong} == {"scratch", "dent"}


def test_folders_that_say_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadNormal, match="got 12 good pictures, wanted at least 40"):
        good_pictures.load(folder_of(tmp_path / "few", {".": 12}), media(), "", False, QUIET)
    folder = folder_of(tmp_path / "named", {"ok": 1, "bad": 1})
    with pytest.raises(WrongOption, match=r"which subfolder of .* has the good parts\? bad, ok"):
        good_pictures.load(folder, media(), "", False, QUIET)
    with pytest.raises(WrongOption, match="--normal: got 'fine', wanted a subfolder"):
        good_pictures.load(folder, media(), "fine", False, QUIET)
    (folder / "ok" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(BadPictures, match=r"1 file broken: ok/broken\.png"):
        good_pictures.load(folder, media(), "ok", False, QUIET)


def test_the_days_are_those_that_the_checksum_names(monkeypatch: pytest.MonkeyPatch) -> None:
    days = power_demand.load()
    assert len(days.series) == 1096
    assert sum(bool(one.any()) for one in days.anomalous) == 549
    monkeypatch.setattr(power_demand, "SHA256", "0" * 64)
    with pytest.raises(DataMismatch, match="power-demand: got SHA-256"):
        power_demand.load()
