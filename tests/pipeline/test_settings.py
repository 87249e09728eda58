import dataclasses

import pytest

from common.errors import ConfigError
from pipeline import answers, experiments, settings
from pipeline.config import PipelineConfig
from trainer.config import PreprocessingConfig, as_json, flatten, known_keys

NAME = "digits_resnet_20"


def resolve(*assignments, **arguments):
    arguments = {"environment": {}} | arguments
    return settings.resolve(NAME, assignments=assignments, **arguments)


def write(tmp_path, text):
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
def test_experiment_alone_is_itself(name):
    resolved = settings.resolve(name, environment={})
    own = flatten(as_json(experiments.find(name)))
    from_weights = {
        key for key, origin in resolved.origins.items() if origin == "train.weights"
    }
    assert bool(from_weights) == bool(resolved.config.train.weights)
    for key, value in resolved.values().items():
        assert value == own[key] or key in from_weights
    assert resolved.changes() == []
    assert set(resolved.origins) == set(known_keys(PipelineConfig))
    assert set(resolved.origins.values()) <= {"default", "experiment", "train.weights"}


def test_weights_bring_their_net_and_preprocessing():
    resolved = settings.resolve("photos", environment={})
    config = resolved.config
    assert config.model.net == "efficientnet_lite0"
    assert config.preprocessing == PreprocessingConfig(
        resize_px=256,
        crop_px=224,
        interpolation="bicubic",
        standardise="fixed",
        mean=(127.0,),
        deviation=(128.0,),
    )
    assert resolved.origins["model.net"] == "train.weights"


def test_what_a_person_sets_counts_for_more_than_the_weights():
    resolved = settings.resolve(
        "photos", environment={}, assignments=["preprocessing.crop_px=192"]
    )
    assert resolved.config.preprocessing.crop_px == 192
    assert resolved.config.preprocessing.resize_px == 256
    assert resolved.changes() == ["preprocessing.crop_px 224 -> 192"]


def test_weights_that_a_person_names_count_for_more_than_the_experiment():
    resolved = settings.resolve(
        "custom_hw_net",
        environment={},
        assignments=["train.weights=efficientnet_lite0"],
    )
    assert resolved.config.model.net == "efficientnet_lite0"
    assert resolved.config.preprocessing.standardise == "fixed"
    assert resolved.config.trainer.image_size_px == 224


def test_unknown_weights_name_the_nearest():
    with pytest.raises(ConfigError, match="no weights 'efficientnet_lite1'") as caught:
        resolve("train.weights=efficientnet_lite1")
    assert "did you mean 'efficientnet_lite0'" in caught.value.tip


def test_every_setting_has_help():
    for key, field in known_keys(PipelineConfig).items():
        assert field.metadata.get("help"), key


def test_later_layers_win_and_origins_say_so(tmp_path):
    path = write(
        tmp_path, "train: {epochs: 1, batch_size: 2, seed: 3}\ntrain.momentum: 0.5\n"
    )
    environment = {
        "SLIMLINE_TRAIN__BATCH_SIZE": "20",
        "SLIMLINE_TRAIN__SEED": "30",
        "SLIMLINE_ROOT": "elsewhere",
        "SLIMLINE_TEST_DATA": "somewhere",
        "OTHER_TRAIN__SEED": "4",
    }
    resolved = resolve("train.seed=300", config_file=path, environment=environment)
    train = resolved.config.train
    assert (train.epochs, train.batch_size, train.seed, train.momentum) == (
        1.0,
        20,
        300,
        0.5,
    )
    origins = resolved.origins
    assert origins["train.epochs"] == origins["train.momentum"] == f"--config {path}"
    assert origins["train.batch_size"] == "SLIMLINE_TRAIN__BATCH_SIZE"
    assert origins["train.seed"] == "--set"
    assert origins["train.ema_decay"] == "experiment"
    assert origins["train.cache_bytes"] == "default"


def test_changes_are_told_as_a_person_types_them():
    resolved = resolve(
        "augmentation.flip_left_right=yes", "train.epochs=30", "train.batch_size=64"
    )
    assert resolved.changes() == [
        "augmentation.flip_left_right false -> true",
        "train.epochs 40 -> 30",
    ]


