"""ImageExampleGen: labelled images to Examples in the splits train, eval and test."""

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.image_example_gen import executor, layouts


class ImageExampleGenSpec(component_spec.ComponentSpec):
    """Channels and properties of ImageExampleGen."""

    PARAMETERS: dict[str, Any] = {
        "input_path": component_spec.ExecutionParameter(type=str),
        "input_format": component_spec.ExecutionParameter(type=str),
        "input_answers": component_spec.ExecutionParameter(type=str),
        "input_fingerprint": component_spec.ExecutionParameter(type=str),
        "input_spans": component_spec.ExecutionParameter(type=str),
        "window_spans": component_spec.ExecutionParameter(type=int),
        "eval_fraction": component_spec.ExecutionParameter(type=float),
        "test_fraction": component_spec.ExecutionParameter(type=float),
        "split_seed": component_spec.ExecutionParameter(type=int),
        "max_unreadable_share": component_spec.ExecutionParameter(type=float),
        "channels": component_spec.ExecutionParameter(type=int),
        "output_shards": component_spec.ExecutionParameter(type=int),
        "source_fingerprint": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: dict[str, Any] = {
        executor.CONTRACT_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Schema
        )
    }
    OUTPUTS: dict[str, Any] = {
        executor.EXAMPLES_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples
        )
    }


class ImageExampleGen(base_beam_component.BaseBeamComponent):
    """Reads a folder or an archive of labelled images.

    Their layouts are those of `layouts.registry`. The output artifact is what TFX's own ExampleGens give, and
    holds `summary.json` and `quarantine.jsonl` besides.
    """

    SPEC_CLASS = ImageExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        contract: types.BaseChannel,
        input_path: Any,
        *,
        input_format: Any = layouts.AUTO,
        input_answers: Any = "",
        input_fingerprint: Any = "",
        input_spans: Any = "",
        window_spans: Any = 1,
        eval_fraction: Any = 0.1,
        test_fraction: Any = 0.1,
        split_seed: Any = 0,
        max_unreadable_share: Any = 0.01,
        channels: Any = 3,
        output_shards: Any = 0,
        source_fingerprint: Any = "",
    ):
        """Makes the component. Every property may be a RuntimeParameter.

        Args:
          contract: channel of the data set's schema; its string domain of
            `image/class/text` numbers the classes.
          input_path: str, folder or archive, or a pattern of them with `{SPAN}` or a date
            (`spans`).
          input_format: str, 'auto' or one of `layouts.FORMATS`.
          input_answers: str, what else a person decided about the layout
            (`layouts.Answers.to_json`); its format gives way to `input_format`.
          input_fingerprint: str, of the contents (`fingerprint.fingerprint`); TFX's cache
            compares properties, not files.
          input_spans: str, which spans of the pattern to read (`spans.pin`); '' takes the
            newest that are there when the component runs.
          window_spans: int, how many spans to read as one data set; unused where they are
            named.
          eval_fraction: float, share of train cut for eval where the data have none.
          test_fraction: float, the same for test.
          split_seed: int, another draw of both for every value.
          max_unreadable_share: float, share of images that may be left out as unreadable.
          channels: int, 1 or 3; raw formats must agree, image files stay as they are.
          output_shards: int, files a split; 0 means files of 100 to 200 MB, at least 4 for
            train (`shards.number_of`).
          source_fingerprint: str, of the code, for the cache.
        """
        super().__init__(
            ImageExampleGenSpec(
                contract=contract,
                input_path=input_path,
                input_format=input_format,
                input_answers=input_answers,
                input_fingerprint=input_fingerprint,
                input_spans=input_spans,
                window_spans=window_spans,
                eval_fraction=eval_fraction,
                test_fraction=test_fraction,
                split_seed=split_seed,
                max_unreadable_share=max_unreadable_share,
                channels=channels,
                output_shards=output_shards,
                source_fingerprint=source_fingerprint,
                examples=types.Channel(type=standard_artifacts.Examples),
            )
        )
