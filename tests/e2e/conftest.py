"""A root with runs of a tiny, learnable experiment."""

import dataclasses
import importlib.util
import pathlib
from collections.abc import Callable
from types import ModuleType

import pytest

from pipeline import execution, experiments
from pipeline.config import EvaluationConfig, PipelineConfig
from pipeline.runs import runs
from pipeline.runs.summary import Summary
from trainer.config import as_json, flatten


@dataclasses.dataclass(frozen=True)
class House:
    """A root folder, data with their contract, and a way to run on them.

    Attributes:
      root: of the runs.
      data: images of ten classes in CIFAR-10's binary layout, as an archive.
      net: that is trained; where the net does not matter, one that is built in no time.
    """

    root: pathlib.Path
    data: pathlib.Path
    net: str

    @property
    def serving(self) -> pathlib.Path:
        """Where the versions of the model go."""
        return self.root / "serving" / "cifar10"

    def config(
        self, *, min_top_1: float = 0.0, test_time_views: str = "none", **train: object
    ) -> PipelineConfig:
        """The experiment cifar10_resnet_20 in its tiny form, with changes to its training."""
        config = experiments.tiny(experiments.cifar10_resnet_20())
        return dataclasses.replace(
            config,
            is_tiny=False,
            data=dataclasses.replace(
                config.data,
                path=str(self.data),
                eval_fraction=0.1,
                check_images=0,  # seconds a run; test_commands.py has a run with it
            ),
            model=dataclasses.replace(
                config.model, net=self.net, test_time_views=test_time_views
            ),
            train=dataclasses.replace(config.train, **train),
            evaluation=EvaluationConfig(
                min_top_1=min_top_1, max_top_1_drop=0.01, beats_guessing=False
            ),
        )

    def run(self, config: PipelineConfig) -> Summary:
        """One run in a folder of its own."""
        folder = runs.create(self.root, flatten(as_json(config)), {})
        return execution.run(config, root=self.root, run_folder=folder, origins={})


@pytest.fixture(scope="module", autouse=True)
def short_starts(forked_probes) -> None:
    """What runs start as processes of their own is forked."""


@pytest.fixture(scope="session")
def make_house(
    tmp_path_factory: pytest.TempPathFactory, new_fakes
) -> Callable[..., House]:
    """Function (net) -> House with data of its own and an empty root."""

    def make(net: str = "mlp_bn") -> House:
        folder = tmp_path_factory.mktemp("house")
        fakes = new_fakes(1)
        binary = fakes.cifar10_binary(folder / "cifar-10-batches-bin", 100)
        archive = fakes.pack(binary, folder / "cifar-10-binary.tar.gz")
        return House(folder / "runs", archive, net)

    return make


@pytest.fixture(scope="session")
def shared_house(make_house) -> House:
    """A root for tests of several files that bear what others did there."""
    return make_house()


@pytest.fixture(scope="session")
def two_steps(shared_house) -> Summary:
    """Summary of a run on the shared root, of two steps, which pushes its model."""
    return shared_house.run(shared_house.config(steps=2))


@pytest.fixture(scope="session")
def serve_process() -> ModuleType:
    """The module that starts `slimline serve` for the tests of the local server."""
    folder = pathlib.Path(__file__).parents[1] / "serving" / "local_server"
    spec = importlib.util.spec_from_file_location(
        "serve_process", folder / "serve_process.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