@pytest.mark.parametrize(
    ("assignment", "key", "value"),
    [
        ("train.learning_rate=1e-3", "train.learning_rate", 0.001),
        ("train.batch_size=010", "train.batch_size", 10),
        ("train.batch_size= 12 ", "train.batch_size", 12),
        ("train.batch_size='12'", "train.batch_size", 12),
        ("augmentation.rot90=on", "augmentation.rot90", True),
        ("augmentation.rot90=false", "augmentation.rot90", False),
        ("train.optimizer=adam", "train.optimizer", "adam"),
        ("preprocessing.channels=3", "preprocessing.channels", 3),
        ("data.contract=2024", "data.contract", "2024"),
        ("data.path=a=b: c", "data.path", "a=b: c"),
        ("data.path='a b'", "data.path", "a b"),
        ("data.path=", "data.path", ""),
        ("serving.model_name=null", "serving.model_name", "null"),
    ],
)
def test_text_is_read_by_the_type_of_the_field(assignment, key, value):
    found = resolve(assignment).values()[key]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("train.batch_size=many", "a valid integer"),
        ("train.batch_size=6.5", "a valid integer"),
        ("train.batch_size=0", "greater than 0"),
        ("train.batch_size=true", "a valid integer"),
        ("train.batch_size=__import__('os')", "a valid integer"),
        ("train.epochs=inf", "a finite number"),
        ("train.epochs=nan", "greater than or equal to 0"),
        ("train.epochs=", "a valid number"),
        ("augmentation.rot90=perhaps", "a valid boolean"),
        (
            "train.optimizer=adm",
            "'momentum', 'nesterov', 'adam', 'adamw', 'rmsprop', 'gradient_descent' or"
            " 'muon'",
        ),
        ("preprocessing.channels=2", "1 or 3"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(assignment, expected):
    key, _, _ = assignment.partition("=")
    with pytest.raises(ConfigError) as caught:
        resolve(assignment)
    assert caught.value.message == f"setting '{key}' does not fit (--set)"
    assert caught.value.expected == expected
    assert caught.value.tip.startswith(f"{key}: ")


def test_booleans_are_no_numbers(tmp_path):
    with pytest.raises(ConfigError, match="not true or false"):
        resolve(config_file=write(tmp_path, "train: {epochs: true}"))


@pytest.mark.parametrize(
    ("key", "guess"),
    [
        ("train.epoch", "did you mean 'train.epochs' (now 40)?"),
        ("epochs", "did you mean 'train.epochs' (now 40)?"),
        ("batchsize", "did you mean 'train.batch_size' (now 64)?"),
        ("model.epochs", "did you mean 'train.epochs' (now 40)?"),
    ],
)
def test_unknown_key_names_the_nearest_and_its_value(key, guess):
    with pytest.raises(ConfigError) as caught:
        resolve(f"{key}=3")
    assert caught.value.message == f"unknown setting '{key}'"
    assert caught.value.tip == (
        f"{guess}   all settings: slimline experiments digits_resnet_20"
    )


def test_a_section_is_not_a_setting():
    with pytest.raises(ConfigError, match="'train' is a section, not a setting"):
        resolve("train=3")


def test_unknown_variable_is_an_error_that_names_it():
    with pytest.raises(ConfigError, match="SLIMLINE_TRAIN__EPOCH") as caught:
        resolve(environment={"SLIMLINE_TRAIN__EPOCH": "3"})
    assert "did you mean 'train.epochs'" in caught.value.tip


def test_order_of_assignments_never_matters():
    both = "train.epochs=3", "train.seed=4"
    assert resolve(*both).config == resolve(*reversed(both)).config


def test_one_key_twice():
    assert resolve("train.epochs=3", "train.epochs=3.0").config.train.epochs == 3
    with pytest.raises(ConfigError, match=r"'train\.epochs' is given twice") as caught:
        resolve("train.epochs=3", "train.epochs=4")
    assert caught.value.found == "3 (--set) and 4 (--set)"


def test_data_is_data_path_and_conflicts_with_another():
    resolved = resolve(data="images")
    assert resolved.config.data.path == "images"
    assert resolved.origins["data.path"] == "--data"
    with pytest.raises(ConfigError, match=r"'data\.path' is given twice"):
        resolve("data.path=others", data="images")


def test_python_settings_have_types():
    resolved = resolve(settings={"train.epochs": 3, "augmentation": {"rot90": True}})
    assert resolved.config.augmentation.rot90
    assert resolved.origins["train.epochs"] == "settings"


def test_tiny_is_below_the_other_layers():
    resolved = resolve("train.steps=5", is_tiny=True)
    assert resolved.config.train.steps == 5
    assert resolved.config.train.batch_size == 4
    assert resolved.origins["train.batch_size"] == "--tiny"
    assert resolved.changes() == ["train.steps 2 -> 5"]


def test_accepting_classes_is_said_where_settings_come_from():
    resolved = settings.resolve("folder", environment={})
    key = "evaluation.class_changes"
    assert resolved.values()[key] == "ask"
    accepting = settings.accepting_classes(resolved)
    assert accepting.values()[key] == "allow"
    assert accepting.origins[key] == "--accept-classes"
    assert f"{key} ask -> allow" in accepting.changes()


def test_what_is_refused_for_good_is_not_accepted_by_a_flag():
    refusing = settings.resolve(
        "folder", environment={}, assignments=["evaluation.class_changes=refuse"]
    )
    with pytest.raises(ConfigError, match="is 'refuse'") as info:
        settings.accepting_classes(refusing)
    assert "--accept-classes, but" in info.value.message
    assert "(--set)" in info.value.message


def test_name_is_fixed():
    assert resolve(f"name={NAME}").config.name == NAME
    with pytest.raises(ConfigError, match=r"the name of experiment .* is fixed"):
        resolve("name=other")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "holds no settings"),
        ("train: [\n", "is not YAML"),
        ("train: {epochs: 1}\ntrain: {epochs: 2}\n", "'train' stands twice"),
        ("train: {epochs: 1}\ntrain.epochs: 2\n", "given twice"),
        ("train: {epoch: 1}\n", "unknown setting 'train.epoch'"),
        ("!!python/object/apply:os.getcwd []\n", "is not YAML"),
        ("data: {path: 5}\n", "does not fit"),
    ],
)
def test_bad_files_are_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        resolve(config_file=write(tmp_path, text))


