import inspect
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

import slimline
from common.errors import DataError, ServerError
from pipeline import experiments
from serving import client, local_model
from slimline.cli import doctor
from trainer.nets import registry


def write_image(path, level=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), level, np.uint8)).save(path)
    return path


def as_json(call, *arguments):
    code, out, _ = call(*arguments, "--json")
    document = json.loads(out)
    assert code == 0
    assert document["schema_version"] == 1
    return document


def test_experiments(call):
    code, out, err = call("experiments")
    assert (code, err) == (0, "")
    for name, function in experiments.EXPERIMENTS.items():
        first_line = function.__doc__.splitlines()[0]
        assert any(name in line and first_line in line for line in out.splitlines())
    names = [found["name"] for found in as_json(call, "experiments")["experiments"]]
    assert names == list(experiments.EXPERIMENTS)
    assert call("experiments", "-q") == (0, "", "")


def test_settings_of_an_experiment(call, monkeypatch):
    # It is the experiment that is shown, not what this user has changed.
    monkeypatch.setenv("SLIMLINE_TRAIN__BATCH_SIZE", "7")
    settings = as_json(call, "experiments", "folder")["settings"]
    assert settings["train.batch_size"] == {"value": 64, "help": "images per step"}
    _, out, _ = call("experiments", "folder")
    assert all(key in out for key in settings)
    assert call("experiments", "none")[0] == 2


def test_nets(call):
    _, out, _ = call("nets")
    for name, spec in registry.NETS.items():
        assert f"{name} " in out
        assert f"{spec.parameters:,}" in out
        assert spec.reference in out
    listed = {net["name"]: net for net in as_json(call, "nets")["nets"]}
    assert set(listed) == set(registry.NETS)
    assert listed["vgg_16"]["parameters"] == 134_326_096
    assert round(listed["vgg_16"]["multiply_adds"] / 1e6) == 15_466
    assert listed["inception_v4"]["smallest_image_size_px"] == 75
    assert call("nets", "-q") == (0, "", "")


def test_layers_of_a_net(call):
    _, out, _ = call("nets", "inception_v2")
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line}
    assert lines["3c"] == ["3c", "3", "branches", "14x14x576", "384,544", "143.90", "M"]
    assert lines["total"] == ["total", "10,253,762", "1,947.59", "M"]
    assert lines["smallest"] == ["smallest", "17", "x", "17", "px"]


def test_layers_of_a_net_at_another_size(call):
    arguments = ("--image-size", "32", "--channels", "1", "--classes", "7")
    (net,) = as_json(call, "nets", "resnet_20", *arguments)["nets"]
    assert net["parameters"] == 269_722  # the reference's
    assert net["layers"][0]["shape"] == [32, 32, 1]
    assert net["layers"][-1] == {
        "name": "logits",
        "description": "dense, linear",
        "shape": [7],
        "parameters": 64 * 7 + 7,
        "multiply_adds": 64 * 7,
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["alexnet", "--image-size", "32"], "too small for the net 'alexnet'"),
        (["alexnet", "--image-size", "32"], "expected: at least 63 x 63 px"),
        (["alexnett"], "tip: did you mean 'alexnet'?"),
        (["alexnet", "--classes", "0"], "0 is not in the range x>=2"),
        (["--classes", "3"], "need the NAME of a net"),
    ],
)
def test_mistakes_about_nets_are_sentences(call, arguments, sentence):
    code, out, err = call("nets", *arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert "Traceback" not in err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(call, shell):
    code, out, err = call("completion", shell)
    assert (code, err) == (0, "")
    assert "_SLIMLINE_COMPLETE" in out
    assert as_json(call, "completion", shell)["script"].strip() == out.strip()
    assert not list(pathlib.Path().iterdir())


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("slimline run cifar10_r", "cifar10_resnet_20"),
        ("slimline run --set train.batch", "train.batch_size="),
        ("slimline sweep caltech_a", "caltech_ablation"),
        ("slimline nets inception", "inception_v2"),
        ("slimline ex", "experiments"),
        ("slimline predict --model dig", "digits"),
        ("slimline models roll", "rollback"),
        ("slimline models rollback dig", "digits"),
        ("slimline models verify dig", "digits"),
    ],
)
def test_completion_answers(call, monkeypatch, capfd, words, answer):
    model = pathlib.Path("runs/serving/digits/3/saved_model.pb")
    model.parent.mkdir(parents=True)
    model.touch()
    monkeypatch.setenv("_SLIMLINE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit):
        call()
    assert f"plain,{answer}" in capfd.readouterr().out.splitlines()


def test_doctor(call):
    document = as_json(call, "doctor")
    checks = {check["name"]: check for check in document["checks"]}
    assert {"python", "packages", "compiler", "cpu", "memory", "disk", "gpu"} <= set(
        checks
    )
    for check in checks.values():
        assert check["status"] in ("ok", "warn")
        assert bool(check["fix"]) == (check["status"] == "warn")
    assert not pathlib.Path("runs").exists()
    _, out, _ = call("doctor")
    assert out.count("fix: ") == sum(bool(check["fix"]) for check in checks.values())
    assert call("doctor", "-q") == (0, "", "")


def test_doctor_fails_with_a_fix(call, monkeypatch):
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda _: ["click>=999"])
    code, out, _ = call("doctor", "-q")
    assert code == 1
    assert "fail  click" in out
    assert "expected >=999" in out


