"""TFMA's files: its reader finds in them what its own evaluation of the same answers finds."""

import pathlib
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow_model_analysis as tfma

from components.model_evaluator import analysis, predictions, tfma_files
from pipeline.beam import engines
from schema import features

# TFMA takes names like numbers for numbers at some places.
LABELS = ("7", "œuf", "cat", "dog")
SETTINGS = analysis.Settings(LABELS, top_k=(2,), traits=("size", "source"))
COUNT = 36


@pytest.fixture(params=[("",), ("candidate", "baseline")], ids=["alone", "two"])
def models(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param


@pytest.fixture
def answers(models: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Prefix of the model's columns -> probabilities of the images."""
    random = np.random.default_rng(8)
    prefixes = ("", predictions.BASELINE_PREFIX)[: len(models)]
    return {
        prefix: random.dirichlet(np.ones(len(LABELS)), COUNT).astype(np.float32)
        for prefix in prefixes
    }


@pytest.fixture
def table(answers: dict[str, np.ndarray]) -> pd.DataFrame:
    random = np.random.default_rng(9)
    found = predictions.of_batch(
        [f"{number}".encode() for number in range(COUNT)],
        random.integers(len(LABELS) - 1, size=COUNT),  # no image is a dog
        answers,
        {
            "size": [("up to 32 px", "33 to 64 px")[n % 2] for n in range(COUNT)],
            "source": [(".", "a/b")[draw] for draw in random.integers(2, size=COUNT)],
        },
        predictions.schema(SETTINGS.traits, len(answers) > 1),
    )
    return found.to_pandas()


def test_tfma_reads_what_it_would_have_found(
    models: tuple[str, ...],
    answers: dict[str, np.ndarray],
    table: pd.DataFrame,
    tmp_path: pathlib.Path,
) -> None:
    paths = dict.fromkeys(models if len(models) > 1 else ["candidate"], "no/model")
    tfma_files.write(tmp_path / "found", table, SETTINGS, paths)
    config = tfma.load_eval_result(
        str(tmp_path / "found"), model_name=models[0] or None
    ).config
    _evaluate_by_tfma(tmp_path / "expected", config, answers, table)
    for model in models:
        found, expected = (
            tfma.load_eval_result(str(tmp_path / name), model_name=model or None)
            for name in ("found", "expected")
        )
        # The whole, three classes, two sizes and two sources.
        assert len(found.slicing_metrics) == 1 + 3 + 2 + 2
        assert _rounded(found.slicing_metrics) == _rounded(expected.slicing_metrics)
        assert len(found.plots) == len(expected.plots)
        assert _rounded(found.plots) == _rounded(expected.plots)


def _evaluate_by_tfma(
    folder: pathlib.Path,
    config: tfma.EvalConfig,
    answers: dict[str, np.ndarray],
    table: pd.DataFrame,
) -> None:
    """TFMA's own metrics, of answers that lie beside the features."""
    columns = {
        features.LABEL: table[predictions.LABEL].astype(np.int64),
        features.TEXT: [LABELS[label] for label in table[predictions.LABEL]],
        "trait_size": table["trait_size"],
        "trait_source": table["trait_source"],
    }
    for spec, (prefix, each) in zip(config.model_specs, answers.items(), strict=True):
        spec.prediction_key = f"{prefix}answer"
        columns[spec.prediction_key] = list(each)
    batch = pa.RecordBatch.from_pydict(
        {
            name: [
                value if isinstance(value, np.ndarray) else [value] for value in values
            ]
            for name, values in columns.items()
        }
    )
    with beam.Pipeline(argv=engines.local()) as pipeline:
        _ = (
            pipeline
            | beam.Create([batch])
            | tfma.ExtractEvaluateAndWriteResults(
                eval_config=config, output_path=str(folder)
            )
        )


def _rounded(slices: Any) -> dict[Any, Any]:
    """Slice -> what was found, floats to five places and without the places of zeros."""
    return {str(key): _plain(values) for key, values in slices}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return sorted(map(str, map(_plain, value)))
    return round(value, 5) if isinstance(value, float) else value