@pytest.mark.parametrize("text", ["", "# nothing\n", "train:\n"])
def test_empty_files_and_sections_say_nothing(tmp_path, text):
    path = write(tmp_path, text)
    assert resolve(config_file=path).config == experiments.find(NAME)


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        resolve(config_file=tmp_path / "none.yaml")


def test_unknown_experiment():
    with pytest.raises(ConfigError, match="unknown experiment 'digits'"):
        settings.resolve("digits", environment={})


def test_resolved_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        resolve().config.train.epochs = 3


def test_only_the_flag_makes_an_experiment_tiny():
    with pytest.raises(ConfigError, match="'is_tiny' cannot be changed"):
        settings.resolve(NAME, assignments=["is_tiny=true"], environment={})
    with pytest.raises(ConfigError, match="'is_tiny' cannot be changed"):
        settings.resolve(
            NAME, assignments=["is_tiny=false"], environment={}, is_tiny=True
        )


def test_a_section_may_be_given_as_a_mapping():
    found = settings.resolve(
        "folder",
        assignments=["data.columns={path: file name, label: dx}"],
        environment={},
    )
    assert found.config.data.columns.path == "file name"
    assert found.config.data.columns.label == "dx"
    assert found.origins["data.columns.label"] == "--set"
    with pytest.raises(ConfigError, match=r"unknown setting 'data.columns.lable'"):
        settings.resolve("folder", assignments=["data.columns={lable: dx}"])
    with pytest.raises(ConfigError, match="is not a mapping"):
        settings.resolve("folder", assignments=["data.columns={path: [}"])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("data.format=tiff", "'data.format' is not a layout"),
        ("data.splits=[exam]", "'data.splits' has 'exam'"),
        ("data.splits=[exam=later]", "'data.splits' has 'exam=later'"),
    ],
)
def test_answers_about_the_layout_are_checked(assignment, message):
    config = settings.resolve("folder", assignments=[assignment], environment={}).config
    with pytest.raises(ConfigError, match=message):
        answers.of(config.data)


def test_answers_travel_as_text():
    config = settings.resolve(
        "folder",
        assignments=["data.splits=[exam=test, a=b=none]", "data.class_from=parent"],
        environment={},
    ).config
    given = answers.of(config.data)
    assert given.splits == (("exam", "test"), ("a=b", "none"))
    assert type(given).from_json(given.to_json()) == given
    assert type(given).from_json("") == type(given)()
