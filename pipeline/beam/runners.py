"""Beam runners that use `pipeline.beam.processes`; --runner takes their dotted names."""

import os

from apache_beam import pipeline as beam_pipeline
from apache_beam.options import pipeline_options
from apache_beam.runners.portability import job_server, portable_runner
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.transforms import environments

from pipeline.beam import processes


def _pool_environment() -> environments.Environment:
    return environments.SubprocessSDKEnvironment.from_command_string(
        processes.worker_command()
    )


class PoolRunner(fn_runner.FnApiRunner):
    """Runs a job here, with its steps in worker processes of the pool, over gRPC."""

    def __init__(self) -> None:
        super().__init__(default_environment=_pool_environment())

    def run_pipeline(
        self,
        pipeline: beam_pipeline.Pipeline,
        options: pipeline_options.PipelineOptions,
    ) -> fn_runner.RunnerResult:
        """See base class. Starts a pool for the job where the run has none."""
        with processes.worker_pool():
            return super().run_pipeline(pipeline, options)


class JobServiceRunner(portable_runner.PortableRunner):
    """Sends a job to the job service of the run."""

    def default_environment(
        self, options: pipeline_options.PipelineOptions
    ) -> environments.Environment:
        """See base class. Workers come from the pool."""
        return _pool_environment()

    def default_job_server(
        self, options: pipeline_options.PipelineOptions
    ) -> job_server.JobServer:
        """See base class.

        Raises:
          RuntimeError: none was started.
        """
        endpoint = os.environ.get(processes.SERVICE_VARIABLE)
        if endpoint is None:
            raise RuntimeError(
                "no job service runs: pipeline.beam.engines.started keeps one"
            )
        return job_server.ExternalJobServer(endpoint)
