"""/metrics is right with two workers: the sum over processes, whoever answers."""

from __future__ import annotations

import time

import httpx
from prometheus_client.parser import text_string_to_metric_families

from service.tally import FLUSH_SECONDS

PNG = {"content-type": "image/png"}
INFER = "/v2/models/lenet-digits/infer"


def count(client: httpx.Client, name: str, **labels: str) -> float:
    """Sum of a sample over all label sets that have these labels."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_every_request_is_counted_once_whichever_worker_answered(
    client: httpx.Client, digit_png: bytes
) -> None:
    stages = [
        "request_preprocess_seconds_count",
        "request_predict_seconds_count",
        "request_postprocess_seconds_count",
    ]
    labels = {"model": "lenet-digits", "version": "1"}
    time.sleep(2 * FLUSH_SECONDS)
    before = {stage: count(client, stage, **labels) for stage in stages}
    requests = {"route": "/v2/models/{model}/infer", "status": "200"}
    answered = count(client, "http_server_request_duration_seconds_count", **requests)
    for _ in range(40):
        # A connection of its own each time, so that both workers get some.
        httpx.post(f"{client.base_url}{INFER}", content=digit_png, headers=PNG, trust_env=False)
    time.sleep(2 * FLUSH_SECONDS)  # the other worker hands its counts over that often
    for stage in stages:
        assert count(client, stage, **labels) == before[stage] + 40
    after = count(client, "http_server_request_duration_seconds_count", **requests)
    assert after == answered + 40


def test_explanations_are_timed_in_their_own_process_and_seen_here(
    client: httpx.Client, digit_png: bytes
) -> None:
    before = count(client, "request_explain_seconds_count", model="lenet-digits")
    client.post(
        "/v2/models/lenet-digits/explain",
        content=digit_png, headers=PNG, params={"num_samples": 50},
    )  # fmt: skip
    assert count(client, "request_explain_seconds_count", model="lenet-digits") == before + 1


def test_no_caller_can_make_new_series(client: httpx.Client) -> None:
    for name in ("nobody", "somebody", "a" * 60):
        client.post(f"/v2/models/{name}/infer", content=b"{}")
        client.get(f"/nowhere/{name}")
    text = client.get("/metrics").text
    assert "nobody" not in text
    assert "somebody" not in text
    assert "aaaa" not in text
