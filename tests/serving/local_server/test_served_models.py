"""Versions come, go and are refused while requests are answered."""

import asyncio
import pathlib
import shutil
import subprocess
import sys

import grpc
import numpy as np
import pytest

from pushed_models import models_config
from serving.local_server import errors, served_models, wanted_versions
from serving.local_server.limits import Limits
from serving.model_spec import ModelSpec
from storage import manifest

Entry = models_config.Entry
COLOURS = ((250, 10, 20), (3, 180, 99), (7, 7, 70))
BIASES = (0.0, 0.7, 1.4, 2.1)
SETTLED = ("AVAILABLE", "END")
LIMITS = Limits(max_batch_size=8)
POLL_SECONDS = 0.05


@pytest.fixture(scope="module")
def written(write_model, tmp_path_factory):
    """Versions to copy from, one a bias."""
    folder = tmp_path_factory.mktemp("written")
    return [
        write_model(folder, number, bias=bias) for number, bias in enumerate(BIASES)
    ]


@pytest.fixture
def push(written, tmp_path):
    """Function (version, name="cats") -> its folder; appears whole, as the pusher does it.

    The version answers with `bias_of(version)`.
    """

    def make(version, name="cats", damage=lambda folder: None):
        staging = tmp_path / name / f".staging-{version}"
        shutil.copytree(written[version % len(BIASES)], staging)
        damage(staging)
        return staging.rename(tmp_path / name / str(version))

    (tmp_path / "cats").mkdir()
    return make


def bias_of(version):
    return BIASES[version % len(BIASES)]


def serve(folder, scenario):
    """Runs a coroutine function with served models that have started."""

    async def main():
        models = served_models.ServedModels(folder, LIMITS, POLL_SECONDS)
        await asyncio.wait_for(models.start(), 120)
        try:
            await asyncio.wait_for(scenario(models), 180)
        finally:
            await models.stop()

    asyncio.run(main())


async def until(is_true, seconds=60):
    async with asyncio.timeout(seconds):
        while not is_true():
            await asyncio.sleep(0.01)


def states(models, name="cats"):
    return {one.number: one.state for one in models.statuses(ModelSpec(name))}


def live(models, name="cats", **which):
    return models.find(ModelSpec(name, **which)).version


async def ask(models, image, **which):
    """(version, probabilities) of one image."""
    model = models.find(ModelSpec("cats", **which))
    inputs = {"images": np.array([image], object)}
    outputs = await model.run("predict_images", inputs, None)
    return model.version, outputs["probabilities"][0]


def test_a_folder_without_models_waits_for_one(tmp_path, push):
    async def scenario(models):
        assert models.names() == []
        assert not models.is_ready()
        with pytest.raises(errors.NotFound, match="Latest\\(cats\\)"):
            live(models)
        with pytest.raises(errors.NotFound, match="Could not find any versions"):
            models.statuses(ModelSpec("cats"))
        push(1)
        await until(models.is_ready)
        assert models.names() == ["cats"]
        assert live(models) == 1

    serve(tmp_path, scenario)


def test_promote_canary_rollback_and_removal(tmp_path, push, png, offline):
    image, colour = png(*COLOURS[0]), COLOURS[:1]

    async def answers(models, wanted, **which):
        version, probabilities = await ask(models, image, **which)
        assert version == wanted
        expected = offline(colour, bias=bias_of(version))[0]
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)

    def pin(*versions, **labels):
        models_config.write(tmp_path, {"cats": Entry(versions, labels)})

    async def scenario(models):
        await answers(models, 1)
        pin(1, 2, stable=1, canary=2)
        await until(lambda: states(models) == {1: "AVAILABLE", 2: "AVAILABLE"})
        await answers(models, 1)
        await answers(models, 2, label="canary")
        await answers(models, 2, version=2)
        pin(1, 2, stable=2)  # promoted, with the way back kept open
        await until(lambda: live(models) == 2)
        assert states(models)[1] == "AVAILABLE"
        with pytest.raises(errors.BadRequest, match="label: canary"):
            live(models, label="canary")
        push(3)  # pinned: not served by being there
        pin(1, 2, stable=1)
        await until(lambda: live(models) == 1)
        pin(3, stable=3)
        await until(lambda: states(models) == {3: "AVAILABLE", 2: "END", 1: "END"})
        await answers(models, 3)
        pin(2, stable=2)
        await until(lambda: live(models) == 2)
        pin()
        await until(lambda: live(models) == 3)
        push(1, "dogs")
        await until(lambda: models.names() == ["cats", "dogs"])
        await until(models.is_ready)
        shutil.rmtree(tmp_path / "cats")
        (tmp_path / models_config.FILE).unlink()
        await until(lambda: models.names() == ["dogs"])
        with pytest.raises(errors.NotFound):
            live(models)

    push(1)
    push(2)
    models_config.write(tmp_path, {"cats": Entry((1,), {"stable": 1})})
    serve(tmp_path, scenario)


