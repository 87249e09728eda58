"""The backend refuses what Kubeflow's refuses, and hands on no more than it does."""

import json
import sys
import textwrap

import pytest
import yaml

# Writes what it was given into its output, and a number, a list and a flag as metadata.
FIRST = """
    import json, os, sys
    given = json.loads(sys.argv[1])
    artifact = given["outputs"]["artifacts"]["model"]["artifacts"][0]
    folder = artifact["uri"].replace("minio://", os.environ["LOCAL"] + "/minio/")
    os.makedirs(folder)
    with open(folder + "/given.json", "w") as file:
        json.dump(given, file)
    artifact["metadata"] = {"steps": 3, "splits": ["train"], "is_good": True}
    os.makedirs(os.path.dirname(given["outputs"]["outputFile"]), exist_ok=True)
    with open(given["outputs"]["outputFile"], "w") as file:
        json.dump({"artifacts": {"model": {"artifacts": [artifact]}}}, file)
"""
# Reads its input, and looks for the folder of a task that it does not name.
SECOND = """
    import json, os, sys
    given = json.loads(sys.argv[1])
    uri = given["inputs"]["artifacts"]["model"]["artifacts"][0]["uri"]
    folder = uri.replace("minio://", os.environ["LOCAL"] + "/minio/")
    found = {
        "given": given,
        "files": os.listdir(folder),
        "others": os.path.exists(folder.replace("/first/", "/other/")),
        "HOME": os.environ["HOME"],
        "working_folder": os.listdir("."),
    }
    out = given["outputs"]["artifacts"]["report"]["artifacts"][0]["uri"]
    with open(out.replace("minio://", os.environ["LOCAL"] + "/minio/"), "w") as file:
        json.dump(found, file)
"""


def container(program: str) -> dict:
    return {
        "container": {
            "image": "example/image:1",
            "command": [sys.executable, "-c", textwrap.dedent(program)],
            "args": ["{{$}}"],
        }
    }


def artifact(title: str) -> dict:
    return {"artifactType": {"schemaTitle": title, "schemaVersion": "0.0.1"}}


@pytest.fixture
def document() -> dict:
    """A pipeline of three tasks: `second` reads `first`, `other` stands alone."""
    writes = {"outputDefinitions": {"artifacts": {"model": artifact("system.Model")}}}
    return {
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.13.0",
        "pipelineInfo": {"name": "a-pipeline"},
        "components": {
            "first": {
                "executorLabel": "first",
                "inputDefinitions": {
                    "parameters": {
                        "steps": {"parameterType": "NUMBER_INTEGER"},
                        "name": {"parameterType": "STRING"},
                    }
                },
                **writes,
            },
            "other": {"executorLabel": "first", **writes},
            "second": {
                "executorLabel": "second",
                "inputDefinitions": {"artifacts": {"model": artifact("system.Model")}},
                "outputDefinitions": {
                    "artifacts": {"report": artifact("system.Artifact")}
                },
            },
        },
        "deploymentSpec": {
            "executors": {"first": container(FIRST), "second": container(SECOND)}
        },
        "root": {
            "inputDefinitions": {
                "parameters": {
                    "steps": {
                        "parameterType": "NUMBER_INTEGER",
                        "defaultValue": 7,
                        "isOptional": True,
                    }
                }
            },
            "dag": {
                "tasks": {
                    "first": {
                        "taskInfo": {"name": "first"},
                        "componentRef": {"name": "first"},
                        "inputs": {
                            "parameters": {
                                "steps": {"componentInputParameter": "steps"},
                                "name": {"runtimeValue": {"constant": "a name"}},
                            }
                        },
                    },
                    "other": {
                        "taskInfo": {"name": "other"},
                        "componentRef": {"name": "other"},
                    },
                    "second": {
                        "taskInfo": {"name": "second"},
                        "componentRef": {"name": "second"},
                        "dependentTasks": ["first", "other"],
                        "inputs": {
                            "artifacts": {
                                "model": {
                                    "taskOutputArtifact": {
                                        "producerTask": "first",
                                        "outputArtifactKey": "model",
                                    }
                                }
                            }
                        },
                    },
                }
            },
        },
    }


@pytest.fixture
def load(kubeflow, tmp_path):
    """Function (document) -> spec, by way of a file."""

    def write_and_load(document: dict):
        path = tmp_path / "pipeline.yaml"
        path.write_text(yaml.safe_dump(document))
        return kubeflow.load(path)

    return write_and_load


