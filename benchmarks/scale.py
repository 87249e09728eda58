"""Memory and speed of a run's stages on many small images, each stage in its own process.

    python benchmarks/scale.py --images 60000,1000000 --folder /tmp/scale

Makes CIFAR-10 binary releases of made-up 32 px images; a sixth of them is cut for test. Each
stage is the component as a run has it, by the engine `local`: ingest, StatisticsGen, the
check, Transform, one epoch of a small net that reads every image from the files, and the
evaluation of test. Told are images a second and the largest resident memory of the process.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import machine

STAGES = (
    "contract",
    "ingest",
    "statistics",
    "check",
    "transform",
    "train",
    "baseline",
    "evaluate",
)
# These look at images, and their memory might grow with their number.
MEASURED = ("ingest", "statistics", "check", "transform", "train", "evaluate")
IMAGES_A_FILE = 10_000
SIZE_PX = 32
BLOTS = 4
TEST_FRACTION = 1 / 6
NET = "lenet"
STDERR_LINES = 15
OUTPUTS = "outputs.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and writes; 0, or 2 with a sentence where a stage fails."""
    options = _parser().parse_args(arguments)
    if options.worker:
        print(json.dumps(_stage(options.worker, options.folder)))
        return 0
    header = machine.header("scale")
    results = []
    for count in options.images:
        folder = options.folder.resolve() / f"{count}"
        if not (folder / "data").is_dir():
            write_images(folder / "data", count)
        for stage in STAGES:
            if stage in options.skip or (folder / stage / OUTPUTS).is_file():
                continue
            found = _in_process(stage, folder)
            if found is None:
                return 2
            if stage in MEASURED:
                result = {"stage": stage, "images": count, **found}
                results.append(result)
                print(
                    f"{count:>9,} {stage:<10} {found['seconds']:8.1f} s"
                    f" {count / found['seconds']:8,.0f} images/s,"
                    f" {found['cpu_seconds']:8.1f} s of processors,"
                    f" {found['peak_bytes'] / 2**20:6,.0f} MiB",
                    flush=True,
                )
                machine.write(options.json, header, results)
        if not options.keep:
            shutil.rmtree(folder)
    return 0


def write_images(folder: pathlib.Path, count: int) -> None:
    """Writes a CIFAR-10 binary release of `count` images without a file for test."""
    import numpy as np

    folder.mkdir(parents=True)
    upscale = np.zeros([SIZE_PX, BLOTS], np.float32)
    places = np.linspace(0, BLOTS - 1, SIZE_PX)
    upscale[np.arange(SIZE_PX), places.astype(int)] = 1 - places % 1
    upscale[np.arange(SIZE_PX - 1), places[:-1].astype(int) + 1] += places[:-1] % 1
    random = np.random.default_rng(1)
    for number, first in enumerate(range(0, count, IMAGES_A_FILE), 1):
        size = min(IMAGES_A_FILE, count - first)
        labels = random.integers(10, size=[size, 1])
        blots = random.integers(0, 256, [size, 3, BLOTS, BLOTS]).astype(np.float32)
        blots[:, 0, 0, 0] = 25 * labels[:, 0]  # something to learn
        images = upscale @ blots @ upscale.T
        images += random.integers(-4, 5, images.shape)
        pixels = np.clip(images, 0, 255).astype(np.uint8).reshape(size, -1)
        content = np.concatenate([labels.astype(np.uint8), pixels], axis=1)
        (folder / f"data_batch_{number}.bin").write_bytes(content.tobytes())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--images",
        type=lambda text: [int(count) for count in text.split(",")],
        default=[60_000, 1_000_000],
        help="sizes of data sets, joined by commas",
    )
    parser.add_argument(
        "--folder",
        type=pathlib.Path,
        required=True,
        help="for images and artifacts, 15 KB an image; what is finished is not redone",
    )
    parser.add_argument("--keep", action="store_true", help="leave the artifacts")
    parser.add_argument(
        "--skip", type=lambda text: text.split(","), default=[], help="stages"
    )
    parser.add_argument("--json", type=pathlib.Path, help="file for the result")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


def _in_process(stage: str, folder: pathlib.Path) -> dict[str, Any] | None:
    done = subprocess.run(
        [sys.executable, __file__, f"--worker={stage}", f"--folder={folder}"],
        env=os.environ | {"PYTHONPATH": str(machine.ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-STDERR_LINES:])
        print(f"error: {stage} failed:\n{tail}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def _stage(name: str, folder: pathlib.Path) -> dict[str, Any]:
    """Runs a component of the pipeline on what the others left in `folder`."""
    from tfx.dsl.components.base import base_beam_executor, base_executor

    component, beam_arguments = _component(name, folder)
    executor_class = component.executor_spec.executor_class
    kind: Any = base_executor.BaseExecutor
    more: dict[str, Any] = {}
    if issubclass(executor_class, base_beam_executor.BaseBeamExecutor):
        kind = base_beam_executor.BaseBeamExecutor
        more = {"beam_pipeline_args": beam_arguments}
    scratch = folder / name / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    context = kind.Context(tmp_dir=str(scratch), unique_id="1", **more)
    inputs = {
        key: [_load(folder, channel.producer_component_id, channel.output_key)]
        for key, channel in component.inputs.items()
    }
    outputs = {
        key: _make(folder, name, key, channel)
        for key, channel in component.outputs.items()
    }
    start, cpu_start = time.monotonic(), time.process_time()
    executor_class(context).Do(
        inputs,
        {key: [artifact] for key, artifact in outputs.items()},
        dict(component.exec_properties),
    )
    seconds, cpu_seconds = time.monotonic() - start, time.process_time() - cpu_start
    saved = {key: each.to_json_dict() for key, each in outputs.items()}
    (folder / name / OUTPUTS).write_text(json.dumps(saved))
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_bytes": _peak_bytes(),
    }


def _component(name: str, folder: pathlib.Path) -> tuple[Any, list[str]]:
    from pipeline import dag, experiments
    from pipeline.beam import engines
    from pipeline.config import EngineConfig
    from schema import contract

    config = experiments.find("cifar10_resnet_20")
    config = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, test_fraction=TEST_FRACTION),
        model=dataclasses.replace(config.model, net=NET),
        train=dataclasses.replace(
            config.train, epochs=1, learning_rate=0.01, cache_bytes=0
        ),
        schedule=dataclasses.replace(config.schedule, warmup_epochs=0),
    )
    beam_arguments = engines.arguments(EngineConfig())
    made = dag.create_pipeline(
        config,
        contract.load(contract.find("cifar10")),
        dag.Locations(
            pipeline_root=str(folder),
            serving_folder=str(folder / "serving"),
            input_path=str(folder / "data"),
            input_fingerprint="",
        ),
        beam_arguments,
        pipeline_name="scale",
    )
    (component,) = (each for each in made.components if each.id == name)
    return component, beam_arguments


def _make(folder: pathlib.Path, name: str, key: str, channel: Any) -> Any:
    artifact = channel.type()
    path = folder / name / key / "1"
    path.mkdir(parents=True, exist_ok=True)
    artifact.uri = str(path)
    return artifact


def _load(folder: pathlib.Path, producer: str, key: str) -> Any:
    from tfx.types import artifact

    saved = json.loads((folder / producer / OUTPUTS).read_text())
    return artifact.Artifact.from_json_dict(saved[key])


def _peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    status = pathlib.Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    sys.exit(main())
