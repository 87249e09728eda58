"""The Trainer's entry point: wiring only.

TFX reloads this module, so it holds functions only.
"""

import dataclasses
import json
import pathlib

import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from schema import contract, durable
from trainer import export, input_pipeline, training
from trainer.config import TrainerConfig, from_json

# What a run's summary reads beside the exported model.
RESULT_FILE = "training.json"


def run_fn(fn_args: FnArgs) -> None:
    """Trains on `train`, selects on `eval`, exports the best weights.

    Args:
      fn_args: `custom_config` holds `{'config': TrainerConfig as a dict}`.
    """
    config = from_json(TrainerConfig, fn_args.custom_config["config"])
    schema_path = pathlib.Path(fn_args.schema_path)
    labels = contract.labels_of(
        contract.parse_schema(schema_path.read_text(encoding="utf-8"), str(schema_path))
    )
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    cache_bytes = config.train.cache_bytes
    run_dir = pathlib.Path(fn_args.model_run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    result = training.train(
        config,
        input_pipeline.load_split(fn_args.train_files, transform, cache_bytes),
        input_pipeline.load_split(fn_args.eval_files, transform, cache_bytes),
        len(labels),
        run_dir,
    )
    export.export(
        fn_args.serving_model_dir,
        config,
        transform,
        labels,
        result.checkpoint,
        result.best.weights,
    )
    durable.write_text(
        run_dir / RESULT_FILE,
        json.dumps(
            {
                "net": config.model.net,
                "parameters": result.parameters,
                "steps": result.steps,
                "best": dataclasses.asdict(result.best),
            }
        ),
    )
