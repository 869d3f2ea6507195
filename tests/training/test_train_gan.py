"""A generator from the command's own script to the caller: trained, released, served, replayed."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from models.autoencoder import AutoencoderConfig, of_pictures
from service.store import ModelStore
from tests.running_server import REPOSITORY, Server, a_server
from tests.training.pictures_on_disk import bars
from training import train_gan
from training.again import train_again
from training.commands import app
from training.decoder_release import codes_of, release_decoder
from training.feature_space import MeanSpace, found_in, space_of
from training.options import GAN, WrongOption
from training.train_gan import Config

NAMES, DECODER = ("gan-bars", "gan-told"), "vae-bars-decoder"
OPTIONS = dataclasses.replace(GAN, epochs=2, batch_size=8, device="cpu")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generators of bars, one of them conditional, the classifier that judged them, and a
    decoder.
    """
    home = tmp_path_factory.mktemp("gan")
    pictures = str(bars(home / "bars"))
    config = Config(
        data=pictures, name=NAMES[0], size=16, noise=8, maps=4, samples=str(home / "sheets"),
        options=OPTIONS,
    )  # fmt: skip
    written = io.StringIO()
    train_gan.main(config, ModelStore(home), Console(file=written))
    told = dataclasses.replace(config, name=NAMES[1], conditional=True, samples="")
    train_gan.main(told, ModelStore(home), Console(file=written))
    (home / "written.txt").write_text(written.getvalue())
    decoder_of(home)
    return home


def decoder_of(home: Path) -> None:
    """The decoder of a variational autoencoder that has learnt nothing yet."""
    data = train_gan.load(
        Config(data=str(home / "bars"), size=16, color="L"), Console(file=io.StringIO())
    )
    torch.manual_seed(0)
    shape = AutoencoderConfig((1, 16, 16), coding="variational", latent=4, units=4)
    provenance = ModelStore(home).get("gan-bars").manifest.provenance
    release_decoder(
        of_pictures(shape).eval(), DECODER.removesuffix("-decoder"), "bars", data.media,
        data.train.images, data.test.images, b"no curve", provenance, ModelStore(home),
    )  # fmt: skip


@pytest.fixture(scope="module")
def serving(home: Path) -> Iterator[Server]:
    with a_server(home) as running:
        yield running


def test_where_no_classifier_knows_the_pictures_one_is_trained_first(home: Path) -> None:
    written = (home / "written.txt").read_text()
    assert written.count("training lenet-bars, whose features tell how real") == 1
    store = ModelStore(home)
    manifest = store.get("gan-bars").manifest
    assert manifest.provenance.config["features"] == "lenet-bars@1"
    lenet = store.get("lenet-bars").manifest
    assert lenet.images is not None
    sha256 = str(lenet.provenance.data["sha256"])
    assert found_in(store, sha256, lenet.images) == "lenet-bars@1"
    assert found_in(store, "0" * 64, lenet.images) is None
    with pytest.raises(WrongOption, match="gan-bars@1 can generate, wanted a released classifier"):
        space_of(store, "gan-bars")


@pytest.mark.parametrize("name", NAMES)
def test_it_passed_the_gate_and_says_how_real_and_how_new_it_is(name: str, home: Path) -> None:
    stored = ModelStore(home).get(name)
    manifest = stored.manifest
    assert manifest.task == "generate"
    assert (manifest.parity.rows, manifest.parity.tolerance) == (8, 1e-5)
    assert manifest.parity.max_abs_difference <= 1e-5
    metrics = manifest.metrics
    assert metrics["frechet_ratio"] == pytest.approx(
        metrics["frechet_distance"] / metrics["frechet_distance_real_halves"]
    )
    assert metrics["frechet_rows"] == 4
    assert metrics["novelty"] > 0
    for file in ("samples.png", "evaluation.png", "learning-curve.png"):
        assert (stored.folder / file).read_bytes()[:4] == b"\x89PNG"
    page = (stored.folder / "evaluation.html").read_text()
    assert "those that are nearest to one that training has seen" in page
    assert "lenet-bars@1" in page
    assert "no evidence of anything" in manifest.card
    assert "frechet_ratio" in manifest.card


def test_a_sheet_of_each_epoch_is_kept_where_it_was_asked_for(home: Path) -> None:
    assert sorted(one.name for one in (home / "sheets").iterdir()) == [
        "epoch-0001.png", "epoch-0002.png",
    ]  # fmt: skip


@pytest.mark.parametrize("name", [*NAMES, DECODER])
def test_it_is_served_and_the_same_by_its_seed_and_by_replay(name: str, serving: Server) -> None:
    url = f"/v2/models/{name}/infer"
    with serving.client() as http:
        first, second = (
            http.post(url, params={"seed": 7, "count": 3}, headers={"accept": "image/png"})
            for _ in range(2)
        )
        assert first.status_code == 200, first.text
        assert first.content == second.content
        assert Image.open(io.BytesIO(first.content)).size == (2 * 16 + 2, 2 * 16 + 2)
        answer = http.post(url, params={"seed": 7, "count": 3}).json()
        image = next(one for one in answer["outputs"] if one["name"] == "image")
        assert image["shape"] == [3, 1 if name == DECODER else 3, 16, 16]
        assert 0 <= min(image["data"]) <= max(image["data"]) <= 1
        record = first.headers["glassline-record-id"]
        replay = http.post(f"/audit/records/{record}/replay").json()
        assert replay["verdict"] == "bit-exact", replay
        page = http.get(f"/v2/models/{name}/page")
        assert page.status_code == 200


