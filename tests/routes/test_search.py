"""Records are found by what they say, in pages that stay while others write, and as files."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet
import pytest

from tests.running_server import Server, a_server, glassline
from tests.small_models import release_small_models

TABLE = {"content-type": "text/csv"}
#: (width, height): sigmoid(width - 2 height) is the probability of "good".
GOOD, BAD = b"5.0,1.0\n", b"1.0,3.0\n"


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on which 40 parts were seen, 10 of them bad, 20 thicknesses, and two reviews."""
    home = tmp_path_factory.mktemp("searched")
    release_small_models(home)
    with a_server(home) as running:
        with running.client() as http:
            bad = [predicted(http, "parts", BAD if n % 4 == 0 else GOOD) for n in range(40)][0]
            for _ in range(20):
                predicted(http, "thickness", GOOD)
            said = {
                "person": "Ada Lovelace",
                "meaning": "reviewed",
                "comment": "a shadow, no scratch",
            }
            for more in ({"kind": "review"}, {"kind": "override", "decision": "good"}):
                answer = http.post(f"/audit/records/{bad}/reviews", json={**said, **more})
                assert answer.status_code == 201, answer.text
        yield running


@pytest.fixture
def http(searched: Server) -> Iterator[httpx.Client]:
    with searched.client() as client:
        yield client


def predicted(http: httpx.Client, model: str, row: bytes) -> str:
    answer = http.post(f"/v2/models/{model}/infer", content=row, headers=TABLE)
    assert answer.status_code == 200, answer.text
    return answer.headers["glassline-record-id"]


def found(http: httpx.Client, **filters: Any) -> list[dict[str, Any]]:
    """All pages of a search, of 7 records each."""
    records: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    for _ in range(1000):
        answer = http.get("/audit/records", params={"limit": 7, **filters, **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        records += page["records"]
        if page["next"] is None:
            return records
        assert len(page["records"]) == 7
        cursor = {"cursor": page["next"]}
    raise AssertionError("pages without end")


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"model": "parts", "kind": "prediction"}, 40),
        ({"model": "parts", "version": "1", "decision": "bad"}, 10),
        ({"model": "parts", "version": "2"}, 0),
        ({"model": "parts", "decision": "good", "kind": "prediction"}, 30),
        # sigmoid(1 - 6) and sigmoid(5 - 2): of the class that was decided, 0.9933 and 0.9526
        ({"model": "parts", "score_min": 0.99, "kind": "prediction"}, 10),
        ({"model": "parts", "score_max": 0.99, "kind": "prediction"}, 30),
        ({"model": "thickness", "score_min": 3, "score_max": 3}, 20),
        ({"caller": "127.0.0.1", "kind": "prediction"}, 60),
        ({"caller": "somebody"}, 0),
        ({"kind": "model-load", "model": "parts"}, 1),
        ({"review": "override", "kind": "prediction"}, 1),
        ({"review": "review"}, 1),
        ({"review": "correction"}, 0),
        ({"review": "none", "model": "parts", "kind": "prediction"}, 39),
        ({"kind": "override", "decision": "good"}, 1),
    ],
)
def test_records_are_found_by_each_filter(
    http: httpx.Client, filters: dict[str, Any], count: int
) -> None:
    for order in ("newest", "oldest"):
        records = found(http, order=order, **filters)
        if filters.get("kind") == "model-load":
            # the explaining process loads each model as well, when it is first asked
            assert len(records) >= count
        else:
            assert len(records) == count
        order_found = [record["sequence"] for record in records]
        assert order_found == sorted(order_found, reverse=order == "newest")
        assert len({record["id"] for record in records}) == len(records)


def test_records_are_found_by_time_to_the_microsecond(http: httpx.Client) -> None:
    records = found(http, model="thickness", kind="prediction", order="oldest")
    fifth, tenth = records[4]["created_at"], records[9]["created_at"]
    between = found(http, model="thickness", since=fifth, until=tenth, order="oldest")
    assert [one["id"] for one in between] == [one["id"] for one in records[4:9]]
    zoned = datetime.fromisoformat(fifth).astimezone(UTC).isoformat().replace("+00:00", "+01:00")
    hour_before = found(http, model="thickness", since=zoned, kind="prediction")
    assert len(hour_before) == 20


