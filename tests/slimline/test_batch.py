import json
import pathlib

import pytest

from common.errors import DataError
from serving import prediction_logs
from serving.batch_inference import running


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "runs" / "serving" / "pets" / "7"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    return folder


@pytest.fixture
def batch(monkeypatch, model, emit):
    """A batch inference that only reports; `outcome` may be an exception or changes."""

    class Fake:
        calls = []
        outcome = {}

    def run(words, output, **more):
        Fake.calls.append((list(words), output, more))
        emit("component_started", component="predict")
        emit("predict", images=12_000)
        for step in (1, 5_000, 10_000):
            emit(
                "predict",
                step=step,
                total_steps=10_000,
                images_per_second=812.4,
                seconds_left=6.0,
            )
        if isinstance(Fake.outcome, BaseException):
            raise Fake.outcome
        result = {
            "output": str(output.absolute()),
            "model": "pets@7",
            "images": 9_997,
            "unreadable": 3,
            "unreadable_file": str(output.absolute()) + ".unreadable.csv",
            "ignored": 2,
            "resumed_files": 0,
            "images_per_class": {"cat": 8_000, "dog": 1_997},
            "seconds": 12.3,
            "images_per_second": 812.4,
        }
        result = running.Result(**(result | Fake.outcome))
        emit(
            "component_finished",
            component="predict",
            seconds=12.3,
            detail=running.describe(result),
            is_good=False,
        )
        return result

    monkeypatch.setattr(running, "run", run)
    return Fake


def test_the_table_of_classes_and_the_files(call, batch, model):
    code, out, err = call("predict", "photos", "--output", "rows.csv")
    assert code == 0
    assert out.splitlines() == [
        "class  images",
        "cat    8,000",
        "dog    1,997",
        "",
        "9,997 images, 3 unreadable, 812 images/s, 2 other files ignored",
        "  rows        rows.csv",
        "  unreadable  rows.csv.unreadable.csv",
    ]
    started, *moving, finished = err.splitlines()
    assert started.endswith("event=component_started component=predict")
    assert [line.partition("event=")[2] for line in moving] == [
        "predict step=5000 total_steps=10000 images_per_second=812.4 seconds_left=6",
        "predict step=10000 total_steps=10000 images_per_second=812.4 seconds_left=6",
    ]
    assert 'detail="9,997 images, 3 unreadable' in finished
    ((words, output, more),) = batch.calls
    assert (words, output) == (["photos"], pathlib.Path("rows.csv"))
    assert more["beam_arguments"][0] == "--runner=FnApiRunner"
    assert {name: more[name] for name in ("model_folder", "top", "replaces")} == {
        "model_folder": pathlib.Path("runs/serving/pets/7"),
        "top": 3,
        "replaces": False,
    }


def test_options_reach_the_job(call, batch, model):
    arguments = ("--model", "pets@7", "--top", "5", "--force", "--beam-runner", "local")
    call("predict", "photos/*.png", "b", *arguments, "--output", "rows.jsonl")
    ((words, output, more),) = batch.calls
    assert (words, output) == (["photos/*.png", "b"], pathlib.Path("rows.jsonl"))
    assert (more["top"], more["replaces"]) == (5, True)


def test_quiet_and_json(call, batch):
    batch.outcome = {"unreadable": 0, "unreadable_file": None}
    assert call("predict", "photos", "--output", "rows.csv", "-q") == (0, "", "")
    _, out, err = call("predict", "photos", "--output", "rows.csv", "-q", "--json")
    assert err == ""
    document = json.loads(out)
    assert document["schema_version"] == 1
    assert document["images_per_class"] == {"cat": 8_000, "dog": 1_997}
    assert document["output"] == str(pathlib.Path("rows.csv").absolute())
    assert document["unreadable_file"] is None
    assert document["model"] == "pets@7"
    _, out, _ = call("predict", "photos", "--output", "rows.csv")
    assert out.splitlines()[-1] == "  rows        rows.csv"


@pytest.mark.parametrize(
    ("outcome", "code", "message"),
    [
        (DataError("no images in photos"), 4, "error: no images in photos\n"),
        (
            KeyboardInterrupt(),
            130,
            "interrupted: finished parts are kept; rerun the same command to resume\n",
        ),
        (
            ZeroDivisionError("by zero"),
            1,
            "error: cannot predict: ZeroDivisionError: by zero\n",
        ),
    ],
)
def test_what_ends_it_is_a_sentence(call, batch, outcome, code, message):
    batch.outcome = outcome
    found, out, err = call("predict", "photos", "--output=rows.csv", "-q")
    assert (found, out) == (code, "")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.png", "--force"], "--force and --plain belong to --output"),
        (["a.png", "--plain"], "--force and --plain belong to --output"),
        (["--output", "rows.csv"], "give image files, or --run for its samples"),
        (["a", "--output", "."], "invalid value for '--output'"),
        (
            ["a", "--output", "r.csv", "--beam-runner", "storm"],
            "'storm' is not one of 'local'",
        ),
        (["a", "--output", "r.csv", "--model", "cats"], "no model 'cats'"),
        (["--from-logs", "logs"], "--from-logs takes --output"),
        (
            ["a.png", "--from-logs", "logs", "--output", "r.csv"],
            "--from-logs takes --output, and neither files nor a model",
        ),
    ],
)
def test_mistakes_of_usage(call, batch, arguments, message):
    code, out, err = call("predict", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert batch.calls == []


def test_a_folder_alone_points_to_the_table(call, model):
    pathlib.Path("photos").mkdir()
    code, _, err = call("predict", "photos")
    assert code == 2
    assert "--output NAME.csv takes a folder and writes a table" in err


def test_from_logs(call, monkeypatch, tmp_path):
    calls = []

    def convert(source, output, **more):
        calls.append((source, output, more))
        return prediction_logs.Converted(
            str(tmp_path / "rows.csv"), 3, {"cat": 2, "dog": 1}
        )

    monkeypatch.setattr(prediction_logs, "convert", convert)
    arguments = ("predict", "--from-logs", "logs", "--output", "rows.csv")
    code, out, err = call(*arguments, "--top", "2", "--force")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "class  images",
        "cat    2",
        "dog    1",
        "",
        "3 images",
        "  rows        rows.csv",
    ]
    assert calls == [
        (pathlib.Path("logs"), pathlib.Path("rows.csv"), {"top": 2, "replaces": True})
    ]
    _, out, _ = call(*arguments, "--json")
    assert json.loads(out)["images_per_class"] == {"cat": 2, "dog": 1}
    assert call(*arguments, "-q") == (0, "", "")


def test_from_python(batch, model, tmp_path, monkeypatch):
    import slimline as sl

    monkeypatch.chdir(tmp_path)
    result = sl.predict("photos", output="rows.csv", model="pets", top=2)
    assert result.images == 9_997
    sl.predict([pathlib.Path("a"), "b"], output=pathlib.Path("c.jsonl"), replaces=True)
    first, second = batch.calls
    assert first[:2] == (["photos"], pathlib.Path("rows.csv"))
    assert first[2]["model_folder"] == pathlib.Path("runs/serving/pets/7")
    assert (first[2]["top"], first[2]["replaces"]) == (2, False)
    assert second[:2] == (["a", "b"], pathlib.Path("c.jsonl"))
    assert second[2]["replaces"]
    with pytest.raises(sl.errors.ConfigError, match=r"'engine\.name' does not fit"):
        sl.predict("photos", output="rows.csv", engine="storm")
