"""Parts on a real disk: only what was asked the same way is gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.bulk.parts import Parts
from service.errors import Conflict, StoreError

ASKED: dict[str, Any] = {"inputs": {"rows": 5}, "parameters": {"seed": 0, "target": None}}


def rows(*numbers: int, error: str | None = None) -> pa.Table:
    count = len(numbers)
    return pa.table(
        {"row": pa.array(numbers, pa.int64()), "error": pa.array([error] * count, pa.string())}
    )


def test_parts_are_joined_in_order_and_are_gone(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    with Parts(out, ASKED, 5) as parts:
        parts.add(rows(3, 1))
    with Parts(out, ASKED, 5) as parts:
        assert parts.done.tolist() == [False, True, False, True, False]
        parts.add(rows(4, 0))
        parts.add(rows(2, error="bad"))
        assert parts.failed == 1
        parts.join()
    assert pq.read_table(out)["row"].to_pylist() == [0, 1, 2, 3, 4]
    assert list(tmp_path.iterdir()) == [out]
    with Parts(out, ASKED, 5) as parts:
        assert (parts.finished, parts.failed, parts.done.all()) == (True, 1, True)


def test_another_question_is_refused_and_told_apart(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    with Parts(out, ASKED, 5) as parts:
        parts.add(rows(0))
    other = {"inputs": {"rows": 5}, "parameters": {"seed": 7, "target": "bad"}}
    words = "seed was 0 and is 7 now; parameters.target was the default and is bad now"
    with pytest.raises(Conflict, match=words), Parts(out, other, 5):
        pass
    with Parts(out, ASKED, 5) as parts:
        parts.add(rows(1, 2, 3, 4))
        parts.join()
    with pytest.raises(Conflict, match=words), Parts(out, other, 5):
        pass
    assert len(pq.read_table(out)) == 5


def test_a_file_of_somebody_else_is_never_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    pq.write_table(pa.table({"row": [1]}), out)
    with pytest.raises(Conflict, match="holds something else"), Parts(out, ASKED, 5):
        pass
    assert pq.read_table(out).to_pylist() == [{"row": 1}]


def test_two_runs_do_not_write_the_same_parts(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    with Parts(out, ASKED, 5) as parts:
        parts.add(rows(0))
        with pytest.raises(Conflict, match="another run is writing"), Parts(out, ASKED, 5):
            pass
        parts.add(rows(1))


def test_a_run_that_did_nothing_leaves_nothing(tmp_path: Path) -> None:
    with Parts(tmp_path / "out.parquet", ASKED, 5):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_kill_left_half_written_is_no_part(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    with Parts(out, ASKED, 5) as parts:
        parts.add(rows(0))
        half = parts.folder / "00000001.parquet.tmp"
        half.write_bytes(b"PAR1")
    with Parts(out, ASKED, 5) as parts:
        assert parts.done.sum() == 1
        assert not half.exists()
        damaged = parts.folder / "00000000.parquet"
        damaged.write_bytes(b"PAR1")
    with pytest.raises(StoreError, match="00000000.parquet: damaged"), Parts(out, ASKED, 5):
        pass
