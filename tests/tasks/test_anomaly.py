"""The answer of a detector: how rare, a verdict, and which sensors or regions it comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.errors import CorruptModel, TensorMismatch
from service.inference.session import Session
from service.store import StoredModel
from service.tasks.anomaly import AnomalyDetector
from tests.small_detector import normal_pictures, normal_windows, release_detector


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> StoredModel:
    return release_detector(tmp_path_factory.mktemp("home"), "windows")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> StoredModel:
    return release_detector(tmp_path_factory.mktemp("home"), "pictures")


def test_normal_rows_have_even_p_values_and_keep_the_budget(windows: StoredModel) -> None:
    outputs = Session(windows).run({"window": normal_windows(4000, seed=9)})
    answer = AnomalyDetector(windows).answer(outputs)
    assert np.mean(answer["p_value"]) == pytest.approx(0.5, abs=0.05)
    assert answer["p_value"].shape == (4000,)
    alarms = (answer["verdict"] == "anomaly").mean()
    assert 0.5 * 0.02 < alarms < 2 * 0.02
    assert set(answer["budget"].tolist()) == {0.02}
    above = outputs["score"].reshape(-1) > answer["threshold"]
    assert np.array_equal(above, answer["verdict"] == "anomaly")
    assert np.array_equal(above, answer["p_value"] <= answer["budget"])


def test_the_sensor_that_jumps_is_named_first_with_its_share(windows: StoredModel) -> None:
    window = np.zeros((1, 6, 2), np.float32)
    window[0, :, 1] = [0, 0, 0, 6, 0, 0]  # heat: mean 1, errors 1, 1, 1, 25, 1, 1
    window[0, :, 0] = [1, -1, 1, -1, 1, -1]  # pressure: errors of 1
    answer = AnomalyDetector(windows).answer(Session(windows).run({"window": window}))
    assert answer["score"].tolist() == [[3.0]]  # (30 + 6) / 12
    assert answer["contributors"].tolist() == [["heat", "pressure"]]
    assert answer["contributions"] == pytest.approx(np.array([[30 / 36, 6 / 36]]))
    assert answer["verdict"].tolist() == ["anomaly"]
    assert answer["p_value"][0] == 1 / 501


def test_regions_of_a_picture_are_named_by_their_pixels(pictures: StoredModel) -> None:
    picture = np.full((1, 1, 16, 16), 100, np.uint8)
    picture[0, 0, 4:8, 12:16] = 200
    answer = AnomalyDetector(pictures).answer(Session(pictures).run({"image": picture}))
    assert answer["contributors"][0, 0] == "x 12-15, y 4-7"
    # 16 pixels are 93.75 from the mean 106.25, 240 are 6.25.
    wanted = 16 * 93.75**2 / (16 * 93.75**2 + 240 * 6.25**2)
    assert answer["contributions"][0, 0] == pytest.approx(wanted)
    assert answer["contributors"].shape == (1, 5)
    assert (np.diff(answer["contributions"]) <= 0).all()


def test_a_flat_input_has_no_error_and_no_share_of_it(pictures: StoredModel) -> None:
    answer = AnomalyDetector(pictures).answer(
        Session(pictures).run({"image": np.full((1, 1, 16, 16), 7, np.uint8)})
    )
    assert answer["contributions"].tolist() == [[0.0] * 5]
    assert answer["verdict"].tolist() == ["normal"]


@pytest.mark.parametrize("kind", ["windows", "pictures"])
def test_a_row_is_answered_the_same_alone_and_among_others(
    kind: str, request: pytest.FixtureRequest
) -> None:
    model: StoredModel = request.getfixturevalue(kind)
    rows = normal_windows(40, 3) if kind == "windows" else normal_pictures(40, 3)
    name = model.manifest.inputs[0].name
    task, outputs = AnomalyDetector(model), Session(model).run({name: rows})
    together = task.answer(outputs)
    for row in (0, 17, 39):
        # The graph's own last bits may hang on the batch; what is made of them does not.
        alone = task.answer({one: values[row : row + 1] for one, values in outputs.items()})
        for output, values in alone.items():
            assert values.tolist() == together[output][row : row + 1].tolist(), output


def test_a_score_that_is_no_number_is_refused_and_never_normal(windows: StoredModel) -> None:
    outputs = {
        "score": np.array([[0.0], [np.nan]], np.float32),
        "error": np.zeros((2, 6, 2), np.float32),
    }
    with pytest.raises(TensorMismatch, match="row 1: the model finds no number"):
        AnomalyDetector(windows).answer(outputs)
    outputs["score"][1] = np.inf
    assert AnomalyDetector(windows).answer(outputs)["verdict"].tolist() == ["normal", "anomaly"]


def test_calibration_scores_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    stored = release_detector(tmp_path, "windows")
    path = stored.asset("calibration")
    assert path is not None
    few = stored.manifest.calibration
    assert few is not None
    other = stored.manifest.model_copy(
        update={"calibration": few.model_copy(update={"n": few.n + 1})}
    )
    with pytest.raises(CorruptModel, match="got 500 calibration scores, but the manifest says 501"):
        AnomalyDetector(StoredModel(other, stored.folder))
    path.write_bytes(b"nothing")
    with pytest.raises(CorruptModel, match=r"no \.npy file"):
        AnomalyDetector(stored)
