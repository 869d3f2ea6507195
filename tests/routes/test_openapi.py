"""The OpenAPI document says what the server does: its links lead somewhere, its limits hold."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

PNG = {"content-type": "image/png"}
NAMES = {"model": "lenet-digits", "version": "1"}


@pytest.fixture
def document(client: httpx.Client) -> dict[str, Any]:
    """The OpenAPI document that the server serves."""
    served: dict[str, Any] = client.get("/openapi.json").json()
    return served


def operations(document: dict[str, Any]) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Operation id -> method, path and operation."""
    listed = [
        (operation["operationId"], (method, path, operation))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(dict(listed)) == len(listed), "operation ids must be unique"
    return dict(listed)


def value(expression: str, answer: httpx.Response) -> str:
    """What a runtime expression of the form `$response.body#/a/b` points to."""
    found = answer.json()
    for member in expression.removeprefix("$response.body#/").split("/"):
        found = found[member]
    return str(found)


@pytest.mark.parametrize(
    ("operation", "headers", "wanted"),
    [
        ("infer", {}, {"record", "explain_record"}),
        ("infer_version", {}, {"record", "explain_record"}),
        ("explain", {}, {"explanation", "record", "explain_record"}),
        ("explain_version", {}, {"explanation", "record", "explain_record"}),
        ("explain", {"prefer": "respond-async"}, {"job", "cancel_job"}),
    ],
)
def test_every_link_of_an_answer_leads_to_its_operation(
    client: httpx.Client,
    document: dict[str, Any],
    digit_png: bytes,
    operation: str,
    headers: dict[str, str],
    wanted: set[str],
) -> None:
    known = operations(document)
    method, path, described = known[operation]
    answer = client.request(method, path.format(**NAMES), content=digit_png, headers=PNG | headers)
    links = described["responses"][str(answer.status_code)]["links"].values()
    assert {link["operationId"] for link in links} == wanted
    for link in links:
        method, path, _ = known[link["operationId"]]
        ids = {name: value(at, answer) for name, at in link["parameters"].items()}
        followed = client.request(method, path.format(**ids))
        # A job that has ended cannot be cancelled; that is a refusal, not a missing job.
        assert followed.is_success or (link["operationId"], followed.status_code) == (
            "cancel_job",
            409,
        ), followed.text


def test_the_limit_of_samples_in_the_document_is_the_one_that_is_held(
    client: httpx.Client, document: dict[str, Any], digit_png: bytes
) -> None:
    _, path, operation = operations(document)["explain"]
    schema = next(p["schema"] for p in operation["parameters"] if p["name"] == "num_samples")
    limit = next(kind["maximum"] for kind in schema["anyOf"] if kind["type"] == "integer")
    path = path.format(**NAMES)
    params = {"num_samples": limit + 1}
    answer = client.post(path, content=digit_png, headers=PNG, params=params)
    assert answer.status_code == 400
    assert str(limit) in answer.json()["error"]


def test_an_error_has_one_member_in_every_announced_refusal(document: dict[str, Any]) -> None:
    for name, (_, _, operation) in operations(document).items():
        for status in ("4XX", "5XX"):
            schema = operation["responses"][status]["content"]["application/json"]["schema"]
            assert list(schema["properties"]) == schema["required"] == ["error"], name
            assert schema["additionalProperties"] is False, name


def test_a_wrong_method_is_told_every_right_one(
    client: httpx.Client, document: dict[str, Any]
) -> None:
    """`Allow` names the methods of all routes of a path (RFC 9110, 10.2.1), not the first's."""
    several = 0
    for path, methods in document["paths"].items():
        answer = client.request("TRACE", path.format(**NAMES, id="x", name="x", stream="L1.a"))
        assert answer.status_code == 405, path
        allowed = {method.strip().lower() for method in answer.headers["allow"].split(",")}
        assert allowed - {"head"} == set(methods), path
        several += len(methods) > 1
    assert several, "no path has two methods, so nothing is tested here"
