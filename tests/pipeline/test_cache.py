"""What the cache serves and what it does not, by real runs of small pipelines."""

import logging
import pathlib
import shutil
from collections.abc import Callable

import pytest
from tfx.components import StatisticsGen
from tfx.dsl.components.common import importer
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.types import standard_artifacts

from common.errors import DataError
from components import artifacts
from components.baseline_model.component import BaselineModel
from components.data_contract.component import DataContract
from components.image_example_gen import reports
from components.image_example_gen.component import ImageExampleGen
from pipeline import fingerprint
from pipeline.beam import engines
from pipeline.observed_runner import ComponentResult, ObservedRunner, Outcome
from pipeline.runs import run_store
from schema import contract

Run = Callable[[], dict[str, ComponentResult]]
PROJECT = fingerprint.ROOT


@pytest.fixture
def project(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A copy of our source, of which the fingerprints are."""
    for package in ("common", "storage", "schema", "pushed_models", "components"):
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
        data_contract = DataContract(
            schema_pbtxt="feature {}",
            source_fingerprint=fingerprint.source(DataContract.__module__),
        ).with_id("contract")
        baseline = BaselineModel(
            model=candidate.outputs["result"],
            serving_folder=str(serving),
            source_fingerprint=fingerprint.source(BaselineModel.__module__),
        ).with_id("baseline")
        runner = ObservedRunner(lambda name, outputs: Outcome(""), f"run-{number}")
        runner.run(
            tfx_pipeline.Pipeline(
                "two-components",
                str(tmp_path / "runs" / "two-components"),
                components=[candidate, data_contract, baseline],
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
    [
        ("data_contract", DataContract.EXECUTOR_SPEC.executor_class),
        ("baseline_model", BaselineModel.EXECUTOR_SPEC.executor_class),
    ],
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


@pytest.mark.parametrize("content", [b"no database" * 100, None])
def test_without_its_store_a_root_begins_again(
    run: Run, tmp_path: pathlib.Path, content: bytes | None
) -> None:
    """The folders of earlier executions stay as they are; the live version is found."""
    before = run()
    store = tmp_path / "runs" / "metadata.sqlite"
    if content:
        store.write_bytes(content)
    else:
        store.unlink()
    run_store.prepare(store)
    after = run()
    for name, channel in (("contract", "schema"), ("baseline", "baseline_model")):
        assert not after[name].is_cached
        (old,), (new,) = before[name].outputs[channel], after[name].outputs[channel]
        assert int(pathlib.Path(new.uri).name) > int(pathlib.Path(old.uri).name)
        assert artifacts.damage(old, needs_manifest=True) == ""
    (baseline,) = after["baseline"].outputs["baseline_model"]
    assert baseline.get_string_custom_property("version") == "1"
    assert run()["baseline"].is_cached


class Ingest:
    """Runs of contract, ingest, statistics and baseline on one root."""

    def __init__(self, folder: pathlib.Path, images: pathlib.Path):
        self.folder = folder
        self._images = images
        self._run = 0
        version = folder / "serving" / "cats" / "1"
        (version / "variables").mkdir(parents=True)
        (version / "saved_model.pb").write_text("a graph")
        (version / "variables" / "variables.data").write_bytes(bytes(100))
        (folder / "candidate").mkdir()

    def run(self) -> dict[str, ComponentResult]:
        self._run += 1
        candidate = importer.Importer(
            str(self.folder / "candidate"), standard_artifacts.Model
        ).with_id("candidate")
        schema = contract.load(contract.find("cifar10"))
        data_contract = DataContract(
            schema_pbtxt=schema.schema_pbtxt, source_fingerprint=""
        ).with_id("contract")
        ingest = ImageExampleGen(
            contract=data_contract.outputs["schema"],
            input_path=str(self._images),
            test_fraction=0.2,
        ).with_id("ingest")
        statistics = StatisticsGen(
            examples=ingest.outputs["examples"], schema=data_contract.outputs["schema"]
        ).with_id("statistics")
        baseline = BaselineModel(
            model=candidate.outputs["result"],
            serving_folder=str(self.folder / "serving" / "cats"),
            source_fingerprint="",
        ).with_id("baseline")
        runner = ObservedRunner(lambda name, outputs: Outcome(""), f"run-{self._run}")
        runner.run(
            tfx_pipeline.Pipeline(
                "ingest-only",
                str(self.folder / "runs" / "ingest-only"),
                components=[candidate, data_contract, ingest, statistics, baseline],
                enable_cache=True,
                metadata_connection_config=metadata.sqlite_metadata_connection_config(
                    str(self.folder / "runs" / "metadata.sqlite")
                ),
                beam_pipeline_args=engines.local(),
            )
        )
        return runner.results


@pytest.fixture(scope="module")
def ingest(tmp_path_factory: pytest.TempPathFactory, new_fakes: type) -> Ingest:
    folder = tmp_path_factory.mktemp("ingest")
    images = new_fakes(1).cifar10_binary(folder / "cifar-10-batches-bin", 40)
    ingest = Ingest(folder, images)
    ingest.run()
    return ingest


def remove(path: pathlib.Path) -> None:
    path.unlink()


def truncate(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: pathlib.Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])


def empty_folder(path: pathlib.Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()


def add(path: pathlib.Path) -> None:
    shutil.copy(path, path.with_name("data_tfrecord-00009-of-00010.gz"))


# By day a kind of damage an artifact; what a manifest sees is tested in storage/test_manifest.py.
@pytest.mark.parametrize(
    ("component", "channel", "file", "damage", "reason", "affected"),
    [
        pytest.param(
            "ingest",
            "examples",
            "Split-train/data_tfrecord-00002-of-00004.gz",
            remove,
            "Split-train/data_tfrecord-00002-of-00004.gz is missing",
            {"ingest", "statistics"},
            marks=pytest.mark.nightly,
        ),
        (
            "ingest",
            "examples",
            "Split-train/data_tfrecord-00001-of-00004.gz",
            truncate,
            "Split-train/data_tfrecord-00001-of-00004.gz has ",
            {"ingest", "statistics"},
        ),
        pytest.param(
            "ingest",
            "examples",
            "Split-eval/data_tfrecord-00000-of-00001.gz",
            empty_folder,
            "Split-eval/data_tfrecord-00000-of-00001.gz is missing",
            {"ingest", "statistics"},
            marks=pytest.mark.nightly,
        ),
        pytest.param(
            "ingest",
            "examples",
            "Split-test/data_tfrecord-00000-of-00001.gz",
            add,
            "Split-test/data_tfrecord-00009-of-00010.gz is not in the manifest",
            {"ingest", "statistics"},
            marks=pytest.mark.nightly,
        ),
        (
            "baseline",
            "baseline_model",
            "Format-Serving/variables/variables.data",
            flip,
            "Format-Serving/variables/variables.data is not what was written",
            {"baseline"},
        ),
        pytest.param(
            "statistics",
            "statistics",
            "Split-train/FeatureStats.pb",
            flip,
            "Split-train/FeatureStats.pb is not what was written",
            {"statistics"},
            marks=pytest.mark.nightly,
        ),
        (
            "contract",
            "schema",
            "schema.pbtxt",
            remove,
            "schema.pbtxt is missing",
            {"contract", "ingest", "statistics"},
        ),
    ],
)
def test_a_damaged_artifact_is_computed_again(
    ingest: Ingest,
    caplog: pytest.LogCaptureFixture,
    component: str,
    channel: str,
    file: str,
    damage: Callable[[pathlib.Path], None],
    reason: str,
    affected: set[str],
) -> None:
    before = ingest.run()
    assert all(result.is_cached for result in before.values())
    (artifact,) = before[component].outputs[channel]
    damage(pathlib.Path(artifact.uri) / file)
    with caplog.at_level(logging.WARNING, "slimline.run"):
        after = ingest.run()
    (message,) = (
        record.getMessage()
        for record in caplog.records
        if record.name == "slimline.run"
    )
    assert message.startswith(f"{artifact.uri} is computed again: {reason}")
    anew = {name for name, result in after.items() if not result.is_cached}
    assert anew == affected
    (made,) = after[component].outputs[channel]
    assert made.uri != artifact.uri
    assert artifacts.damage(made, needs_manifest=True) == ""


def test_what_a_file_manager_leaves_is_no_damage(ingest: Ingest) -> None:
    (examples,) = ingest.run()["ingest"].outputs["examples"]
    (pathlib.Path(examples.uri) / ".DS_Store").touch()
    assert all(result.is_cached for result in ingest.run().values())


def test_the_manifest_tells_what_was_ingested(ingest: Ingest) -> None:
    (examples,) = ingest.run()["ingest"].outputs["examples"]
    counts = artifacts.counts_of(examples)
    assert counts == reports.read_summary(examples.uri)["images_per_class"]
    assert set(counts) == {"train", "eval", "test"}


def test_components_refuse_damaged_inputs(
    ingest: Ingest, tmp_path: pathlib.Path
) -> None:
    """As in a part of the pipeline, or where the cache is not ours."""
    (schema,) = ingest.run()["contract"].outputs["schema"]
    copy = standard_artifacts.Schema()
    copy.uri = str(tmp_path / "schema")
    shutil.copytree(schema.uri, copy.uri)
    artifacts.write(copy)
    truncate(pathlib.Path(copy.uri) / "schema.pbtxt")
    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path / "examples")
    with pytest.raises(
        DataError, match=r"schema is damaged\s+found: schema\.pbtxt has "
    ):
        ImageExampleGen.EXECUTOR_SPEC.executor_class().Do(
            {"contract": [copy]}, {"examples": [examples]}, {}
        )
