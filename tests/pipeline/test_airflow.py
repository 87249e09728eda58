"""The DAG for Airflow: alone, and in Airflow's own environment where there is one."""

import importlib
import json
import os
import pathlib
import subprocess
import sys
import types

import pytest

ROOT = pathlib.Path(__file__).parents[2]
AIRFLOW = ROOT / ".venv-airflow" / "bin"
SECONDS = 600


class Task:
    """An operator that only notes what it is called with."""

    def __init__(self, **values):
        self.values = values
        self.upstream: set[str] = set()
        values["dag"].tasks[values["task_id"]] = self

    def __rshift__(self, other):
        other.upstream.add(self.values["task_id"])
        return other


class Dag:
    """A DAG that only notes what it is called with."""

    def __init__(self, **values):
        self.values = values
        self.tasks: dict[str, Task] = {}


@pytest.fixture
def airflow_runner(monkeypatch):
    """The module, with a stand-in for Airflow."""
    modules = {
        "airflow": {"DAG": Dag},
        "airflow.operators": {},
        "airflow.operators.bash": {"BashOperator": Task},
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "pipeline.airflow_runner", raising=False)
    yield importlib.import_module("pipeline.airflow_runner")
    sys.modules.pop("pipeline.airflow_runner", None)


def edges_of(compile_pipeline) -> dict[str, set[str]]:
    return {
        node.pipeline_node.node_info.id: set(node.pipeline_node.upstream_nodes)
        for node in compile_pipeline().nodes
    }


def test_tasks_and_edges_are_the_pipelines(compile_pipeline, airflow_runner) -> None:
    made = airflow_runner.make_dag({})
    found = {name: task.upstream for name, task in made.tasks.items()}
    assert found == edges_of(compile_pipeline)


def test_the_environment_says_what_and_when(airflow_runner) -> None:
    made = airflow_runner.make_dag(
        {
            "SLIMLINE_COMMAND": "/opt/slim line/bin/slimline",
            "SLIMLINE_EXPERIMENT": "cifar10_resnet_20",
            "SLIMLINE_ROOT": "/data/runs",
            "SLIMLINE_DATA": "/data/cifar 10.tar.gz",
            "SLIMLINE_AIRFLOW_SCHEDULE": "0 3 * * *",
            "SLIMLINE_TINY": "0",
        }
    )
    assert made.values["dag_id"] == "slimline-cifar10_resnet_20"
    assert made.values["schedule"] == "0 3 * * *"
    assert made.values["catchup"] is False
    assert (made.values["max_active_runs"], made.values["max_active_tasks"]) == (1, 1)
    assert made.tasks["train"].values["bash_command"] == (
        "'/opt/slim line/bin/slimline' run cifar10_resnet_20 --from train --to train"
        " --plain --root /data/runs --data '/data/cifar 10.tar.gz'"
    )
    assert made.tasks["train"].values["cwd"] == "/data"
    assert made.tasks["train"].values["env"] == {"SLIMLINE_GROUP": "{{ run_id }}"}
    bare = airflow_runner.make_dag({"SLIMLINE_TINY": "1"})
    assert bare.tasks["push"].values["cwd"] == str(ROOT)
    elsewhere = airflow_runner.make_dag({"SLIMLINE_FOLDER": "/srv/cats"})
    assert elsewhere.tasks["push"].values["cwd"] == "/srv/cats"
    assert bare.values["schedule"] is None
    assert bare.tasks["push"].values["bash_command"] == (
        "slimline run digits_resnet_20 --from push --to push --plain --tiny"
    )


@pytest.fixture(scope="module")
def airflow(tmp_path_factory):
    """Function (program, *arguments) -> output, in Airflow's environment."""
    if not (AIRFLOW / "airflow").exists():
        pytest.skip("Airflow's environment is not there: make airflow-test builds it")
    home = tmp_path_factory.mktemp("airflow")
    (home / "dags").mkdir()
    (home / "dags" / "slimline.py").symlink_to(ROOT / "pipeline" / "airflow_runner.py")
    environment = {
        "PATH": os.defpath,
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "SLIMLINE_COMMAND": str(pathlib.Path(sys.executable).with_name("slimline")),
        "SLIMLINE_ROOT": str(home / "runs"),
        "SLIMLINE_TINY": "1",
        "SLIMLINE_AIRFLOW_SCHEDULE": "0 3 * * *",
    }

    def run(program: str, *arguments: str) -> str:
        done = subprocess.run(
            [AIRFLOW / program, *arguments],
            env=environment,
            cwd=home,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    run("airflow", "db", "migrate")
    return run


SHOW = """
import json
from airflow.models import DagBag
bag = DagBag()
found = {
    "errors": bag.import_errors,
    "dags": {
        name: {
            "schedule": str(dag.timetable.summary),
            "edges": {task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks},
        }
        for name, dag in bag.dags.items()
    },
}
print(json.dumps(found))
"""


@pytest.mark.nightly
@pytest.mark.e2e
def test_airflow_loads_the_dag(compile_pipeline, airflow) -> None:
    found = json.loads(airflow("python", "-c", SHOW).splitlines()[-1])
    assert found["errors"] == {}
    (made,) = found["dags"].values()
    assert list(found["dags"]) == ["slimline-digits_resnet_20"]
    assert made["schedule"] == "0 3 * * *"
    edges = {name: set(upstream) for name, upstream in made["edges"].items()}
    assert edges == edges_of(compile_pipeline)


@pytest.mark.nightly
@pytest.mark.e2e
def test_airflow_runs_tasks(airflow) -> None:
    """One after another, the second on what the first has left."""
    dag_id = "slimline-digits_resnet_20"
    for component, told in (("contract", "10 classes"), ("ingest", "1,797 images")):
        output = airflow("airflow", "tasks", "test", dag_id, component, "2026-11-26")
        assert told in output
        assert "did its part" in output
        assert "Marking task as SUCCESS" in output
