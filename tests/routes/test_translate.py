"""Texts translated by a running server: asked, recorded, replayed, explained, refused."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from PIL import Image

from service.store import ModelStore
from tests.running_server import Server, a_server
from tests.small_translator import SOURCES, TARGETS, release_small_translator

INFER, TEXT = "/v2/models/small/infer", {"content-type": "text/plain"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("translator")
    release_small_translator(home)
    with a_server(home) as running:
        yield running


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def body(*texts: str, outputs: tuple[str, ...] = (), **asked: Any) -> dict[str, Any]:
    tensor = {"name": "source", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts)}
    content: dict[str, Any] = {"inputs": [tensor], "parameters": asked}
    if outputs:
        content["outputs"] = [{"name": name} for name in outputs]
    return content


def arrays(answer: httpx.Response) -> dict[str, np.ndarray[Any, Any]]:
    assert answer.status_code == 200, answer.text
    return {
        one["name"]: np.array(one["data"], object if one["datatype"] == "BYTES" else None).reshape(
            one["shape"]
        )
        for one in answer.json()["outputs"]
    }


def test_texts_of_any_length_are_translated_together(http: httpx.Client) -> None:
    got = arrays(http.post(INFER, json=body(*SOURCES)))
    assert got["text"].tolist() == [[target] for target in TARGETS]
    assert set(got) == {"text", "score", "tokens", "token_numbers", "source_tokens"}
    assert (got["score"] < 0).all()
    for row, text in enumerate(TARGETS):
        tokens = [token for token in got["tokens"][row, 0] if token]
        assert tokens[-1] == "</s>"
        assert "".join(tokens[:-1]).replace("\u2581", " ").strip() == text


def test_a_bare_text_is_translated(http: httpx.Client) -> None:
    answer = http.post(INFER, content=b"the red fox", headers=TEXT, params={"beam_width": 1})
    assert arrays(answer)["text"].tolist() == [["der rote fuchs"]]


def test_more_than_one_translation_is_to_be_had(http: httpx.Client) -> None:
    got = arrays(http.post(INFER, json=body("the red fox", n_best=4, beam_width=6)))
    assert got["text"].shape == (1, 4)
    assert len(set(got["text"][0])) == 4
    assert sorted(got["score"][0], reverse=True) == got["score"][0].tolist()


def test_length_and_its_penalty_are_heeded(http: httpx.Client) -> None:
    cut = arrays(http.post(INFER, json=body("the red fox", max_length=2)))
    assert cut["tokens"].shape == (1, 1, 2)
    assert "</s>" not in cut["tokens"]
    scores = {
        alpha: float(
            arrays(http.post(INFER, json=body("the fox", length_penalty=alpha)))["score"][0, 0]
        )
        for alpha in (0.0, 1.0)
    }
    got = arrays(http.post(INFER, json=body("the fox", length_penalty=0.0)))
    tokens = int((got["tokens"][0, 0] != "").sum())
    assert scores[0.0] / scores[1.0] == pytest.approx((5 + tokens) / 6, rel=1e-5)


def test_attention_comes_when_it_is_asked_for(http: httpx.Client) -> None:
    both = body("the red fox", "dog", outputs=("attention", "tokens", "source_tokens"))
    got = arrays(http.post(INFER, json=both))
    for row in range(2):
        written = int((got["tokens"][row, 0] != "").sum())
        source = int((got["source_tokens"][row] != "").sum())
        weights = got["attention"][row, 0].astype(float)
        assert weights[:written, :source].sum(axis=1) == pytest.approx(1, abs=1e-5)
        assert weights[written:].sum() == weights[:, source:].sum() == 0
    told = arrays(http.post(INFER, json=body("the red fox", attention=True)))
    # The last bits hang on who else is in the batch.
    alone, together = told["attention"][0, 0], got["attention"][0, 0]
    assert alone.astype(float) == pytest.approx(together.astype(float), abs=1e-5)


def test_attention_is_drawn_for_who_accepts_a_picture(http: httpx.Client) -> None:
    headers = {**TEXT, "accept": "image/png, application/json;q=0.5"}
    answer = http.post(INFER, content=b"the red fox", headers=headers)
    assert answer.headers["content-type"] == "image/png"
    picture = Image.open(io.BytesIO(answer.content))
    assert min(picture.size) > 150
    assert len(picture.getcolors(1 << 20) or ()) > 20
    record = http.get(f"/audit/records/{answer.headers['glassline-record-id']}").json()
    assert "der rote fuchs" in orjson.dumps(record).decode()
    either = http.post(INFER, content=b"the red fox", headers={**TEXT, "accept": "*/*"})
    assert either.headers["content-type"] == "application/json"


def test_binary_texts_are_taken(http: httpx.Client) -> None:
    text = b"the red fox"
    raw = struct.pack("<I", len(text)) + text
    tensor = {"name": "source", "datatype": "BYTES", "shape": [1],
              "parameters": {"binary_data_size": len(raw)}}  # fmt: skip
    head = orjson.dumps({"inputs": [tensor]})
    headers = {"inference-header-content-length": str(len(head))}
    answer = http.post(INFER, content=head + raw, headers=headers)
    assert arrays(answer)["text"].tolist() == [["der rote fuchs"]]


def test_kserves_v1_translates(http: httpx.Client) -> None:
    answer = http.post("/v1/models/small:predict", json={"instances": ["the red fox"]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"][0]["text"] == "der rote fuchs"


@pytest.mark.parametrize("asked", [{}, {"beam_width": 1}, {"n_best": 3, "attention": True}])
def test_a_translation_is_recorded_and_replayed_bit_for_bit(
    http: httpx.Client, asked: dict[str, Any]
) -> None:
    answer = http.post(INFER, json=body("the red fox", "a dog runs", "dog", **asked))
    record_id = answer.json()["parameters"]["record_id"]
    record = http.get(f"/audit/records/{record_id}").json()
    said = record.get("record", record)
    assert said["decision"]["labels"][:2] == ["der rote fuchs", "ein hund rennt"]
    # Requests in between do not matter: a translation's batch is its own.
    http.post(INFER, json=body("blue dog"))
    replay = http.post(f"/audit/records/{record_id}/replay")
    assert replay.status_code == 200, replay.text
    assert replay.json()["verdict"] == "bit-exact"


def test_a_translation_is_explained_by_its_words_and_its_attention(http: httpx.Client) -> None:
    url = "/v2/models/small/explain"
    asked = {"num_samples": 60, "beam_width": 3}
    answer = http.post(url, content=b"the red fox", headers=TEXT, params=asked)
    assert answer.status_code == 200, answer.text
    told = answer.json()["explanation"]
    first = told["explanations"][0]
    assert first["name"] == "der rote fuchs"
    assert first["score"] < 0, "what is explained is the score of this translation"
    assert {one["name"] for one in told["features"]} == {"the", "red", "fox"}
    evidence = told["evidence"][0]
    assert (evidence["kind"], evidence["output"]) == ("attention", "attention")
    assert evidence["rows"][-1] == evidence["columns"][-1] == "</s>"
    assert evidence["shape"] == [len(evidence["rows"]), len(evidence["columns"])]
    path = answer.json()["links"]["explanation"]
    assert http.get(path, headers={"accept": "image/png"}).content[:4] == b"\x89PNG"
    page = http.get(path, headers={"accept": "text/html"}).text
    assert "output \u201cattention\u201d of the model itself" in page
    replay = http.post(f"/audit/records/{answer.json()['explanation_id']}/replay")
    assert replay.json()["verdict"] == "bit-exact", replay.text


def test_a_past_translation_is_explained_as_it_was_asked_for(http: httpx.Client) -> None:
    answer = http.post(INFER, json=body("the fox", length_penalty=0.0, beam_width=1))
    record_id = answer.json()["parameters"]["record_id"]
    told = http.post(f"/v2/records/{record_id}/explain", params={"num_samples": 40}).json()
    score = told["explanation"]["explanations"][0]["score"]
    assert score == pytest.approx(float(arrays(answer)["score"][0, 0]), abs=1e-6)


@pytest.mark.parametrize(
    ("content", "headers", "params", "status", "message"),
    [
        (b"", TEXT, {}, 400, "got no text"),
        (b"   ", TEXT, {}, 400, "row 0: got an empty text"),
        (b"fox " * 40, TEXT, {}, 400, "tokens, wanted at most 23"),
        (b"\xff\xfe\xfa", TEXT, {}, 400, "byte 0 is no utf-8"),
        (b"fox", TEXT, {"beam_width": "0"}, 400, "beam_width"),
        (b"fox", TEXT, {"beam_width": "33"}, 400, "less than or equal to 32"),
        (b"fox", TEXT, {"beam_width": "wide"}, 400, "got 'wide'"),
        (b"fox", TEXT, {"max_length": "25"}, 400, "wanted 1 to 24"),
        (b"fox", TEXT, {"n_best": "9"}, 400, "a beam of 5"),
        (b"fox", TEXT, {"beams": "5"}, 400, "got beams, wanted some of beam_width"),
        (orjson.dumps(body("fox", temperature=1)), {}, {}, 400, "got temperature"),
        (orjson.dumps(body("fox", "")), {}, {}, 400, "row 1: got an empty text"),
        (orjson.dumps(body("fox", length_penalty=9)), {}, {}, 400, "length_penalty"),
        (orjson.dumps(body("fox", outputs=("words",))), {}, {}, 400, "attention"),
    ],
)
def test_bad_input_is_refused_with_a_reason(
    http: httpx.Client,
    content: bytes,
    headers: dict[str, str],
    params: dict[str, str],
    status: int,
    message: str,
) -> None:
    answer = http.post(INFER, content=content, headers=headers, params=params)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    assert message in answer.json()["error"]


def test_what_is_asked_of_an_explanation_is_checked_too(http: httpx.Client) -> None:
    url = "/v2/models/small/explain"
    for params, message in (
        ({"output": "text"}, "its 'score' is explained"),
        ({"beams": "5"}, "beams"),
        ({"beam_width": "0"}, "beam_width"),
    ):
        answer = http.post(url, content=b"the fox", headers=TEXT, params=params)
        assert answer.status_code == 400, answer.text
        assert message in answer.json()["error"]


def test_metadata_says_what_goes_in_and_comes_out(http: httpx.Client, server: Server) -> None:
    told = http.get("/v2/models/small").json()
    assert told["parameters"]["task"] == "translate"
    assert told["parameters"]["media"]["longest"] == 23
    assert [one["name"] for one in told["inputs"]] == ["source"]
    manifest = ModelStore(server.home).get("small").manifest
    assert set(manifest.graphs) == {"encode", "step"}