def test_doctor_finds_a_root_that_is_a_file(call):
    pathlib.Path("runs").touch()
    code, _, err = call("doctor")
    assert code == 2
    assert "is a file" in err


class FakeModel:
    labels = ("cat", "dog")
    folder = pathlib.Path("models/7")

    def predict(self, images, top):
        ranked = [("cat", 0.9), ("dog", 0.1)][:top]
        return [local_model.Prediction("cat", 0.9, ranked) for _ in images]


@pytest.fixture
def model(monkeypatch, tmp_path):
    folder = tmp_path / "runs" / "serving" / "pets" / "7"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    loaded = []

    def load(path):
        loaded.append(path)
        return FakeModel()

    monkeypatch.setattr(local_model.LocalModel, "load", load)
    return loaded


def test_predict(call, model):
    write_image(pathlib.Path("a.png"))
    write_image(pathlib.Path("longer.png"))
    code, out, err = call("predict", "a.png", "longer.png")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "file        class  score  next",
        "a.png       cat    0.900  dog 0.100",
        "longer.png  cat    0.900  dog 0.100",
    ]
    assert model == [pathlib.Path("runs/serving/pets/7")]
    assert call("predict", "a.png", "-q") == (0, "", "")


def test_predict_json(call, model):
    write_image(pathlib.Path("a.png"))
    document = as_json(call, "predict", "a.png", "--model", "pets@7", "--top", "1")
    assert document["labels"] == ["cat", "dog"]
    assert document["predictions"] == [
        {
            "file": "a.png",
            "label": "cat",
            "score": 0.9,
            "top": [{"label": "cat", "score": 0.9}],
        }
    ]


def write_summary(name, **changes):
    folder = pathlib.Path("runs") / name
    (folder / "samples").mkdir(parents=True)
    write_image(folder / "samples" / "0.png")
    summary = {
        "pushed_path": str(pathlib.Path("runs/serving/pets/7").resolve()),
        "sample_images": {str((folder / "samples" / "0.png").resolve()): "dog"},
    }
    (folder / "summary.json").write_text(json.dumps(summary | changes))


def test_predict_the_samples_of_a_run(call, model):
    write_summary("2026-11-22_0201_quick-heron")
    code, out, err = call("predict", "--run", "quick-heron")
    assert (code, err) == (0, "")
    heading, line = out.splitlines()
    assert heading.split() == ["file", "true", "class", "score", "next"]
    path = "runs/2026-11-22_0201_quick-heron/samples/0.png"
    assert line.split() == [path, "dog", "cat", "0.900", "dog", "0.100"]
    assert model == [pathlib.Path("runs/serving/pets/7").resolve()]


def test_predict_with_a_run_that_pushed_nothing(call, model):
    write_summary("2026-11-22_0201_quick-heron", pushed_path=None)
    code, _, err = call("predict", "--run", "latest")
    assert (code, err) == (
        2,
        "error: run '2026-11-22_0201_quick-heron' pushed no model, and the one it trained is"
        " gone\n",
    )


def test_a_refused_model_can_be_looked_at_and_is_not_served(call, model):
    trained = pathlib.Path("runs/digits/train/model/3/Format-Serving").absolute()
    trained.mkdir(parents=True)
    (trained / "saved_model.pb").touch()
    artifacts = {"train": {"model": [str(trained.parent)]}}
    write_summary("2026-11-22_0201_quick-heron", pushed_path=None, artifacts=artifacts)
    code, out, err = call("predict", "--run", "latest")
    assert (code, err) == (0, "run 'latest' pushed no model: not served\n")
    assert "cat" in out
    assert model == [trained]
    code, _, err = call("predict", "--run", "latest", "--server", "localhost:1")
    assert code == 2
    assert "no server has it" in err


