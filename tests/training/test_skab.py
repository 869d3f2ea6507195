"""SKAB is read as it was published, or refused; its folder stands outside of the repository."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from service.store import ModelStore
from training.data import skab
from training.data.digits import DataMismatch
from training.data.sequences import BadSequences
from training.data.table_files import read_table
from training.options import WrongOption

REAL = Path(__file__).resolve().parents[2].parent / "shared/data/skab"
on_real_data = pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/skab is not there")


@on_real_data
def test_there_are_34_faults_with_the_flaws_that_are_told_of() -> None:
    data = skab.load(REAL)
    assert len(data.runs) == 34
    assert data.free.rows.shape == (9405, 8)
    assert not data.free.anomalous.any()
    tested = np.concatenate([run.tested for run in data.runs])
    assert tested.mean() == pytest.approx(0.537, abs=5e-4)
    assert sum(int(run.anomalous[: skab.LEARNT].sum()) for run in data.runs) == 296
    times = np.concatenate([np.arange(len(run.tested)) for run in data.runs])
    by_the_clock = (times >= 170) & (times < 570)
    caught = (by_the_clock & tested).sum()
    assert 2 * caught / (by_the_clock.sum() + tested.sum()) == pytest.approx(0.929, abs=5e-4)


@on_real_data
def test_another_version_and_half_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongOption, match=r"lacks valve1/0.csv, .* and 32 more, wanted the folder"):
        skab.load(tmp_path)
    shutil.copytree(REAL, tmp_path / "skab")
    one = tmp_path / "skab/valve2/3.csv"
    one.write_text(one.read_text().replace("2020", "2021"))
    with pytest.raises(DataMismatch, match="Check out commit b2c0d46"):
        skab.load(tmp_path / "skab")


def test_what_is_no_number_is_named(tmp_path: Path) -> None:
    file = tmp_path / "0.csv"
    rows = [[*skab.SENSORS, "anomaly"], [*"12345678", "0"], [*"1234567", "n", "0"]]
    file.write_text("\n".join(";".join(row) for row in rows))
    with pytest.raises(BadSequences, match="column 'Volume Flow RateRMS': could not convert"):
        skab._run("valve1/0.csv", read_table(file))
    file.write_text(file.read_text().replace("n;0", "nan;0"))
    with pytest.raises(BadSequences, match="line 3, column 'Volume Flow RateRMS': no finite"):
        skab._run("valve1/0.csv", read_table(file))
    file.write_text(file.read_text().replace("Pressure", "pressure"))
    with pytest.raises(BadSequences, match="no column 'Pressure'"):
        skab._run("valve1/0.csv", read_table(file))


@pytest.mark.slow
@on_real_data
def test_a_detector_of_a_run_is_released_within_a_minute_and_knows_its_fault(
    tmp_path: Path,
) -> None:
    from tests.bench.skab_model import released

    stored = released("valve1/9", ModelStore(tmp_path))
    manifest = stored.manifest
    assert manifest.reference == "skab-valve1-9@1"
    assert manifest.calibration is not None
    assert (manifest.calibration.n, manifest.calibration.budget.rate) == (101, 0.01)
    assert manifest.inputs[0].features is not None
    assert "Temperature" not in manifest.inputs[0].features
    assert manifest.metrics["auroc"] > 0.85
    assert stored.asset("usual") is not None
