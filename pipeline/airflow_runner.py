"""The pipeline as a DAG of Airflow 2: a task per component, each the `slimline` command.

It needs nothing but Airflow and the checkout: link it into the folder of DAGs of an environment of Airflow's
own (`make airflow-env`), and say there

    SLIMLINE_COMMAND            the command in the project's environment; 'slimline'
    SLIMLINE_EXPERIMENT         'digits_resnet_20'
    SLIMLINE_ROOT               folder of runs and models, absolute
    SLIMLINE_FOLDER             project's folder, in which tasks run: contracts are found
                                there, and relative paths begin there; the parent of
                                SLIMLINE_ROOT, without it the checkout that was linked
    SLIMLINE_DATA               folder or archive of the images
    SLIMLINE_AIRFLOW_SCHEDULE   cron expression or '@daily'; without it started by hand
    SLIMLINE_TINY               1 to try the chain

Settings are SLIMLINE_<SECTION>__<KEY> for the command. A model that the gate refuses fails
`evaluate`, and `push` does not run. A task that is cleared takes what it reads from the
tasks of its own DAG run, whatever has run since, and the same span of the data.
"""

import datetime
import os
import pathlib
import runpy
import shlex
from collections.abc import Mapping

from airflow import DAG
from airflow.operators.bash import BashOperator

# By its path: Airflow's environment has none of our packages.
_ORDER = runpy.run_path(str(pathlib.Path(__file__).resolve().with_name("order.py")))
# Component -> those whose results it reads.
UPSTREAM: dict[str, tuple[str, ...]] = {
    name: _ORDER["UPSTREAM"][name] for name in _ORDER["ALWAYS"]
}
DEFAULT_EXPERIMENT = "digits_resnet_20"
# Runs that are missed are not made up for, so it only has to be past.
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def make_dag(environment: Mapping[str, str]) -> DAG:
    """DAG of the experiment that the environment names."""
    experiment = environment.get("SLIMLINE_EXPERIMENT") or DEFAULT_EXPERIMENT
    dag = DAG(
        dag_id=f"slimline-{experiment}",
        description=f"{experiment} from images to a pushed model",
        schedule=environment.get("SLIMLINE_AIRFLOW_SCHEDULE") or None,
        start_date=START,
        catchup=False,
        # A task stands on what the run of the task before it has left.
        max_active_runs=1,
        max_active_tasks=1,
        tags=["slimline"],
    )
    tasks = {
        component: BashOperator(
            task_id=component,
            bash_command=_command(environment, experiment, component),
            cwd=_folder(environment),
            env={"SLIMLINE_GROUP": "{{ run_id }}"},
            append_env=True,
            dag=dag,
        )
        for component in UPSTREAM
    }
    for component, upstream in UPSTREAM.items():
        for name in upstream:
            tasks[name] >> tasks[component]
    return dag


def _folder(environment: Mapping[str, str]) -> str:
    if folder := environment.get("SLIMLINE_FOLDER"):
        return folder
    root = environment.get("SLIMLINE_ROOT", "")
    if root and "://" not in root:  # beside an object store there is no folder
        return str(pathlib.Path(root).parent)
    return str(pathlib.Path(__file__).resolve().parents[1])


def _command(environment: Mapping[str, str], experiment: str, component: str) -> str:
    words = [environment.get("SLIMLINE_COMMAND") or "slimline", "run", experiment]
    words += ["--from", component, "--to", component, "--plain"]
    for option, variable in (("--root", "SLIMLINE_ROOT"), ("--data", "SLIMLINE_DATA")):
        if value := environment.get(variable):
            words += [option, value]
    if environment.get("SLIMLINE_TINY", "") not in ("", "0"):
        words.append("--tiny")
    return shlex.join(words)


dag = make_dag(os.environ)