def test_what_can_be_read_is_answered_and_the_rest_is_listed(call, model):
    write_image(pathlib.Path("a.png"))
    pathlib.Path("broken.png").write_bytes(b"no image")
    pathlib.Path("folder").mkdir()
    given = ("broken.png", "folder", "a.png", "none.png")
    code, out, err = call("predict", *given)
    assert code == 4
    assert [line.split()[0] for line in out.splitlines()] == ["file", "a.png"]
    assert err.startswith("error: 3 of 4 files got no answer\n")
    for text in (
        "broken.png",
        "folder is a folder",
        "none.png: No such file or directory",
    ):
        assert text in err
    code, out, _ = call("predict", *given, "--json")
    document = json.loads(out)
    assert code == document["error"]["exit_code"] == 4
    assert [row["file"] for row in document["predictions"]] == ["a.png"]
    assert [row["file"] for row in document["unreadable"]] == [
        *("broken.png", "folder", "none.png")
    ]


def test_predict_with_a_run_that_never_ended(call, model):
    (pathlib.Path("runs") / "2026-11-22_0201_quick-heron").mkdir(parents=True)
    code, _, err = call("predict", "--run", "latest")
    assert code == 2
    assert "has no summary: it failed or was interrupted" in err


def test_predict_with_a_sweep(call, model):
    member = pathlib.Path("runs/2026-11-22_0201_quick-heron/members/cnn_bn")
    member.mkdir(parents=True)
    code, _, err = call("predict", "--run", "latest")
    assert code == 2
    assert "run '2026-11-22_0201_quick-heron' is a sweep" in err
    assert "found: cnn_bn in " in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "error: give image files, or --run for its samples"),
        (["--run", "latest"], 2, "error: "),
        (["a.png", "--run", "x", "--model", "y"], 2, "error: --model and --run both"),
        (
            ["none.png"],
            4,
            "error: cannot read image none.png: No such file or directory",
        ),
        (["."], 2, "error: . is a folder"),
        (["a.png", "--model", "cats"], 2, "error: no model 'cats'"),
        (["a.png", "--root", "other"], 2, "error: no model in other"),
        (["a.png", "--top", "0"], 2, "error: invalid value for '--top'"),
    ],
)
def test_predict_refuses(call, model, arguments, code, message):
    write_image(pathlib.Path("a.png"))
    found, out, err = call("predict", *arguments)
    assert (found, out) == (code, "")
    assert err.startswith(message)


def test_predict_with_an_unreadable_image(call, model, monkeypatch):
    def predict(self, images, top):
        raise DataError("cannot read image a.png: damaged")

    monkeypatch.setattr(FakeModel, "predict", predict)
    write_image(pathlib.Path("a.png"))
    assert call("predict", "a.png", "-q") == (
        4,
        "",
        "error: cannot read image a.png: damaged\n",
    )


@pytest.fixture
def server(monkeypatch):
    """Stands for a model server; `asked` holds what its clients were made with."""
    asked = []

    class FakeClient:
        address = "http://models.example"
        model = "pets:canary"

        def __init__(self, address, model, **more):
            asked.append((address, model, more))

        def __enter__(self):
            return self

        def __exit__(self, *error):
            asked.append("closed")

        def ask(self, images, top):
            if asked[-1][1] == "dogs":
                raise ServerError("no model server answers at x", tip="slimline serve")
            ranked = [("cat", 0.9), ("dog", 0.1)][:top]
            prediction = local_model.Prediction("cat", 0.9, ranked)
            return client.Answer([prediction for _ in images], (7, 9), ("cat", "dog"))

    monkeypatch.setattr(client, "Client", FakeClient)
    monkeypatch.delenv("SLIMLINE_SERVER_TOKEN", raising=False)
    return asked


def test_predict_by_a_server(call, model, server):
    write_image(pathlib.Path("a.png"))
    arguments = ("predict", "a.png", "--model", "pets:canary")
    locally = call("predict", "a.png")
    assert call(*arguments, "--server", "http://localhost:8501") == locally
    assert server == [
        (
            "http://localhost:8501",
            "pets:canary",
            {"token": "", "ca_file": "", "deadline_seconds": 30.0},
        ),
        "closed",
    ]
    assert call(*arguments, "--server", "http://localhost:8501", "-q") == (0, "", "")


def test_predict_by_a_server_json(call, model, server):
    write_image(pathlib.Path("a.png"))
    locally = as_json(call, "predict", "a.png")
    document = as_json(call, "predict", "a.png", "--server", "http://localhost:8501")
    assert document.pop("server") == "http://models.example"
    assert document.pop("versions") == [7, 9]
    assert document.pop("model") == "pets:canary"
    assert locally.pop("model") == "models/7"
    assert document == locally


def test_predict_by_a_server_with_all_options(call, model, server, monkeypatch):
    write_image(pathlib.Path("a.png"))
    pathlib.Path("ca.pem").touch()
    monkeypatch.setenv("SLIMLINE_SERVER_TOKEN", "secret")
    arguments = ("predict", "a.png", "--server", "grpcs://x:1", "--ca-file", "ca.pem")
    assert call(*arguments, "--deadline", "2.5")[0] == 0
    assert server[0] == (
        "grpcs://x:1",
        None,
        {"token": "secret", "ca_file": "ca.pem", "deadline_seconds": 2.5},
    )


