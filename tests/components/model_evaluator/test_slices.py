"""The metrics of slices against those of TFMA's own evaluator, on the same batches."""

import pathlib
import pickle
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from tensorflow.python.autograph.core import ag_ctx

from components.model_evaluator import analysis, slices
from pipeline.beam import engines
from pushed_models import signatures
from schema import features

# TFMA takes names like numbers for numbers at some places.
LABELS = ("7", "œuf", "cat", "dog")
SETTINGS = analysis.Settings(LABELS, top_k=(2,), traits=("size", "source"))
SIZES, SOURCES = (b"up to 32 px", b"33 to 64 px"), (b".", b"a/b")
BATCH_SIZES = (5, 1, 30)


def batches(models: list[str]) -> list[dict[str, Any]]:
    random = np.random.default_rng(8)
    return [_batch(random, count, models) for count in BATCH_SIZES]


def _batch(
    random: np.random.Generator, count: int, models: list[str]
) -> dict[str, Any]:
    labels = random.integers(len(LABELS) - 1, size=count)  # no image is a dog

    def column(values: list[Any]) -> np.ndarray:
        return np.array([[value] for value in values], dtype=object)

    said = {name: _outputs(random, count) for name in models}
    return {
        tfma.FEATURES_KEY: {
            features.LABEL: labels[:, None],
            features.TEXT: column([LABELS[label].encode() for label in labels]),
            "trait_size": column([SIZES[n % 2] for n in range(count)]),
            "trait_source": column(
                [SOURCES[int(draw)] for draw in random.integers(2, size=count)]
            ),
        },
        tfma.PREDICTIONS_KEY: said if len(models) > 1 else said[models[0]],
    }


