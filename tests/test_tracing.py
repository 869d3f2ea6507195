"""Traces: a real collector is told by a running server what each request was, and cost."""

from __future__ import annotations

import gzip
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service import tracing
from service.errors import Unavailable
from service.routes.headers import trace_id
from service.spans import Tracer
from tests.collector import Collector, collector
from tests.running_server import REPOSITORY, Server, a_server, start_server
from tests.small_models import release_small_models

PARTS = "/v2/models/parts/infer"
CSV = {"content-type": "text/csv"}
SERVER, OK, FAILED = 2, 0, 2  # of opentelemetry.proto.trace.v1: SPAN_KIND_*, STATUS_CODE_*
PARENT = "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def traces() -> Iterator[Collector]:
    with collector() as running:
        yield running


@pytest.fixture(scope="module")
def traced(
    home: Path, traces: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("traced") / "home"
    shutil.copytree(home / "bentoml", folder / "bentoml")
    release_small_models(folder)
    with a_server(
        folder, OTEL_EXPORTER_OTLP_ENDPOINT=traces.url, OTEL_BSP_SCHEDULE_DELAY="100"
    ) as running:
        yield running


@pytest.fixture
def http(traced: Server) -> Iterator[httpx.Client]:
    with traced.client() as client:
        yield client


def asked(flags: str = "01") -> tuple[str, dict[str, str]]:
    """A trace that a caller has begun: its id, and the header that says so."""
    trace = secrets.token_hex(16)
    return trace, {"traceparent": f"00-{trace}-{PARENT}-{flags}"}


@pytest.mark.parametrize("compressed", [False, True], ids=["fast lane", "application"])
def test_a_prediction_is_a_span_of_the_callers_trace(
    http: httpx.Client, traces: Collector, compressed: bool
) -> None:
    trace, header = asked()
    body = b"3,1\n4,1\n"
    if compressed:  # what is rare goes over the ASGI application
        body, header = gzip.compress(body), header | {"content-encoding": "gzip"}
    answer = http.post(PARTS, content=body, headers=CSV | header)
    assert answer.status_code == 200
    spans = traces.of(trace, 4)
    request = spans["POST /v2/models/{model}/infer"]
    assert (request.service, request.kind, request.parent_id) == ("glassline", SERVER, PARENT)
    assert answer.headers["traceresponse"][:-1] == f"00-{trace}-{request.span_id}-0"
    assert "traceparent" not in answer.headers
    said = request.attributes
    assert request.status == OK
    assert "error.type" not in said
    expected = {
        "http.request.method": "POST",
        "http.route": "/v2/models/{model}/infer",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "url.path": PARTS,
        "server.address": "127.0.0.1",
        "server.port": http.base_url.port,
        "client.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "glassline.model.name": "parts",
        "glassline.model.version": "1",
        "glassline.rows": 2,
    }
    assert expected.items() <= said.items()
    stages = [spans[name] for name in ("decode", "infer", "encode")]
    assert spans["infer"].attributes == {"glassline.batch.rows": 2}
    assert {stage.parent_id for stage in stages} == {request.span_id}
    times = [request.begin, *(t for stage in stages for t in (stage.begin, stage.end)), request.end]
    assert times == sorted(times)
    record = http.get(f"/audit/records/{answer.headers['glassline-record-id']}").text
    assert trace in record


def test_a_request_without_a_trace_begins_one_and_its_record_names_it(
    http: httpx.Client, traces: Collector
) -> None:
    answers = [
        http.post(PARTS, content="3,1\n", headers=CSV | more)
        for more in ({}, {"traceparent": f"00-{'0' * 32}-{PARENT}-01"}, {"traceparent": "rubbish"})
    ]
    for answer in answers:
        _, trace, span, flags = answer.headers["traceresponse"].split("-")
        request = traces.of(trace, 4)["POST /v2/models/{model}/infer"]
        assert (request.parent_id, request.span_id, int(flags, 16) & 1) == ("", span, 1)
        assert trace in http.get(f"/audit/records/{answer.headers['glassline-record-id']}").text
    assert len({answer.headers["traceresponse"] for answer in answers}) == 3


def test_waiting_for_a_slow_graph_is_a_stage(http: httpx.Client, traces: Collector) -> None:
    trace, header = asked()
    rows = "3,1\n" * 1024
    assert http.post(PARTS, content=rows, headers=CSV | header).status_code == 200
    spans = traces.of(trace, 5)
    assert spans["decode"].end <= spans["queue"].begin
    assert spans["queue"].end == spans["infer"].begin
    assert spans["infer"].attributes == {"glassline.batch.rows": 1024}
    assert spans["POST /v2/models/{model}/infer"].attributes["glassline.rows"] == 1024


def test_a_caller_that_does_not_sample_is_not_traced(http: httpx.Client, traces: Collector) -> None:
    trace, header = asked(flags="00")
    answer = http.post(PARTS, content="3,1\n", headers=CSV | header)
    assert answer.headers["traceresponse"].startswith(f"00-{trace}-")
    assert answer.headers["traceresponse"].endswith("-00")
    later, header = asked()
    http.post(PARTS, content="3,1\n", headers=CSV | header)
    traces.of(later, 4)
    traces.of(trace, 0)


@pytest.mark.parametrize(
    ("path", "body", "status", "route", "error"),
    [
        (PARTS, "3,x\n", 400, "/v2/models/{model}/infer", "TensorMismatch"),
        ("/v2/models/nobody/infer", "3,1\n", 404, "/v2/models/{model}/infer", "UnknownModel"),
        ("/v1/models/parts:predict", "", 400, "/v1/models/{model}:predict", "MalformedBody"),
        ("/v2/records/x/explain", "", 404, "/v2/records/{id}/explain", "UnknownRecord"),
    ],
)
def test_a_refusal_says_why_and_is_no_failure_of_ours(
    http: httpx.Client, traces: Collector, path: str, body: str, status: int, route: str, error: str
) -> None:
    trace, header = asked()
    answer = http.post(path, content=body, headers=CSV | header)
    assert answer.status_code == status
    span_id = answer.headers["traceresponse"].split("-")[2]
    deadline = time.monotonic() + 10
    while not (found := [span for span in traces.spans if span.span_id == span_id]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (request,) = found
    assert (request.name, request.status) == (f"POST {route}", OK)
    assert request.attributes["http.response.status_code"] == status
    assert request.attributes["error.type"] == error
    assert request.trace_id == trace


def test_an_explanation_goes_on_in_the_explaining_process(
    http: httpx.Client, traces: Collector, digit_png: bytes
) -> None:
    trace, header = asked()
    answer = http.post(
        "/v2/models/lenet-digits/explain",
        content=digit_png,
        headers={"content-type": "image/png"} | header,
        params={"num_samples": 50},
    )
    assert answer.status_code == 200, answer.text
    spans = traces.of(trace, 4)
    request, work = spans["POST /v2/models/{model}/explain"], spans["explain"]
    assert (work.service, work.parent_id) == ("glassline-explainer", request.span_id)
    assert request.begin < work.begin < work.end < request.end
    assert work.attributes["glassline.model.name"] == "lenet-digits"
    assert work.attributes["glassline.explanation.id"] == answer.json()["explanation_id"]


def test_operations_are_not_traced(http: httpx.Client) -> None:
    for path in ("/livez", "/metrics", "/v2/models/parts"):
        answer = http.get(path, headers=asked()[1])
        assert answer.status_code == 200
        assert "traceresponse" not in answer.headers


@pytest.mark.slow
def test_a_silent_collector_delays_no_answer_and_no_end(tmp_path: Path) -> None:
    release_small_models(tmp_path)
    with collector() as gone:
        url = gone.url
    running = start_server(tmp_path, tmp_path / "log", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=url)
    with httpx.Client(base_url=running.url, trust_env=False) as client:
        for _ in range(20):
            assert client.post(PARTS, content="3,1\n", headers=CSV).status_code == 200
    begun = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - begun < 10


def test_without_the_extra_a_named_collector_is_a_reason_not_to_start(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['opentelemetry.exporter.otlp.proto.http'] = None; "
        "from service.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "serve"],
        env={**os.environ, "GLASSLINE_HOME": str(tmp_path), "COLUMNS": "400",
             "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"},
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "pip install 'glassline[otel]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("environment", "outcome"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "zipkin"}, "zipkin"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
         "http/protobuf"),
    ],
)  # fmt: skip
def test_opentelemetrys_own_variables_say_whether_and_how(
    environment: dict[str, str], outcome: bool | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if isinstance(outcome, bool):
        assert tracing.check() is outcome
    else:
        with pytest.raises(Unavailable, match=outcome):
            tracing.check()


def test_where_tracing_is_off_the_hooks_are_not_there() -> None:
    assert tracing.tracer is None
    assert tracing.current() is None
    assert tracing.carrier() == {}
    observe = [].append
    assert tracing.stage("decode", observe) is observe
    assert tracing.rows(observe) is observe


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"00-{TRACE}-{PARENT}-01", TRACE),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-brings", TRACE),
        (f"00-{TRACE}-{PARENT}-01-more", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{PARENT}-01", None),
        (f"00-{TRACE}-{PARENT}", None),
        ("x" * 32, None),
    ],
)
def test_which_headers_name_a_trace(header: str, found: str | None) -> None:
    assert trace_id({b"traceparent": header.encode()}) == found


@pytest.mark.parametrize(
    ("status", "outcome", "error"), [(500, FAILED, "500"), (503, FAILED, "Unavailable"),
                                     (499, OK, "ClientGone"), (404, OK, "404")]
)  # fmt: skip
def test_only_what_is_our_fault_fails_a_span(
    status: int, outcome: int, error: str, traces: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", traces.url)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "line-7")
    tracer = Tracer("glassline")
    trace = tracer.request("/x/infer", {b"host": b"[::1]:3000"}, None)
    trace.error = error if error.isalpha() and status != 499 else ""
    trace.end("POST", "-", status, None)
    tracer.close()
    span = traces.of(trace.trace_id, 1)["POST"]
    assert (span.service, span.status, span.attributes["error.type"]) == ("line-7", outcome, error)
    assert span.attributes.get("http.response.status_code") == (None if status == 499 else status)
    assert (span.attributes["server.address"], span.attributes["server.port"]) == ("[::1]", 3000)