def test_it_can_be_trained_again_from_its_manifest(home: Path) -> None:
    store = ModelStore(home)
    before = store.get("gan-told", "1").manifest
    done = train_again(before, store, Console(file=io.StringIO()))
    assert done.same
    assert done.stored.manifest.metrics == before.metrics


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 48}, "--size: got 48, wanted one of 16, 32, 64"),
        ({"noise": 0}, "--noise: got 0, wanted 1 to 4096"),
        ({"maps": 1}, "--maps: got 1, wanted 2 to 1024"),
        ({"move": 9}, "--move: got 9, wanted 0 to 8"),
        ({"mean": 1.0}, "--mean: got 1, wanted at least 0 and less than 1"),
    ],
)
def test_sizes_that_are_none_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(WrongOption, match=message):
        Config(**wrong)  # type: ignore[arg-type]


def test_a_classifier_of_other_pictures_is_no_judge(home: Path) -> None:
    config = Config(
        data=str(home / "bars"), size=32, features="lenet-bars", options=OPTIONS, maps=4
    )
    with pytest.raises(WrongOption, match="of 16 x 16 pixels, RGB, but these are 32"):
        train_gan.main(config, ModelStore(home), Console(file=io.StringIO()))


def test_what_is_drawn_varies_only_as_the_pictures_may(home: Path) -> None:
    data = train_gan.load(Config(data=str(home / "bars"), size=16), Console(file=io.StringIO()))
    assert train_gan.variation(Config(), data) == "none"
    turned = dataclasses.replace(data, variation="turns")
    assert train_gan.variation(Config(), turned) == "turns"
    assert train_gan.variation(Config(augment="affine"), data) == "affine"
    assert np.unique(data.train.labels).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--size", "48"], "--size: got 48, wanted one of 16, 32, 64 pixels"),
        (["--learning-rate", "0"], "--learning-rate: got 0"),
        (["--name", "Bad_Name"], "--name: got 'Bad_Name'"),
        (["--data", "/nowhere"], "/nowhere"),
        (["--mean", "nan"], "--mean: got nan"),
    ],
)
def test_flags_that_do_not_fit_are_refused_in_one_message(flags: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["gan", *flags])
    assert done.exit_code in (1, 2)
    assert done.stderr.startswith("error: ")
    assert words in done.stderr.replace("\n", " ")


def test_help_teaches_and_the_readme_knows_every_flag() -> None:
    shown = CliRunner().invoke(app, ["gan", "--help"], env={"COLUMNS": "120"}).output
    readme = (REPOSITORY / "training" / "README.md").read_text()
    for flag in (
        "--data", "--size", "--color", "--noise", "--maps", "--conditional", "--spectral-norm",
        "--mean", "--move", "--augment", "--skip-broken", "--features", "--samples",
    ):  # fmt: skip
        assert flag in shown
        assert f"`{flag}`" in readme
    for flag in ("--optimizer", "--dropout", "--schedule"):
        assert flag not in shown


def test_the_decoder_of_a_variational_autoencoder_is_a_generator_of_its_own(home: Path) -> None:
    stored = ModelStore(home).get(DECODER)
    manifest = stored.manifest
    assert (manifest.task, manifest.family) == ("generate", "autoencoder")
    assert manifest.inputs[0].shape == (-1, 4)
    assert manifest.parity.max_abs_difference <= 1e-5
    page = (stored.folder / "evaluation.html").read_text()
    assert "means of 8 x 8 places, for want of a classifier" in page


def test_where_there_is_no_classifier_places_are_compared() -> None:
    pictures = np.zeros((2, 1, 16, 16), np.uint8)
    pictures[1, 0, :2, 2:4] = 255
    points = MeanSpace().of(pictures)
    assert points.shape == (2, 64)
    assert points[0].tolist() == [0] * 64
    assert np.flatnonzero(points[1]).tolist() == [1]
    assert points[1, 1] == 1


def test_noise_is_brought_to_where_the_codes_are() -> None:
    shape = AutoencoderConfig((1, 16, 16), coding="variational", latent=3, units=4)
    torch.manual_seed(1)
    network = of_pictures(shape).eval()
    pictures = np.random.default_rng(0).integers(0, 256, (400, 1, 16, 16), dtype=np.uint8)
    mean, root = codes_of(network, pictures)
    with torch.inference_mode():
        means, logs = network.encode(torch.from_numpy(pictures))
        drawn = means + torch.exp(logs / 2) * torch.randn(400, 3)
    assert mean.numpy() == pytest.approx(means.mean(dim=0).numpy(), abs=1e-5)
    covariance = (root @ root.T).numpy()
    assert covariance == pytest.approx(np.cov(drawn.numpy().T), abs=0.25)
    wanted = np.cov(means.numpy().T) + np.diag(np.exp(logs.numpy()).mean(axis=0))
    assert covariance == pytest.approx(wanted, abs=1e-4)