def _outputs(random: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    probabilities = random.dirichlet(np.ones(len(LABELS)), count).astype(np.float32)
    return {
        signatures.PROBABILITIES: probabilities,
        signatures.SCORES: -np.sort(-probabilities),
    }


@pytest.fixture(params=[[""], ["candidate", "baseline"]], ids=["alone", "two"])
def models(request: pytest.FixtureRequest) -> list[str]:
    return request.param


def test_metrics_and_plots_are_those_of_tfma(
    models: list[str], tmp_path: pathlib.Path
) -> None:
    config = analysis.eval_config(SETTINGS, has_baseline=len(models) > 1)
    expected = _evaluate(
        tmp_path / "expected",
        models,
        tfma.extractors.LabelsExtractor(config),
        tfma.extractors.UnbatchExtractor(),
        tfma.extractors.SliceKeyExtractor(eval_config=config),
        *tfma.default_evaluators(eval_config=config),
    )
    found = _evaluate(tmp_path / "found", models, slices.evaluator(config))
    # The whole, three classes, two sizes and two sources.
    assert found.keys() == expected.keys()
    assert len(found) == 1 + 3 + 2 + 2
    for key, values in expected.items():
        assert found[key].keys() == values.keys(), key
        for name, value in values.items():
            if isinstance(name, tfma.metrics.PlotKey):
                assert found[key][name] == value, (key, name)
            else:
                np.testing.assert_allclose(
                    found[key][name], value, rtol=0, atol=1e-6, err_msg=f"{key} {name}"
                )


def _evaluate(
    file: pathlib.Path, models: list[str], *stages: Any
) -> dict[Any, dict[Any, Any]]:
    """Slice -> key of metric or plot -> value; `file` carries them out of Beam."""
    *extractors, evaluator = stages
    with beam.Pipeline(argv=engines.local()) as pipeline:
        extracts = pipeline | beam.Create(batches(models))
        for each in extractors:
            extracts = extracts | each.stage_name >> each.ptransform
        evaluation = extracts | evaluator.stage_name >> evaluator.ptransform
        assert tfma.VALIDATIONS_KEY in evaluation
        _ = (
            [evaluation[tfma.METRICS_KEY], evaluation[tfma.PLOTS_KEY]]
            | beam.Flatten()
            | beam.combiners.ToList()
            | beam.Map(lambda found: file.write_bytes(pickle.dumps(found)))
        )
    collected: dict[Any, dict[Any, Any]] = {}
    for key, values in pickle.loads(file.read_bytes()):
        assert not set(values) & set(collected.setdefault(key, {}))
        collected[key] |= values
    return collected


def test_each_image_is_in_one_cell_and_in_all_its_slices(models: list[str]) -> None:
    specs = list(analysis.eval_config(SETTINGS, len(models) > 1).slicing_specs)
    for batch in batches(models):
        labels, images = [], 0
        for keys, inputs in slices.cells(batch, specs, models):
            images += len(inputs)
            labels += [int(each.labels[0]) for each in inputs]
            assert keys[0] == ()
            assert [key[0][0] for key in keys[1:]] == [
                features.TEXT,
                "trait_size",
                "trait_source",
            ]
            assert {LABELS[int(each.labels[0])] for each in inputs} == {keys[1][0][1]}
        assert images == len(batch[tfma.FEATURES_KEY][features.LABEL])
        assert sorted(labels) == sorted(batch[tfma.FEATURES_KEY][features.LABEL][:, 0])


class _Watched(beam.CombineFn):
    """Counts, and notes whether Keras's metrics would be rewritten here."""

    def create_accumulator(self) -> int:
        return 0

    def add_input(self, accumulator: int, inputs: Any) -> int:
        return accumulator + self._watch()

    def merge_accumulators(self, accumulators: Any) -> int:
        return sum(accumulators) * self._watch()

    def compact(self, accumulator: int) -> int:
        return accumulator * self._watch()

    def extract_output(self, accumulator: int) -> dict[str, int]:
        return {"count": accumulator * self._watch()}

    def _watch(self) -> int:
        assert ag_ctx.control_status_ctx().status is ag_ctx.Status.DISABLED
        return 1


def test_what_metrics_hold_back_keeps_no_batch(models: list[str]) -> None:
    """A view of one label kept the images of 128; 167,000 images took 300 MiB more."""
    (batch, *_) = batches(models)
    specs = list(analysis.eval_config(SETTINGS, len(models) > 1).slicing_specs)
    said = batch[tfma.PREDICTIONS_KEY]
    given = [batch[tfma.FEATURES_KEY][features.LABEL]]
    given += [
        (said[name] if len(models) > 1 else said)[signatures.PROBABILITIES]
        for name in models
    ]
    for _, inputs in slices.cells(batch, specs, models):
        for each in inputs:
            kept = each.prediction
            held = [each.label, *(kept.values() if len(models) > 1 else [kept])]
            for one, other in zip(held, given, strict=True):
                assert not np.shares_memory(one, other)


def test_metrics_run_as_they_are_written() -> None:
    accumulate, merge = slices._Accumulate([_Watched()]), slices._Merge([_Watched()])
    cells = [
        accumulate.extract_output(
            accumulate.add_input(accumulate.create_accumulator(), ["image"] * count)
        )
        for count in (3, 4)
    ]
    assert cells == [[3], [4]]
    whole = merge.create_accumulator()
    for cell in cells:
        whole = merge.add_input(whole, cell)
    assert merge.extract_output(whole) == {"count": 7}


def test_the_same_cell_may_go_into_several_slices() -> None:
    """Merging changes nothing in a cell, which Beam hands to each of its slices."""
    config = analysis.eval_config(SETTINGS, has_baseline=False)
    specs = list(config.slicing_specs)
    combiners = [each.combiner for each in slices.computations(config)[0]]
    accumulate, merge = slices._Accumulate(combiners), slices._Merge(combiners)
    accumulate.setup()
    merge.setup()
    batch = batches([""])[-1]
    cells = [
        accumulate.extract_output(
            accumulate.add_input(accumulate.create_accumulator(), inputs)
        )
        for _, inputs in slices.cells(batch, specs, [""])
    ]

    def top_1() -> float:
        whole = merge.create_accumulator()
        for cell in cells:
            whole = merge.add_input(whole, cell)
        (value,) = (
            value
            for key, value in merge.extract_output(whole).items()
            if key.name == analysis.TOP_1
        )
        return float(value)

    assert top_1() == top_1()
    said = batch[tfma.PREDICTIONS_KEY][signatures.PROBABILITIES].argmax(axis=1)
    hits = said == batch[tfma.FEATURES_KEY][features.LABEL][:, 0]
    assert top_1() == pytest.approx(hits.mean(), abs=1e-6)
