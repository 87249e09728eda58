"""Damaged versions are refused, each by name, while the old version goes on."""

import asyncio
import shutil

import grpc
import numpy as np
import pytest
from tensorflow.core.protobuf import saved_model_pb2

from pushed_models import signatures
from serving.local_server import served_models
from serving.local_server.limits import Limits
from serving.model_spec import ModelSpec
from storage import manifest

Code = grpc.StatusCode
PB = "saved_model.pb"
DATA = "variables/variables.data-00000-of-00001"
INDEX = "variables/variables.index"
ASSET = "assets/labels.txt"
RECORDED = f"assets.extra/{signatures.RECORDED_FILE}"


@pytest.fixture(scope="module")
def good(write_model, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("good"), 7)


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def cut(file):
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 3 // 4])


def edit(version, change):
    saved_model = saved_model_pb2.SavedModel.FromString((version / PB).read_bytes())
    change(saved_model.meta_graphs[0])
    (version / PB).write_bytes(saved_model.SerializeToString())


def add_node(kind):
    """To what an answer needs."""

    def change(meta_graph):
        meta_graph.graph_def.node.add(name="spy", op=kind)
        output = meta_graph.signature_def["classify"].outputs["scores"].name
        for node in meta_graph.graph_def.node:
            if node.name == output.partition(":")[0]:
                node.input.append("^spy")

    return change


# Name -> (damage, file that a manifest names or '' where it holds the damage too, code and
# words where there is none).
DAMAGES = {
    "no_variables": (
        lambda version: shutil.rmtree(version / "variables"),
        DATA,
        (Code.DATA_LOSS, f"{INDEX}, are missing"),
    ),
    "index_without_data": (
        lambda version: (version / DATA).unlink(),
        DATA,
        (Code.NOT_FOUND, ""),
    ),
    "short_data": (
        lambda version: cut(version / DATA),
        DATA,
        (Code.OUT_OF_RANGE, "Read"),
    ),
    "flipped_bit": (
        lambda version: flip(version / DATA),
        DATA,
        (Code.DATA_LOSS, "Checksum does not match"),
    ),
    "graph_cut": (
        lambda version: cut(version / PB),
        PB,
        (Code.DATA_LOSS, f"{PB} is damaged or ends early"),
    ),
    "empty_graph": (
        lambda version: (version / PB).write_bytes(b""),
        PB,
        (Code.NOT_FOUND, "no graph with the tag 'serve'"),
    ),
    "missing_asset": (
        lambda version: (version / ASSET).unlink(),
        ASSET,
        None,
    ),
    "other_class_names": (
        lambda version: (version / ASSET).write_text("red\ngreen\nbleu\n"),
        ASSET,
        None,
    ),
    "class_names_in_another_order": (
        lambda version: (version / ASSET).write_text("green\nred\nblue\n"),
        ASSET,
        None,
    ),
    "a_class_too_many": (
        lambda version: (version / ASSET).write_text("red\ngreen\nblue\npink\n"),
        ASSET,
        None,
    ),
    "operation_of_the_future": (
        lambda version: edit(version, add_node("DecodeThought")),
        "",
        (Code.FAILED_PRECONDITION, "runs DecodeThought to answer"),
    ),
    "py_func": (
        lambda version: edit(version, add_node("PyFunc")),
        "",
        (Code.FAILED_PRECONDITION, "runs PyFunc to answer"),
    ),
    "recorded_answers_cut": (
        lambda version: cut(version / RECORDED),
        RECORDED,
        None,
    ),
    "not_listed": (
        lambda version: (version / "assets" / "more.txt").write_text("x"),
        "assets/more.txt",
        None,
    ),
}


def test_the_old_version_goes_on_and_the_status_says_why(good, tmp_path, png, offline):
    """One after another is pushed, with and without manifest; none is ever served."""
    folder = tmp_path / "serving" / "cats"
    shutil.copytree(good, folder / "1")
    colour = (9, 200, 70)

    async def ask(models):
        model = models.find(ModelSpec("cats"))
        inputs = {"images": np.array([png(*colour)], object)}
        outputs = await model.run("predict_images", inputs, None)
        assert model.version == 1
        expected = offline([colour])
        np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)

    async def push(models, version, damage, is_listed):
        staging = folder / f".staging-{version}"
        shutil.copytree(good, staging)
        if not is_listed:
            (staging / manifest.FILE).unlink()
        damage(staging)
        staging.rename(folder / str(version))
        async with asyncio.timeout(60):
            while models.statuses(ModelSpec("cats"))[0].number != version:
                await ask(models)
            while (status := models.statuses(ModelSpec("cats"))[0]).state != "END":
                await ask(models)
        return status

    async def scenario():
        models = served_models.ServedModels(folder.parent, Limits(), 0.02)
        await models.start()
        version = 1
        for name, (damage, file, found) in DAMAGES.items():
            for is_listed in (True, False):
                if not (file if is_listed else found):
                    continue
                version += 1
                status = await push(models, version, damage, is_listed)
                code, words = (Code.DATA_LOSS, file) if is_listed else found
                assert status.code is code, (name, status)
                assert words in status.error, (name, status)
                assert str(tmp_path) not in status.error
        await models.stop()
        return version

    assert asyncio.run(scenario()) > 17