def test_versions_of_other_classes_answer_with_their_own(tmp_path, write_model, png):
    """Under traffic, to a new version and back: red is class 0 of both, by its number."""
    labels_of = {1: ("red", "green", "blue"), 2: ("blue", "rouge")}
    image, seen = {"images": np.array([png(*COLOURS[0])], object)}, []

    async def keep_asking(models):
        while True:
            model = models.find(ModelSpec("cats"))
            outputs = await model.run("predict_images", image, None)
            names = [name.decode() for name in outputs["classes"][0]]
            seen.append((model.version, names, model.class_names))
            await asyncio.sleep(0)

    async def scenario(models):
        asking = [asyncio.create_task(keep_asking(models)) for _ in range(4)]
        write_model(tmp_path / "cats", 2, 2, labels=labels_of[2])
        await until(lambda: seen and seen[-1][0] == 2)
        models_config.write(tmp_path, {"cats": Entry((1,), {"stable": 1})})
        await until(lambda: seen[-1][0] == 1)
        for task in asking:
            task.cancel()

    write_model(tmp_path / "cats", 1, labels=labels_of[1])
    serve(tmp_path, scenario)
    assert {version for version, _, _ in seen} == {1, 2}
    for version, names, class_names in seen:
        assert class_names == labels_of[version]
        assert names[0] == labels_of[version][0]
        assert set(names) == set(labels_of[version])


def damaged(file):
    def damage(folder):
        path = folder / file
        path.write_bytes(path.read_bytes()[:-9])

    return damage


def without_manifest(folder):
    (folder / manifest.FILE).unlink()
    shutil.rmtree(folder / "variables")


def test_a_refused_version_leaves_the_old_one_until_its_content_changes(
    tmp_path, push, written, caplog
):
    async def scenario(models):
        push(2, damage=damaged("variables/variables.data-00000-of-00001"))
        await until(lambda: states(models).get(2) == "END")
        (status,) = models.statuses(ModelSpec("cats", version=2))
        assert status.code is grpc.StatusCode.DATA_LOSS
        assert "variables.data-00000-of-00001 has" in status.error
        assert str(tmp_path) not in status.error
        assert live(models) == 1
        assert models.is_ready()
        folder = push(3, damage=without_manifest)
        await until(lambda: states(models).get(3) == "END")
        assert live(models) == 1
        # A copy in progress by another tool looks the same; it ends some time.
        shutil.copytree(written[3] / "variables", folder / "variables")
        settled = {3: "AVAILABLE", 2: "END", 1: "END"}
        await until(lambda: states(models) == settled)
        count = len(caplog.messages)
        await asyncio.sleep(0.5)
        assert len(caplog.messages) == count  # nothing is tried again and again

    push(1)
    with caplog.at_level("INFO", "slimline.serving"):
        serve(tmp_path, scenario)


def test_after_a_restart_a_refused_version_leaves_the_one_before(tmp_path, push):
    push(1)
    push(2, damage=damaged("saved_model.pb"))

    async def scenario(models):
        assert live(models) == 1
        assert states(models) == {2: "END", 1: "AVAILABLE"}

    serve(tmp_path, scenario)


def test_a_config_that_cannot_be_read_changes_nothing_and_is_told(tmp_path, push):
    async def scenario(models):
        (tmp_path / models_config.FILE).write_text("not a config")
        push(2)
        await until(lambda: models.problem)
        await asyncio.sleep(0.3)
        assert states(models) == {1: "AVAILABLE"}
        assert "models.config" in models.problem
        assert str(tmp_path) not in models.problem
        (tmp_path / models_config.FILE).unlink()
        await until(lambda: live(models) == 2)
        assert models.problem == ""

    push(1)
    serve(tmp_path, scenario)


def test_what_was_asked_is_answered_before_the_version_goes(tmp_path, push, png):
    async def scenario(models):
        asking = [asyncio.create_task(ask(models, png(1, 2, 3))) for _ in range(200)]
        await asyncio.sleep(0)
        push(2)
        await until(lambda: live(models) == 2)
        assert {version for version, _ in await asyncio.gather(*asking)} == {1}
        await until(lambda: states(models)[1] == "END")

    push(1)
    serve(tmp_path, scenario)