@pytest.fixture
def backend(kubeflow, tmp_path):
    return kubeflow.Backend(tmp_path)


def run(backend, spec, tmp_path, **parameters):
    return backend.run(spec, parameters, {"LOCAL": str(tmp_path / "scratch")})


def test_a_container_gets_what_the_backend_gives(
    backend, load, document, tmp_path
) -> None:
    result = run(backend, load(document), tmp_path)
    assert result.order == ["first", "other", "second"]
    given = json.loads((result.artifacts["first", "model"] / "given.json").read_text())
    assert given["inputs"]["parameterValues"] == {"steps": 7.0, "name": "a name"}
    assert isinstance(given["inputs"]["parameterValues"]["steps"], float)
    (output,) = given["outputs"]["artifacts"]["model"]["artifacts"]
    assert output["uri"] == "minio://pipelines/a-pipeline/run-1/first/model"
    assert output["type"]["schemaTitle"] == "system.Model"


def test_an_input_has_id_and_metadata_but_no_type(
    backend, load, document, tmp_path
) -> None:
    result = run(backend, load(document), tmp_path)
    found = json.loads(result.artifacts["second", "report"].read_text())
    (artifact,) = found["given"]["inputs"]["artifacts"]["model"]["artifacts"]
    assert artifact == {
        "name": "1",
        "uri": "minio://pipelines/a-pipeline/run-1/first/model",
        "metadata": {"steps": 3.0, "splits": {"list": ["train"]}, "is_good": 1.0},
    }


def test_a_container_sees_only_its_inputs(backend, load, document, tmp_path) -> None:
    result = run(backend, load(document), tmp_path)
    found = json.loads(result.artifacts["second", "report"].read_text())
    assert found["files"] == ["given.json"]
    assert not found["others"]
    assert found["working_folder"] == []
    assert found["HOME"].startswith(str(tmp_path))


def test_parameters_of_the_run_go_before_defaults(
    kubeflow, backend, load, document, tmp_path
) -> None:
    spec = load(document)
    result = run(backend, spec, tmp_path, steps=9)
    given = json.loads((result.artifacts["first", "model"] / "given.json").read_text())
    assert given["inputs"]["parameterValues"]["steps"] == 9.0
    with pytest.raises(kubeflow.Refused, match="no parameter"):
        run(backend, spec, tmp_path, stepz=9)


def test_a_failure_tells_task_and_last_lines(
    kubeflow, backend, load, document, tmp_path
) -> None:
    document["deploymentSpec"]["executors"]["first"] = container(
        "raise SystemExit('no disk left')"
    )
    with pytest.raises(kubeflow.TaskFailed, match=r"'first'(.|\n)*no disk left"):
        run(backend, load(document), tmp_path)


def refuse_resolver(document: dict) -> None:
    document["deploymentSpec"]["executors"]["second"] = {
        "resolver": {"outputArtifactQueries": {"model": {"filter": "x"}}}
    }


def refuse_hook(document: dict) -> None:
    document["deploymentSpec"]["executors"]["first"]["container"]["lifecycle"] = {
        "preCacheCheck": {"command": ["python"], "args": ["driver.py"]}
    }


def refuse_old_schema(document: dict) -> None:
    document["schemaVersion"] = "2.0.0"


@pytest.mark.parametrize(
    "change, reason",
    [
        (refuse_resolver, "is a resolver"),
        (refuse_hook, "lifecycle hook"),
        (refuse_old_schema, "schema version '2.0.0'"),
    ],
)
def test_what_the_open_source_backend_cannot_run(
    kubeflow, load, document, change, reason
) -> None:
    change(document)
    with pytest.raises(kubeflow.Refused, match=reason):
        load(document)


def test_an_unknown_field_is_no_spec(load, document) -> None:
    document["root"]["dag"]["tasks"]["first"]["resolverHook"] = {}
    with pytest.raises(Exception, match="resolverHook"):
        load(document)


def test_tasks_that_wait_for_each_other(
    kubeflow, backend, load, document, tmp_path
) -> None:
    document["root"]["dag"]["tasks"]["first"]["dependentTasks"] = ["second"]
    with pytest.raises(kubeflow.Refused, match="wait for each other"):
        run(backend, load(document), tmp_path)
