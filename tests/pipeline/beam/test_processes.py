"""Processes beside a run: what they do is what the local engine does, and they end."""

import os
import pathlib
import sys
import time

import apache_beam as beam
import pytest
from apache_beam.options import pipeline_options
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts

from common.errors import DataError
from components.image_example_gen import component, contracts
from pipeline.beam import engines, processes
from pipeline.config import EngineConfig
from schema import contract

LOCAL = EngineConfig()
MULTIPROCESS = EngineConfig(name="multiprocess", workers=2)
PORTABLE = EngineConfig(name="portable")
CLASSES = ("cat", "dog")
END_SECONDS = 60


@pytest.fixture(scope="module")
def started():
    """Pool and job service, for all jobs of this file: the pool imports for seconds."""
    with engines.started(PORTABLE):
        yield


@pytest.fixture
def ingest(tmp_path):
    """Function (engine, path) -> name -> bytes of the files of Examples."""
    schema = standard_artifacts.Schema()
    schema.uri = str(tmp_path / "contract")
    made = contracts.write_contract(
        CLASSES, formats=("png",), height_px=(8, 8), width_px=(8, 8)
    )
    contract.save(made, pathlib.Path(schema.uri))

    def run(engine: EngineConfig, path: pathlib.Path) -> dict[str, bytes]:
        examples = standard_artifacts.Examples()
        folder = tmp_path / f"{path.name}-{engine.name}"
        examples.uri = str(folder)
        context = base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=engines.arguments(engine)
        )
        component.ImageExampleGen_Executor(context).Do(
            {"contract": [schema]},
            {"examples": [examples]},
            {
                "input_path": str(path),
                "input_format": "auto",
                "input_fingerprint": "f",
                "eval_fraction": 0.1,
                "test_fraction": 0.2,
                "max_unreadable_share": 0.0,
                "channels": 3,
                "output_shards": 0,
                "source_fingerprint": "",
            },
        )
        # All but the names of classes: nothing of the work is left.
        return {
            str(file.relative_to(folder)): file.read_bytes()
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }

    return run


@pytest.mark.parametrize("engine", [MULTIPROCESS, PORTABLE], ids=lambda e: e.name)
@pytest.mark.parametrize("kind", ["folder", "pets.tar.gz"])
def test_the_same_bytes_as_local(
    engine, kind, ingest, fakes, tmp_path, started
) -> None:
    path = fakes.class_folders(tmp_path / "pets", CLASSES, per_class=150)
    if kind != "folder":
        path = fakes.pack(path, tmp_path / kind)
    expected = ingest(LOCAL, path)
    assert sum(name.startswith("Split-") for name in expected) == 6
    found = ingest(engine, path)
    # Both tell where the images came from, and nothing else differs.
    assert found == expected


@pytest.mark.parametrize("engine", [MULTIPROCESS, PORTABLE], ids=lambda e: e.name)
def test_refusals_of_workers_arrive_as_they_are(
    engine, ingest, fakes, tmp_path, started
) -> None:
    folder = fakes.class_folders(tmp_path / "pets", CLASSES)
    (folder / "cat" / "image_0001.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="1 of 40 images are unreadable"):
        ingest(engine, folder)


@pytest.mark.parametrize(
    ("engine", "workers"), [(MULTIPROCESS, 2), (PORTABLE, 1)], ids=lambda e: str(e)
)
def test_steps_run_in_forked_workers(engine, workers, tmp_path, started) -> None:
    def tell(element: int) -> None:
        place = tmp_path / f"{element}"
        place.write_text(f"{os.getpid()} {os.getppid()} {'tensorflow' in sys.modules}")

    run(engine, tell)
    told = {tuple(path.read_text().split()) for path in tmp_path.iterdir()}
    pids, parents, has_tensorflow = (set(each) for each in zip(*told, strict=True))
    assert len(pids) == workers
    assert str(os.getpid()) not in pids | parents
    assert len(parents) == 1
    assert has_tensorflow == {"True"}


def test_a_step_that_fails_fails_the_job(started) -> None:
    def fail(element: int) -> None:
        raise ValueError(f"element {element} is not wanted")

    for engine in (MULTIPROCESS, PORTABLE):
        with pytest.raises(RuntimeError, match=r"element \d+ is not wanted"):
            run(engine, fail)


def run(engine: EngineConfig, step) -> None:
    options = pipeline_options.PipelineOptions(engines.arguments(engine))
    with beam.Pipeline(options=options) as pipeline:
        _ = pipeline | beam.Create(range(40)) | beam.Reshuffle() | beam.Map(step)


def test_what_runs_already_is_used(started) -> None:
    before = ours()
    assert len(before) == 2
    with engines.started(PORTABLE), processes.worker_pool():
        assert ours() == before
    assert ours() == before


def test_they_end_with_the_run(monkeypatch) -> None:
    # As in a process that has none yet.
    monkeypatch.delenv(processes.POOL_VARIABLE, raising=False)
    monkeypatch.delenv(processes.SERVICE_VARIABLE, raising=False)
    before = ours()
    with pytest.raises(ZeroDivisionError), engines.started(PORTABLE):
        started_here = ours() - before
        assert len(started_here) == 2
        folder = pathlib.Path(os.environ[processes.POOL_VARIABLE]).parent
        assert folder.is_dir()
        raise ZeroDivisionError
    assert ours() == before
    assert not folder.exists()
    assert processes.POOL_VARIABLE not in os.environ
    with engines.started(LOCAL):
        assert ours() == before


def test_they_end_with_a_run_that_is_killed_in_a_job(warm_forks, tmp_path) -> None:
    script = pathlib.Path(__file__).with_name("killed_in_a_job.py")
    told = tmp_path / "pids"
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in (processes.POOL_VARIABLE, processes.SERVICE_VARIABLE)
    }
    run = warm_forks.start(["python", str(script), str(told)], tmp_path, environment)
    try:
        await_true(told.exists, "no worker began", seconds=300)
        lines = told.read_text().split()
        pids = {int(pid) for pid in lines[1::2]} | children_of(run.pid)
        assert len(pids) == 3  # worker, pool and job service
    finally:
        run.kill()
        run.wait()
    await_true(lambda: not any(map(is_alive, pids)), f"some of {pids} still run")


def test_a_pool_that_cannot_start_is_told(monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.delenv(processes.POOL_VARIABLE, raising=False)
    with (
        pytest.raises(
            RuntimeError, match=r"pipeline\.beam\.worker_pool serve .* code 1"
        ),
        processes.worker_pool(),
    ):
        pass


def ours() -> set[int]:
    """Pools and job services that this process has started."""
    return children_of(os.getpid())


def children_of(parent: int) -> set[int]:
    found = set()
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        is_one = (
            b"pipeline.beam.worker_pool" in command
            or b"pipeline.beam.job_service" in command
        )
        if int(fields[1]) == parent and is_one:
            found.add(int(folder.name))
    return found


def is_alive(pid: int) -> bool:
    try:
        status = (pathlib.Path("/proc") / str(pid) / "stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def await_true(condition, message: str, seconds: float = END_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, message
        time.sleep(0.1)