def test_what_somebody_put_beside_a_record_is_told_with_it(http: httpx.Client) -> None:
    (record,) = found(http, review="override", kind="prediction")
    assert (record["decision"], record["review"]) == ("bad", "override")
    beside = http.get(f"/audit/records/{record['id']}").json()["beside"]
    assert [one["kind"] for one in beside] == ["review", "override"]
    assert found(http, about=record["id"], order="oldest") != []


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_pages_stay_while_others_write(http: httpx.Client, searched: Server, order: str) -> None:
    """Every record that was there when the search began comes once, whatever is written."""
    over = threading.Event()
    written: list[str] = []

    def write() -> None:
        with searched.client() as other:
            while not over.is_set():
                written.append(predicted(other, "parts", GOOD))

    before = [one["id"] for one in found(http, kind="prediction", order=order)]
    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen: list[str] = []
        cursor: dict[str, str] = {}
        while not set(before) <= set(seen):
            asked = {"limit": 9, "kind": "prediction", "order": order, **cursor}
            page = http.get("/audit/records", params=asked).json()
            seen += [one["id"] for one in page["records"]]
            cursor = {"cursor": page["next"]}
            now = len(written)
            while writer.is_alive() and len(written) == now:
                time.sleep(0.002)
    finally:
        over.set()
        writer.join()
    assert len(written) >= 6, "nobody wrote meanwhile, so nothing is tested here"
    assert len(set(seen)) == len(seen)
    # In the order of writing, with nothing passed over and nothing that came in between.
    if order == "newest":
        start = seen.index(before[0])
        assert seen[start:] == before
    else:
        assert seen[: len(before)] == before


def test_a_search_is_had_as_csv_and_parquet(http: httpx.Client) -> None:
    listed = found(http, model="thickness", kind="prediction")
    asked = {"model": "thickness", "kind": "prediction"}
    by_format = http.get("/audit/records", params={**asked, "format": "csv"})
    by_accept = http.get("/audit/records", params=asked, headers={"accept": "text/csv"})
    assert by_format.headers["content-type"].startswith("text/csv")
    assert by_format.content == by_accept.content
    table = list(csv.DictReader(io.StringIO(by_format.text)))
    assert [row["id"] for row in table] == [one["id"] for one in listed]
    assert {row["score"] for row in table} == {"3.0"}
    columnar = http.get("/audit/records", params={**asked, "format": "parquet"})
    assert columnar.headers["content-type"] == "application/vnd.apache.parquet"
    rows = pyarrow.parquet.read_table(io.BytesIO(columnar.content)).to_pylist()
    assert [row["id"] for row in rows] == [one["id"] for one in listed]
    assert rows[0]["created_at"] == datetime.fromisoformat(listed[0]["created_at"])
    assert rows[0]["score"] == 3.0
    assert rows[0]["decision"] is None


def test_an_empty_search_is_an_empty_table(http: httpx.Client) -> None:
    asked = {"model": "none"}
    assert http.get("/audit/records", params=asked).json() == {"records": [], "next": None}
    text = http.get("/audit/records", params={**asked, "format": "csv"}).text
    assert text.startswith("sequence,id,kind,created_at,")
    assert text.count("\r\n") == 1
    columnar = http.get("/audit/records", params={**asked, "format": "parquet"}).content
    assert pyarrow.parquet.read_table(io.BytesIO(columnar)).num_rows == 0


