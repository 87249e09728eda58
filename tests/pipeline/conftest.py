"""What tests of several parts of the pipeline have in common."""

import dataclasses
from collections.abc import Callable

import pytest
from tfx.dsl.compiler import compiler
from tfx.proto.orchestration import pipeline_pb2

from pipeline import dag, experiments
from pipeline.beam import engines
from schema import contract


@pytest.fixture
def compile_pipeline() -> Callable[..., pipeline_pb2.Pipeline]:
    """Compiles the pipeline of an experiment with other sections; runs nothing of it.

    Data without a contract of their own have that of digits.
    """

    def compiled(
        name: str = "digits_resnet_20", deploys: bool = True, **sections: object
    ) -> pipeline_pb2.Pipeline:
        config = dataclasses.replace(experiments.find(name), **sections)
        pipeline = dag.create_pipeline(
            config,
            contract.load(contract.find(config.data.contract or "digits")),
            dag.Locations("root", "root/serving/model", "data.tar", "f1"),
            engines.local(),
            pipeline_name="a-pipeline",
            deploys=deploys,
        )
        return compiler.Compiler().compile(pipeline)

    return compiled
