"""Recordings as plants write them: epochs, local time, decimal commas, other names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.backfill.cells import Form
from service.backfill.recording import read
from service.errors import GlasslineError

SENSORS = ("pressure", "heat")
#: 2026-03-01T12:00:00Z
NOON = 1_772_366_400_000_000
VALUES = np.float32([[1.5, -2], [2.5, 1000.25]])


def written(folder: Path, content: str, name: str = "a.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(content.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("content", "form"),
    [
        ("time,pressure,heat\n2026-03-01T12:00:00Z,1.5,-2\n2026-03-01T13:00:01+01:00,2.5,1000.25\n",
         {}),
        ("timestamp,pressure,heat\n1772366400,1.5,-2\n1772366401,2.5,1000.25\n", {}),
        ("Time,pressure,heat\n1772366400.000,1.5,-2\n1772366401.000,2.5,1000.25\n", {}),
        ("time,pressure,heat\n1772366400000,1.5,-2\n1772366401000,2.5,1000.25\n", {}),
        ("time,pressure,heat\n1772366400000000000,1.5,-2\n1772366401000000000,2.5,1000.25\n", {}),
        ("\ufeffDatum;Uhrzeit;pressure;heat\r\n01.03.2026;13:00:00;1,5;-2\r\n"
         "01.03.2026;13:00:01;2,5;1.000,25\r\n",
         {"time": "Datum+Uhrzeit", "zone": "Europe/Berlin"}),
        ("sep=;\ntime;pressure;heat\n2026-03-01 12:00:00;1.5;-2\n2026-03-01 12:00:01;2.5;1000.25\n",
         {}),
        ("when,pressure,heat\n03/01/2026 12:00:00 PM,1.5,-2\n03/01/2026 12:00:01 PM,2.5,1000.25\n",
         {"time": "when", "time_format": "%m/%d/%Y %I:%M:%S %p"}),
        ("\n2026-03-01T12:00:00Z\t1.5\t-2\n\t\t\n2026-03-01T12:00:01Z\t2.5\t1000.25\n\n", {}),
        ("time,Pressure [bar],HEAT (K)\n1772366400,1.5,-2\n1772366401,2.5,1000.25\n", {}),
        ("time|p|q\n1772366400|1.5|-2\n1772366401|2.5|1000.25\n",
         {"columns": {"pressure": "p", "heat": "q"}}),
        ("time,pressure,heat\n1772366401,2.5,1000.25\n1772366400,1.5,-2\n", {}),
    ],
)  # fmt: skip
def test_the_same_two_rows_however_they_are_written(
    tmp_path: Path, content: str, form: dict[str, object]
) -> None:
    found = read(written(tmp_path, content), SENSORS, Form(**form))
    assert found.times == [NOON, NOON + 1_000_000]
    np.testing.assert_array_equal(found.values, VALUES)


def test_what_was_told_from_the_file_is_said(tmp_path: Path) -> None:
    for content, said in (
        ("1772366400,1,2\n", "no header: columns are taken for time, pressure, heat"),
        ("time,Pressure [bar],heat\n1772366400,1,2\n", "'Pressure [bar]' is taken for pressure"),
        ("time,pressure,heat\n1772366401,1,2\n1772366400,1,2\n", "read from the end"),
    ):
        assert said in " ".join(read(written(tmp_path, content), SENSORS).notes)


def test_units_of_columns_label_the_picture(tmp_path: Path) -> None:
    path = written(tmp_path, "time,Pressure [bar],Wärme\n1772366400,1,2\n")
    assert read(path, SENSORS, Form(columns={"heat": "Wärme"})).labels == ("Pressure [bar]", "heat")


def test_unicode_text_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    content = "time\tpressure\theat\n1772366400\t1.5\t-2\n1772366401\t2.5\t1000.25\n"
    found = read(written(tmp_path, content, "a.txt", "utf-16"), SENSORS)
    np.testing.assert_array_equal(found.values, VALUES)


def test_the_hour_that_a_clock_goes_through_twice(tmp_path: Path) -> None:
    """In Berlin 2026-10-25 02:59:59 is followed by 02:00:00, an hour later than the first one."""
    times = ["01:59:59", "02:00:00", "02:59:59", "02:00:00", "02:59:59", "03:00:00"]
    content = "time,pressure,heat\n" + "".join(f"2026-10-25 {time},1,2\n" for time in times)
    found = read(written(tmp_path, content), SENSORS, Form(zone="Europe/Berlin"))
    steps = np.diff(found.times) // 1_000_000
    assert steps.tolist() == [1, 3599, 1, 3599, 1]


def test_words_for_nothing_and_known_faults(tmp_path: Path) -> None:
    content = "time,pressure,heat,fault\n1772366400,Bad Input,,0\n1772366401,n/a,2,1\n"
    found = read(written(tmp_path, content), SENSORS, Form(missing=("bad input",), truth="fault"))
    np.testing.assert_array_equal(found.values, np.float32([[np.nan, np.nan], [np.nan, 2]]))
    assert found.truth is not None
    assert found.truth.tolist() == [False, True]


@pytest.mark.parametrize(
    ("content", "form", "said"),
    [
        ("time,pressure,heat\n1772366400,1,5,2\n", {}, "line 2: 4 cells, a comma between them"),
        ("time,pressure,heat,heat\n1772366400,1,5,2\n", {}, "columns stand twice: heat"),
        ("time,pressure,heat\n1772366400,inf,2\n", {}, "line 2: pressure: got 'inf'"),
        ("time,pressure,heat\n1772366400,1_0,2\n", {}, "got '1_0', wanted a number"),
        ("time,pressure,heat\n43899.5,1,2\n", {}, "got '43899.5'"),
        ("time,pressure,heat\n03/01/2026,1,2\n", {}, "--time-format"),
        ("time,p,heat\n1772366400,1,2\n", {}, "--column 'pressure="),
        ("time,p [a],heat\n1772366400,1,2\n", {"columns": {"pressure": "p"}}, "no column p;"),
        ("1772366400,1,2,3\n", {}, "no header"),
        ("1772366400,1,2\n", {"time": "t"}, "no columns by name"),
        ("time,pressure,heat\n1772366400,1,2\n", {"zone": "Mars/X"}, "Europe/Berlin"),
        ("time,pressure,heat\n1772366400,1,2\n", {"decimal": "x"}, "--decimal"),
        ("time,pressure,heat\n1772366400,1,2\n", {"truth": "fault"}, "no column fault"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line_and_the_remedy(
    tmp_path: Path, content: str, form: dict[str, object], said: str
) -> None:
    with pytest.raises(GlasslineError) as caught:
        read(written(tmp_path, content), SENSORS, Form(**form))
    assert said in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(GlasslineError, match="UTF-8"):
        read(written(tmp_path, "Zeit;größe\n1;2\n", encoding="cp1252"), SENSORS)
