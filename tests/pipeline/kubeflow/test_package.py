"""Compiled pipelines as files, their parameters and their cache."""

import copy
import pathlib

import pytest
import yaml

from common.errors import ConfigError
from pipeline.kubeflow import package as kubeflow_package

SPEC = {
    "pipelineInfo": {"name": "tiny"},
    "schemaVersion": "2.1.0",
    "root": {
        "dag": {
            "tasks": {
                "ingest": {
                    "taskInfo": {"name": "ingest"},
                    "componentRef": {"name": "ingest"},
                    "cachingOptions": {},
                },
                "train": {
                    "taskInfo": {"name": "train"},
                    "componentRef": {"name": "train"},
                    "cachingOptions": {"enableCache": True},
                },
            }
        },
        "inputDefinitions": {
            "parameters": {
                "data": {"parameterType": "STRING", "defaultValue": "/images"},
                "steps": {"parameterType": "NUMBER_INTEGER", "defaultValue": 0},
                "rate": {"parameterType": "NUMBER_DOUBLE", "isOptional": True},
                "shuffles": {"parameterType": "BOOLEAN", "defaultValue": True},
                "sizes": {"parameterType": "LIST", "defaultValue": [1]},
                "limits": {"parameterType": "STRUCT", "defaultValue": {}},
            }
        },
    },
    "components": {
        "ingest": {"executorLabel": "ingest_executor"},
        "train": {"executorLabel": "train_executor"},
    },
    "deploymentSpec": {
        "executors": {
            "ingest_executor": {"container": {"image": "registry/slimline:1"}},
            "train_executor": {"container": {"image": "registry/slimline:1"}},
        }
    },
}


def write(tmp_path: pathlib.Path, *documents: dict) -> pathlib.Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    return path


@pytest.fixture
def package(tmp_path: pathlib.Path) -> kubeflow_package.Package:
    return kubeflow_package.read(write(tmp_path, SPEC, {"platforms": {}}))


def test_what_a_file_tells(package: kubeflow_package.Package) -> None:
    assert package.name == "tiny"
    assert package.tasks == ["ingest", "train"]
    assert package.images == ["registry/slimline:1"]
    assert package.documents == (SPEC, {"platforms": {}})
    assert package.parameters["steps"] == kubeflow_package.Parameter(
        "NUMBER_INTEGER", 0, False
    )
    assert package.parameters["rate"] == kubeflow_package.Parameter(
        "NUMBER_DOUBLE", None, False
    )


def test_values_have_the_types_of_the_pipeline(
    package: kubeflow_package.Package,
) -> None:
    texts = ["steps=100", "rate=1e-3", "shuffles=False", "data=a=b", "sizes=[2, 3]"]
    values = kubeflow_package.values(package, [*texts, 'limits={"a": 1}', "steps=100"])
    assert values == {
        "steps": 100,
        "rate": 0.001,
        "shuffles": False,
        "data": "a=b",
        "sizes": [2, 3],
        "limits": {"a": 1},
    }
    assert isinstance(values["steps"], int)
    assert kubeflow_package.values(package, []) == {}