def test_a_version_in_a_folder_with_zeros_before_its_number(tmp_path, push):
    push(1).rename(tmp_path / "cats" / "00000123")

    async def scenario(models):
        assert live(models) == 123
        push(124)
        await until(lambda: live(models) == 124)

    serve(tmp_path, scenario)


def test_stopping_waits_for_requests_under_way(tmp_path, push, png):
    push(1)

    async def main():
        models = served_models.ServedModels(tmp_path, LIMITS, POLL_SECONDS)
        await models.start()
        requests = [asyncio.create_task(ask(models, png(1, 2, 3))) for _ in range(50)]
        await asyncio.sleep(0)
        await models.stop()
        assert not models.is_ready()
        return await asyncio.gather(*requests)

    assert len(asyncio.run(main())) == 50


def test_reload_under_requests(tmp_path, push, png, offline):
    """No request fails, no version goes back unasked, answers are of the version named."""
    images = [png(*colour) for colour in COLOURS]
    expected = {bias: offline(COLOURS, bias=bias) for bias in BIASES}
    answered = []
    last = 20

    async def client(models, place, is_over):
        seen = 0
        while not is_over.is_set():
            version, probabilities = await ask(models, images[place])
            assert version >= seen
            seen = version
            right = expected[bias_of(version)][place]
            np.testing.assert_allclose(probabilities, right, atol=1e-5)
            answered.append(version)

    async def scenario(models):
        is_over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for number in range(9):
                group.create_task(client(models, number % 3, is_over))
            for version in range(2, last + 1):
                is_bad = version % 5 == 0
                file = "variables/variables.index"
                await asyncio.to_thread(
                    push, version, damage=damaged(file) if is_bad else lambda _: None
                )
                if version % 4:  # else the next one comes while it is being loaded
                    await until(lambda: states(models).get(version) in SETTLED)  # noqa: B023
            await until(lambda: live(models) == last - 1)
            await until(lambda: states(models).get(last) == "END")
            is_over.set()
        (status,) = models.statuses(ModelSpec("cats", version=last))
        assert status.code is grpc.StatusCode.DATA_LOSS

    push(1)
    serve(tmp_path, scenario)
    assert len(set(answered)) >= 10, (len(answered), sorted(set(answered)))
    assert not {version for version in answered if version % 5 == 0}


PUSH_AND_DIE = """
import os, pathlib, signal, sys
from components.model_pusher import publishing

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")
model, folder, points = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def push(point):
    target, count = pathlib.Path(folder, str(point), "cats"), 0
    def watch(event, arguments):
        nonlocal count
        if event in EVENTS and str(target.parent) in str(arguments):
            count += 1
            if count == point:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)
    publishing.publish(model, target)

# Each in a fork of this process, whose imports are done.
for point in range(1, points):
    child = os.fork()
    if not child:
        push(point)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(point, os.WIFSIGNALED(status), flush=True)
    if not os.WIFSIGNALED(status):
        break
"""


def test_a_push_killed_at_any_event_leaves_nothing_to_load(
    written, tmp_path, monkeypatch
):
    """At every file event of a push a server finds the whole new version, or none."""
    done = subprocess.run(
        [sys.executable, "-c", PUSH_AND_DIE, written[0], tmp_path, "200"],
        capture_output=True,
        text=True,
        check=True,
    )
    points = [line.split() for line in done.stdout.splitlines()]
    assert points[-1][1] == "False"  # the push came to its end
    assert len(points) > 20
    watched = 0
    for point, _ in points:
        root = tmp_path / point
        wanted = wanted_versions.look(root, ())
        for version in wanted["cats"].numbers if wanted else ():
            assert manifest.problems(root / "cats" / str(version)) == []
            watched += 1
    assert watched >= 1
    # One of them with a server: a half push beside an older version, then a whole one.
    middle = points[len(points) // 2][0]
    root = tmp_path / middle
    shutil.copytree(written[1], root / "cats" / "1")

    async def scenario(models):
        assert live(models) == 1
        left = [path for path in (root / "cats").iterdir() if path.name != "1"]
        assert all(not path.name.isdecimal() for path in left)
        shutil.copytree(written[2], root / "cats" / ".staging-x")
        pathlib.Path(root / "cats" / ".staging-x").rename(root / "cats" / "2")
        await until(lambda: live(models) == 2)

    serve(root, scenario)
