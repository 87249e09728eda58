"""What the cache serves, by real runs of two small components."""

import pathlib
import shutil
from collections.abc import Callable

import pytest
from tfx.dsl.components.common import importer
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.types import standard_artifacts

from components.baseline_model.component import BaselineModel
from components.baseline_model.component import Executor as FetchExecutor
from components.data_contract.component import DataContract
from components.data_contract.component import Executor as ContractExecutor
from pipeline import fingerprint
from pipeline.observed_runner import ComponentResult, ObservedRunner, Outcome

Run = Callable[[], dict[str, ComponentResult]]
PROJECT = fingerprint.ROOT


@pytest.fixture
def project(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A copy of our source, of which the fingerprints are."""
    for package in ("schema", "components"):
        shutil.copytree(PROJECT / package, tmp_path / "project" / package)
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def run(tmp_path: pathlib.Path, project: pathlib.Path) -> Run:
    """Runs a pipeline of the contract and the baseline; component -> result."""
    serving = tmp_path / "serving" / "cats"
    (serving / "1").mkdir(parents=True)
    (serving / "1" / "saved_model.pb").write_text("a graph")
    (tmp_path / "candidate").mkdir()
    number = 0

    def run() -> dict[str, ComponentResult]:
        nonlocal number
        number += 1
        candidate = importer.Importer(
            str(tmp_path / "candidate"), standard_artifacts.Model
        ).with_id("candidate")
        contract = DataContract(
            "feature {}", fingerprint.source(DataContract.__module__)
        ).with_id("contract")
        baseline = BaselineModel(
            candidate.outputs["result"],
            str(serving),
            fingerprint.source(BaselineModel.__module__),
        ).with_id("baseline")
        runner = ObservedRunner(lambda name, outputs: Outcome(""), f"run-{number}")
        runner.run(
            tfx_pipeline.Pipeline(
                "two-components",
                str(tmp_path / "runs" / "two-components"),
                components=[candidate, contract, baseline],
                enable_cache=True,
                metadata_connection_config=metadata.sqlite_metadata_connection_config(
                    str(tmp_path / "runs" / "metadata.sqlite")
                ),
            )
        )
        return runner.results

    return run


def raise_error(*arguments: object) -> None:
    raise RuntimeError("the executor ran")


@pytest.mark.parametrize(
    ("name", "executor"),
    [("data_contract", ContractExecutor), ("baseline_model", FetchExecutor)],
)
def test_an_executor_that_was_changed_runs(
    run: Run,
    project: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    executor: type,
) -> None:
    assert not run()["contract"].is_cached
    monkeypatch.setattr(executor, "Do", raise_error)
    assert run()["contract"].is_cached and run()["baseline"].is_cached
    file = project / "components" / name / "component.py"
    file.write_text(
        f"{file.read_text()}\n# Whatever changed: a fingerprint is of all of it.\n"
    )
    with pytest.raises(RuntimeError, match="the executor ran"):
        run()
