"""What waits in a tally arrives in its histogram as if it had been observed there at once."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, Histogram

from service import tally

BUCKETS = (0.001, 0.01, 0.1, 1.0)


def histogram() -> Histogram:
    return Histogram("seconds", "Seconds.", buckets=BUCKETS, registry=CollectorRegistry())


def told(child: Histogram) -> dict[str, float]:
    (family,) = child.collect()
    return {
        sample.name + sample.labels.get("le", ""): sample.value
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@given(st.lists(st.sampled_from([*BUCKETS, 0.0005, 0.05, 5.0, 0.0])))
def test_a_tally_says_what_the_histogram_would_have_said(values: list[float]) -> None:
    direct, child = histogram(), histogram()
    observe = tally.observer(child)
    for value in values:
        direct.observe(value)
        observe(value)
    tally.flush()
    assert told(child)["seconds_sum"] == sum(values)
    assert {k: v for k, v in told(child).items() if k != "seconds_sum"} == {
        k: v for k, v in told(direct).items() if k != "seconds_sum"
    }


def test_threads_that_observe_while_others_flush_lose_nothing() -> None:
    child = histogram()
    observe = tally.observer(child)

    def work() -> None:
        for index in range(5_000):
            observe(0.05)
            if index % 50 == 0:
                tally.flush()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally.flush()
    assert told(child)["seconds_count"] == 20_000


def test_the_same_child_has_one_tally() -> None:
    child = histogram()
    assert tally.observer(child) is tally.observer(child)


def test_a_moment_reaches_its_gauge_once() -> None:
    gauge = Gauge("last", "Last.", registry=CollectorRegistry())
    moment = tally.moment(gauge)
    moment.seconds = 12.5
    tally.flush()
    assert gauge._value.get() == 12.5
    gauge.set(3)
    tally.flush()
    assert gauge._value.get() == 3, "an old moment overwrote a newer value"
