"""The pipeline for the stock `tfx` command on Vertex AI.

    export SLIMLINE_IMAGE=europe-docker.pkg.dev/PROJECT/images/slimline:0.1.0
    export SLIMLINE_PIPELINE_ROOT=gs://BUCKET/pipelines
    export SLIMLINE_EXPERIMENT=cifar10_resnet_20 SLIMLINE_DATA=gs://BUCKET/cifar10.tar.gz
    tfx pipeline create --engine=vertex --pipeline_path=pipeline/vertex_runner.py
    tfx run create --engine=vertex --pipeline_name=cifar10-resnet-20-cifar10 \
        --project=PROJECT --region=REGION --runtime_parameter=steps=100

The variables of `pipeline.tfx_command` and the two above say what is compiled. `create` keeps
the compiled job, and `run create` sends it. Resources and retries need
`slimline pipeline compile --engine vertex`.
"""

import json
import os
import pathlib

from common.errors import ConfigError
from pipeline import tfx_command
from pipeline.kubeflow import runner
from storage import durable

IMAGE = "SLIMLINE_IMAGE"
PIPELINE_ROOT = "SLIMLINE_PIPELINE_ROOT"


def main() -> None:
    """Writes the compiled job where the `tfx` command wants it."""
    with tfx_command.calling("vertex"):
        image = os.environ.get(IMAGE, "")
        if not image:
            raise ConfigError(
                f"{IMAGE} is not set", expected="the reference of the project's image"
            )
        target = runner.Target(
            image=image,
            pipeline_root=os.environ.get(PIPELINE_ROOT, ""),
            schema_version=runner.VERTEX_SCHEMA,
        )
        compiler = runner.dag_runner(target)
        config = tfx_command.resolve().config
        (job,) = runner.compile_pipeline(config, target, compiler)
        # The command sets both, and has no public name for them; else the working folder.
        path = pathlib.Path(compiler._output_dir, compiler._output_filename)
        durable.write_text(path, json.dumps(job, indent=2, sort_keys=True))


if __name__ == "__main__":
    main()
