"""Every family: trained by its command, released, served by the running service, explained."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from service.store import ModelStore
from tests.by_command import trained
from tests.running_server import Server, a_server

MEDIA = {
    ".png": "image/png", ".csv": "text/csv", ".txt": "text/plain", ".json": "application/json",
}  # fmt: skip


class Family(NamedTuple):
    """A model of a family, as small as it can be.

    Attributes:
        name: what it is released as.
        words: of the command that trains it, after `glassline train`; `--name` is added.
        explained: whether its manifest declares an explainer.
        page: whether it is released with an evaluation page.
    """

    name: str
    words: str
    explained: bool = True
    page: bool = True


#: A line for each family. The example that it was released with is what it is asked.
FAMILIES = (
    Family("family-mlp", "mlp --data wine --hidden 8 --epochs 15 --learning-rate 0.01"),
    Family("family-mlp-two", "mlp --data breast_cancer --hidden 8 --epochs 10"),
    Family("family-mlp-value", "mlp --data diabetes --hidden 8 --epochs 10"),
    Family("family-gru", "recurrent --units 12 --epochs 3"),
    Family("family-lenet", "cnn --epochs 3"),
    Family("family-policy", "policy --steps 512 --evaluate-every 512 --episodes 2 --measured 2"),
    Family(
        "family-seq2seq",
        "seq2seq --lines 500 --vocabulary 200 --units 8 --embedding 8 --epochs 1",
        page=False,
    ),
)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server over all of them."""
    home = tmp_path_factory.mktemp("families")
    for one in FAMILIES:
        trained(*one.words.split(), "--name", one.name, home=home)
    with a_server(home) as running:
        yield running


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda one: one.name)
def test_it_is_released_served_and_explained(family: Family, serving: Server) -> None:
    stored = ModelStore(serving.home).get(family.name)
    manifest = stored.manifest
    assert manifest.parity.max_abs_difference <= manifest.parity.tolerance
    assert manifest.parity.label_flips == 0
    assert manifest.metrics
    assert "## Measured" in manifest.card
    example = stored.asset("example")
    assert example is not None, "a release brings an example along"
    body, kind = example.read_bytes(), {"content-type": MEDIA[example.suffix]}
    at = f"/v2/models/{family.name}"
    with serving.client(120) as client:
        answer = client.post(f"{at}/infer", content=body, headers=kind)
        assert answer.status_code == 200, answer.text
        outputs = {one["name"]: one for one in answer.json()["outputs"]}
        assert manifest.outputs[0].name in outputs
        if manifest.task == "classify":
            assert outputs["label"]["data"][0] in manifest.labels
        page = client.get(f"{at}/page")
        assert page.status_code == (200 if family.page else 404), page.text
        assert family.name in page.text
        if not family.explained:
            return
        why = client.post(f"{at}/explain", content=body, headers=kind, params={"num_samples": 200})
        assert why.status_code == 200, why.text
        one = why.json()["explanation"]["explanations"][0]
        assert one["weights"], json.dumps(one)
        picture = client.get(
            f"/v2/explanations/{why.json()['explanation_id']}", headers={"accept": "image/png"}
        )
        assert picture.content.startswith(b"\x89PNG")