@pytest.mark.parametrize(
    ("assignments", "message", "found"),
    [
        (["steps"], "--parameter takes name=value", "steps"),
        (["steps=ten"], "parameter 'steps' is a whole number", "ten"),
        (["steps=1.5"], "parameter 'steps' is a whole number", "1.5"),
        (["rate="], "parameter 'rate' is a number", "''"),
        (["rate=nan"], "parameter 'rate' is a number", "nan"),
        (["shuffles=1"], "parameter 'shuffles' is true or false", "1"),
        (["sizes={}"], "parameter 'sizes' is a list in JSON", "{}"),
        (["limits=[]"], "parameter 'limits' is an object in JSON", "[]"),
        (["steps=1", "steps=2"], "parameter 'steps' is given twice", "1 and 2"),
        (["step=1"], "pipeline 'tiny' has no parameter 'step'", ""),
    ],
)
def test_wrong_values(
    package: kubeflow_package.Package, assignments: list[str], message: str, found: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        kubeflow_package.values(package, assignments)
    assert (caught.value.message, caught.value.found) == (message, found)
    if "no parameter" in message:
        assert caught.value.tip == "did you mean 'steps'?"


def test_a_parameter_without_default_is_needed(tmp_path: pathlib.Path) -> None:
    spec = copy.deepcopy(SPEC)
    del spec["root"]["inputDefinitions"]["parameters"]["data"]["defaultValue"]
    package = kubeflow_package.read(write(tmp_path, spec))
    with pytest.raises(ConfigError, match="pipeline 'tiny' needs a value for 'data'"):
        kubeflow_package.values(package, ["steps=1"])
    assert kubeflow_package.values(package, ["data=x"]) == {"data": "x"}


@pytest.mark.parametrize(
    ("enables_caching", "ingest", "train"),
    [
        (None, {}, {"enableCache": True}),
        (True, {"enableCache": True}, {"enableCache": True}),
        (False, {}, {}),
    ],
)
def test_caching_in_what_is_sent(
    package: kubeflow_package.Package,
    enables_caching: bool | None,
    ingest: dict,
    train: dict,
) -> None:
    with package.to_send(enables_caching) as path:
        sent, platform = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    tasks = sent["root"]["dag"]["tasks"]
    assert tasks["ingest"].pop("cachingOptions") == ingest
    assert tasks["train"].pop("cachingOptions") == train
    expected = copy.deepcopy(SPEC)
    for task in expected["root"]["dag"]["tasks"].values():
        del task["cachingOptions"]
    assert (sent, platform) == (expected, {"platforms": {}})
    assert package.documents[0] == SPEC
    assert not path.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no compiled pipeline"),
        ("train: {epochs: 3}", "holds no compiled pipeline"),
        ("- a\n- b", "holds no compiled pipeline"),
        ("pipelineInfo: {name: x}", "holds no compiled pipeline"),
        ("a: [", "is not YAML"),
        ("schemaVersion: 2.0.0", "is for another backend than Kubeflow Pipelines"),
        (
            "pipelineSpec: {schemaVersion: 2.0.0}",
            "is for another backend than Kubeflow Pipelines",
        ),
    ],
)
def test_other_files(tmp_path: pathlib.Path, text: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        kubeflow_package.read(path)
    assert "compile" in caught.value.tip


def test_a_platform_that_is_none(tmp_path: pathlib.Path) -> None:
    """The document behind the pipeline's, which names volumes and resources."""
    path = write(tmp_path, SPEC, {"platform": {}})
    with pytest.raises(ConfigError, match="holds no compiled pipeline") as caught:
        kubeflow_package.read(path)
    assert '"platform"' in caught.value.found


def test_no_file(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        kubeflow_package.read(tmp_path / "none.yaml")


@pytest.fixture
def scheduled(tmp_path: pathlib.Path):
    """Function (mount path of `train`) -> a pipeline whose runs may claim slots."""

    def make(mount_path: str = "/slimline/serving") -> kubeflow_package.Package:
        spec = copy.deepcopy(SPEC)
        spec["root"]["inputDefinitions"]["parameters"] |= {
            "slot": {"parameterType": "STRING", "defaultValue": ""},
            "serving_folder": {
                "parameterType": "STRING",
                "defaultValue": "/slimline/serving/cats",
            },
        }
        paths = {"ingest": "/slimline/serving", "train": mount_path}
        executors = {
            f"{name}_executor": {"pvcMount": [{"constant": "x", "mountPath": path}]}
            for name, path in paths.items()
        }
        platform = {
            "platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}
        }
        return kubeflow_package.read(write(tmp_path, spec, platform))

    return make


def test_a_schedule_hands_on_the_time(scheduled) -> None:
    package = scheduled()
    assert kubeflow_package.values_of_schedule(
        package, "nightly", {"steps": 1}, None
    ) == (
        {"steps": 1, "slot": "[[ScheduledTime]] nightly"},
        "",
    )
    ledger = kubeflow_package.ledger_of(package, {})
    assert ledger == pathlib.Path("/slimline/serving/schedule.sqlite")
    elsewhere = {"serving_folder": "/slimline/serving/more/dogs"}
    ledger = kubeflow_package.ledger_of(package, elsewhere)
    assert ledger == pathlib.Path("/slimline/serving/more/schedule.sqlite")
    with pytest.raises(ConfigError, match="'slot' is filled in by the schedule"):
        kubeflow_package.values_of_schedule(package, "nightly", {"slot": "1 a"}, None)


@pytest.mark.parametrize(
    ("mount_path", "given", "enables_caching", "reason"),
    [
        ("/slimline/serving/x", {}, None, "no volume holds /slimline/serving, so no"),
        (
            "/slimline/serving",
            {"serving_folder": "gs://bucket/serving/cats"},
            None,
            "no volume holds gs://bucket/serving, so no ledger can lie there",
        ),
        ("/slimline/serving", {}, True, "--enable-caching takes results of earlier"),
    ],
)
def test_why_no_slot_is_claimed(
    scheduled, mount_path, given, enables_caching, reason
) -> None:
    package = scheduled(mount_path)
    values, found = kubeflow_package.values_of_schedule(
        package, "nightly", given, enables_caching
    )
    assert values == given
    assert found.startswith(reason)


def test_pipelines_of_others_claim_nothing(package: kubeflow_package.Package) -> None:
    assert package.mounts == set()
    assert kubeflow_package.values_of_schedule(package, "nightly", {}, None) == (
        {},
        "the pipeline has no parameter 'slot'",
    )