def test_predict_the_samples_of_a_run_by_a_server(call, model, server):
    write_summary("2026-11-22_0201_quick-heron")
    code, out, _ = call("predict", "--run", "latest", "--server", "x:1")
    assert code == 0
    assert out.splitlines()[1].split()[1:3] == ["dog", "cat"]
    assert server[0][1] == "pets@7"


def test_predict_by_a_server_that_is_down(call, model, server):
    write_image(pathlib.Path("a.png"))
    arguments = ("predict", "a.png", "--server", "x:1", "--model", "dogs")
    assert call(*arguments) == (
        1,
        "",
        "error: no model server answers at x\n  tip: slimline serve\n",
    )
    code, out, _ = call(*arguments, "--json")
    assert code == 1
    assert json.loads(out)["error"]["kind"] == "server"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--deadline", "1"], "--ca-file and --deadline belong to --server"),
        (["--server", "x:1", "--output", "a.csv"], "take no --server"),
        (["--server", "x:1", "--deadline", "0"], "invalid value for '--deadline'"),
        (["--server", "x:1", "--ca-file", "none"], "invalid value for '--ca-file'"),
    ],
)
def test_predict_by_a_server_refuses(call, model, server, arguments, message):
    write_image(pathlib.Path("a.png"))
    code, out, err = call("predict", "a.png", *arguments)
    assert (code, out, server) == (2, "", [])
    assert message in err


def test_connect():
    with slimline.connect("http://localhost:8501", "pets@7", token="secret") as found:
        assert (found.address, found.model) == ("http://localhost:8501", "pets@7")
    with pytest.raises(
        slimline.errors.ConfigError, match="is not the address of a server"
    ):
        slimline.connect("localhost")


def test_connect_has_the_defaults_of_the_client():
    """They are written down twice, so that `import slimline` stays quick."""
    ours = inspect.signature(slimline.connect).parameters
    for name, parameter in inspect.signature(client.Client.__init__).parameters.items():
        if name not in ("self", "address"):
            assert ours[name].default == parameter.default, name


@pytest.fixture
def flowers(tmp_path):
    for number in range(3):
        write_image(tmp_path / "flowers" / "rose" / f"{number}.png", number)
        write_image(tmp_path / "flowers" / "tulip" / f"{number}.png", 200 + number)
    (tmp_path / "flowers" / "tulip" / "9.png").write_bytes(b"no image")
    return "flowers"


def test_data_inspect(call, flowers):
    code, out, _ = call("data", "inspect", flowers)
    assert code == 0
    assert "6, 2 classes, gray, png" in out
    assert "unreadable 1" in out
    found = as_json(call, "data", "inspect", flowers)["inspection"]
    assert found["labels"] == ["rose", "tulip"]
    assert call("data", "inspect", flowers, "-q") == (0, "", "")
    assert call("data", "inspect", "none")[0] == 4


def test_data_inspect_shows_a_line_break_in_a_class_as_two_signs(call, tmp_path):
    write_image(tmp_path / "flowers" / "1.png", 1)
    write_image(tmp_path / "flowers" / "2.png", 2)
    table = 'path,label\n1.png,"rose\nred"\n2.png,tulip\n'
    (tmp_path / "flowers" / "labels.csv").write_text(table, encoding="utf-8")
    code, out, err = call("data", "inspect", "flowers")
    assert (code, err) == (0, "")
    assert r"rose\nred  1" in out.splitlines()


def test_data_init_writes_a_contract_once(call, flowers):
    code, out, _ = call("data", "init", flowers)
    assert code == 0
    labels = pathlib.Path("schema/flowers/labels.txt")
    assert labels.read_text(encoding="utf-8") == "rose\ntulip\n"
    assert pathlib.Path("schema/flowers/schema.pbtxt").is_file()
    assert out.endswith("slimline run photos --data flowers\n")
    labels.write_text("mine\n", encoding="utf-8")
    code, _, err = call("data", "init", flowers)
    assert code == 2
    assert err.startswith("error: there is a contract in schema/flowers already")
    assert labels.read_text(encoding="utf-8") == "mine\n"
    assert call("data", "init", flowers, "--force", "-q") == (0, "", "")
    assert labels.read_text(encoding="utf-8") == "rose\ntulip\n"


def test_data_init_elsewhere(call, flowers):
    document = as_json(call, "data", "init", flowers, "--output", "mine")
    assert document["contract"] == "mine"
    _, out, _ = call("data", "init", flowers, "--output", "mine", "--force")
    assert "--set data.contract=mine" in out