def test_a_request_id_is_no_formula_in_a_spreadsheet(http: httpx.Client) -> None:
    headers = {**TABLE, "x-request-id": "=cmd|'/c'!A1"}
    http.post("/v2/models/parts/infer", content=GOOD, headers=headers)
    asked = {"request_id": "=cmd|'/c'!A1", "format": "csv"}
    (row,) = csv.DictReader(io.StringIO(http.get("/audit/records", params=asked).text))
    assert row["request_id"] == "'=cmd|'/c'!A1"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("limit=0", "limit: got '0', wanted 1 to 1000"),
        ("limit=1001", "wanted 1 to 1000"),
        ("limit=many", "valid integer"),
        ("since=yesterday", "valid datetime"),
        ("since=2026-03-01T08:00:00", "a time with its zone"),
        ("since=9999-12-31T23:59:59-14:00", "between the years 1 and 9999"),
        ("until=0001-01-01T00:00:00%2B14:00", "between the years 1 and 9999"),
        ("score_min=high", "valid number"),
        ("score_min=nan", "a finite number"),
        ("score_max=inf", "a finite number"),
        ("kind=predictions", "kind: got 'predictions', wanted prediction, explanation"),
        ("review=maybe", "review: got 'maybe', wanted none, review"),
        ("order=best", "'newest' or 'oldest'"),
        ("model=a%00b", "at most 256 printable characters"),
        (f"caller={'x' * 300}", "at most 256 characters"),
        ("modle=parts", "got 'modle', which is no filter"),
        ("kind=read&kind=replay", "a filter stands there twice"),
        ("cursor=nonsense", "the `next` of a page before, unchanged"),
        ("cursor=W10", "the `next` of a page before, unchanged"),
        ("cursor=%FF", "the `next` of a page before, unchanged"),
        ("format=xml", "'json', 'csv' or 'parquet'"),
        ("format=csv&limit=3", "a file holds all that is found"),
    ],
)
def test_what_cannot_be_searched_for_is_refused(http: httpx.Client, query: str, said: str) -> None:
    answer = http.get(f"/audit/records?{query}")
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["error"]


def test_a_cursor_serves_the_search_that_it_came_from(http: httpx.Client) -> None:
    cursor = http.get("/audit/records", params={"limit": 3}).json()["next"]
    other = http.get("/audit/records", params={"model": "parts", "cursor": cursor})
    assert (other.status_code, "with other filters" in other.text) == (400, True)
    none = http.get("/audit/records", headers={"accept": "image/png"})
    assert none.status_code == 406


@pytest.mark.slow
def test_without_pyarrow_parquet_is_refused_in_words(tmp_path: Path) -> None:
    """A server whose Python has no pyarrow: a module of that name that cannot be imported."""
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent/pyarrow.py").write_text("raise ImportError('not here')")
    (home := tmp_path / "home").mkdir()
    release_small_models(home)
    path = f"{tmp_path / 'absent'}:{Path(__file__).parents[2]}"
    with a_server(home, PYTHONPATH=path) as running, running.client() as http:
        answer = http.get("/audit/records", params={"format": "parquet"})
        assert answer.status_code == 406
        assert "pip install 'glassline[batch]'" in answer.json()["error"]
        assert http.get("/audit/records", params={"format": "csv"}).status_code == 200


def test_the_command_line_searches_and_exports(searched: Server, tmp_path: Path) -> None:
    def audit(*arguments: str) -> tuple[int, str]:
        done = glassline("audit", *arguments, "--url", searched.url, home=tmp_path)
        return done.returncode, done.stdout + done.stderr

    asked = ("search", "--model", "parts", "--decision", "bad", "--kind", "prediction")
    status, said = audit(*asked, "--limit", "4")
    assert status == 0, said
    assert said.count("prediction") == 4
    assert "more" in said
    shown = said
    status, said = audit(*asked, "--json")
    found = json.loads(said)
    assert [one["decision"] for one in found] == ["bad"] * 10
    for one in found[:4]:  # in a pipe nothing is cut off
        assert one["id"] in shown
        assert one["created_at"] in shown
    for name in ("records.csv", "records.parquet"):
        status, said = audit(*asked, "--out", str(tmp_path / name))
        assert status == 0, said
    table = list(csv.DictReader((tmp_path / "records.csv").read_text().splitlines()))
    columnar = pyarrow.parquet.read_table(tmp_path / "records.parquet").to_pylist()
    assert [row["id"] for row in table] == [row["id"] for row in columnar]
    assert len(table) == 10
    status, said = audit(*asked, "--out", str(tmp_path / "records.xlsx"))
    assert (status, "wanted a name that ends in .csv or .parquet" in said) == (1, True)
    status, said = audit("search", "--since", "yesterday")
    assert (status, "since" in said) == (1, True)
    assert not list(tmp_path.glob("*.part"))
