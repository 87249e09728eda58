"""Image classification from labelled images to a served model.

import slimline as sl

run = sl.run("cifar10_resnet_20", data="cifar-10-binary.tar.gz")
model = sl.load("cifar10")
model.predict(["cat.png"])

server = sl.connect("http://localhost:8501", "cifar10")
server.predict(["cat.png"])
"""

import importlib.metadata
import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from slimline import data, errors, roots
from slimline.roots import StrPath
from slimline.run_result import Run, Sweep

if TYPE_CHECKING:
    import pandas as pd

    from pushed_models.models import PushedModel
    from report.comparing import Comparison
    from serving.batch_inference.running import Result
    from serving.client import Client
    from serving.local_model import LocalModel
    from slimline.evaluation import Evaluation
    from slimline.origins import Lineage
    from slimline.verdicts import Verdict

__all__ = [
    "Run",
    "Sweep",
    "__version__",
    "compare",
    "connect",
    "data",
    "errors",
    "evaluate",
    "experiments",
    "lineage",
    "load",
    "models",
    "nets",
    "predict",
    "run",
    "runs",
    "sweep",
    "why",
]

logging.getLogger("slimline").addHandler(logging.NullHandler())


def __getattr__(name: str) -> str:
    """`__version__` of the installed package, read on first use."""
    if name == "__version__":
        return importlib.metadata.version("slimline")
    raise AttributeError(f"module 'slimline' has no attribute '{name}'")


def __dir__() -> list[str]:
    """The public API alone."""
    return sorted(__all__)


def run(
    experiment: str,
    data: StrPath | None = None,
    settings: Mapping[str, Any] | None = None,
    root: StrPath = "runs",
    *,
    use_cache: bool = True,
) -> Run:
    """Trains, evaluates, gates and pushes one experiment; see `slimline run`.

    A notebook shows its progress in one bar; logs are in `log.txt` of the run.

    Args:
      experiment: name of an experiment.
      data: folder or archive of the images; None for an experiment that brings its own.
      settings: dotted key -> value, as {"train.epochs": 30}. They override
        SLIMLINE_<SECTION>__<KEY> of the environment.
      root: folder of the runs.
      use_cache: False runs every component again.

    Returns:
      The outcome; `passed` is False for a model that was refused.

    Raises:
      ConfigError, DataError, TrainError: what the caller can fix.
    """
    from pipeline import inputs
    from pipeline import settings as pipeline_settings
    from pipeline.beam import engines
    from pipeline.runs import pushed, runs
    from slimline import notebook, session

    resolved = pipeline_settings.resolve(
        experiment, data=None if data is None else os.fspath(data), settings=settings
    )
    root = roots.local(root)
    with notebook.without_noise():  # of TensorFlow, which some layouts load
        inputs.look(resolved.config, root)
    engines.check(resolved.config.engine)
    pushed.check(resolved.config, root)
    folder = runs.create(root, resolved.values(), resolved.origins)
    with (
        notebook.shown(folder) as listener,
        session.prepared(resolved, folder, listener),
    ):
        from pipeline import execution  # loads TensorFlow

        return Run(
            execution.run(
                resolved.config,
                root=root,
                run_folder=folder,
                origins=resolved.origins,
                use_cache=use_cache,
            )
        )


def sweep(
    name: str,
    data: StrPath | None = None,
    settings: Mapping[str, Any] | None = None,
    root: StrPath = "runs",
) -> Sweep:
    """Trains the members of a sweep and compares them; see `slimline sweep`.

    Args:
      name: of the sweep.
      data: folder or archive of the images.
      settings: dotted key -> value, for all members.
      root: folder of the runs.

    Returns:
      A row a member; a failed one has a note instead of figures.

    Raises:
      ConfigError, DataError: what the caller can fix.
    """
    from pipeline import inputs
    from pipeline import settings as pipeline_settings
    from pipeline.beam import engines
    from pipeline.runs import runs
    from pipeline.sweeps import registry
    from slimline import notebook, session

    registry.find(name)
    resolved = pipeline_settings.resolve(
        registry.experiment_of(name),
        data=None if data is None else os.fspath(data),
        settings=settings,
    )
    members = registry.configs(name, resolved.config)
    for config in members.values():
        inputs.check(config)
    engines.check(resolved.config.engine)
    root = roots.local(root)
    folder = runs.create(root, resolved.values(), resolved.origins)
    with (
        notebook.shown(folder) as listener,
        session.prepared(resolved, folder, listener),
    ):
        from pipeline.sweeps import execution  # loads TensorFlow

        rows = execution.run(
            members, root=root, run_folder=folder, origins=resolved.origins
        )
    return Sweep(folder, tuple(rows))


def compare(*wanted: Run | StrPath, root: StrPath = "runs") -> "Comparison":
    """Finished runs side by side; see `slimline compare`.

    Args:
      *wanted: two or more runs, each a `Run`, its folder as a `Path`, its name, its two
        words, a prefix, or 'run/member' of a sweep. The first is compared with the others.
      root: folder of the runs.

    Returns:
      Settings that differ, differences with intervals; `to_frame()` has the figures.

    Raises:
      ConfigError: fewer than two, or one is unknown, not finished, or given twice.
    """
    from slimline import notebook

    with notebook.without_noise():
        from pipeline.runs import comparison as run_comparison

        return run_comparison.compare(
            roots.local(root), [_wanted(each) for each in wanted]
        )


def runs(root: StrPath = "runs") -> "pd.DataFrame":
    """A row a run under `root`, the newest last, with verdict and figures; see `slimline runs`."""
    import pandas as pd

    from slimline import tables

    names = ("run", "experiment", "verdict", "test_top_1", "eval_top_1")
    columns = [*names, "seconds", "version"]
    rows = tables.of_runs(roots.local(root))
    return pd.DataFrame(rows, columns=columns).set_index("run")


def why(run: Run | StrPath = "latest", root: StrPath = "runs") -> "Verdict":
    """Why the gate passed or refused the model of a run; see `slimline why`.

    Args:
      run: a `Run`, its folder as a `Path`, or a name; the newest by default.
      root: folder of the runs.

    Raises:
      ConfigError: there is no such run, or it did not finish.
    """
    from slimline import verdicts

    return verdicts.of_run(roots.local(root), _wanted(run))


def lineage(target: Run | StrPath = "latest", root: StrPath = "runs") -> "Lineage":
    """Where a model came from; see `slimline lineage`.

    Args:
      target: a run as in `why`, 'digits@17', or the folder of a version.
      root: folder of the runs.

    Raises:
      ConfigError: there is no such target, or nothing is known of it.
    """
    from slimline import notebook, origins

    with notebook.without_noise():
        return origins.of_target(roots.local(root), _wanted(target))


def experiments(name: str | None = None) -> "pd.DataFrame":
    """The experiments, or the settings of one; see `slimline experiments`.

    Args:
      name: of an experiment: a row per setting, with value and meaning. None: a row per
        experiment.

    Raises:
      ConfigError: there is no such experiment.
    """
    import pandas as pd

    from slimline import tables

    if name is None:
        return pd.DataFrame(tables.of_experiments()).set_index("name")
    return pd.DataFrame.from_dict(tables.of_settings(name), orient="index")


def nets(
    name: str | None = None,
    *,
    image_size_px: int | None = None,
    channels: int | None = None,
    num_classes: int | None = None,
) -> "pd.DataFrame":
    """The nets, or the layers of one; see `slimline nets`.

    Args:
      name: of a net: a row per layer. None: a row per net, as its reference has it.
      image_size_px, channels, num_classes: of the net `name`; the reference's where None.

    Raises:
      ConfigError: there is no such net, or it takes no such images.
    """
    import pandas as pd

    from slimline import tables
    from trainer.nets import geometry, registry

    if name is None:
        return pd.DataFrame(tables.of_nets()).set_index("name")
    layers = geometry.layer_rows(
        registry.find(name),
        image_size_px=image_size_px,
        channels=channels,
        num_classes=num_classes,
    )
    return pd.DataFrame(map(tables.of_layer, layers)).set_index("name")


def load(
    name_or_path: StrPath | Run | None = None, root: StrPath = "runs"
) -> "LocalModel":
    """Loads a model: a pushed one, or that of a run, also where it was refused.

    Args:
      name_or_path: 'cifar10' (live version), 'cifar10@6', the folder of a SavedModel, or
        a run: what `run` returned, its name or its folder; None for the only model under
        `root`.
      root: folder of the runs.

    Raises:
      ConfigError: there is no such model.
    """
    from serving import local_model
    from slimline import notebook

    if isinstance(name_or_path, Run):
        name_or_path = name_or_path.folder
    with notebook.without_noise():
        from slimline import evaluation

        folder = evaluation.model_folder(roots.local(root), name_or_path)
        return local_model.LocalModel.load(folder)


def evaluate(
    model: "LocalModel | Run | StrPath",
    data: StrPath,
    split: str | None = None,
    root: StrPath = "runs",
    settings: Mapping[str, Any] | None = None,
    *,
    by_number: bool = False,
    skips_unknown: bool = False,
) -> "Evaluation":
    """Measures a model on any labelled images; see `slimline evaluate`.

    Args:
      model: what `load` takes or returned.
      data: folder or archive of labelled images.
      split: 'train', 'eval', 'test' or 'all'; None for 'test', 'all' where the data have no
        test split.
      root: folder of the runs.
      settings: of the layout, dotted key -> value, as {"data.format": "idx"}.
      by_number: the data number their classes; number k is label k of the model.
      skips_unknown: leave out images of classes that the model does not know.

    Returns:
      `metrics`, `figures` with intervals and classes, `notes`; `to_frame()` has the classes.

    Raises:
      ConfigError: there is no such model or split.
      DataError: the data cannot be read, or have classes that the model does not know.
    """
    from slimline import notebook

    with notebook.without_noise():
        from serving.local_model import LocalModel
        from slimline import evaluation
        from slimline.data import config

        return evaluation.measure(
            model if isinstance(model, LocalModel) else load(model, root),
            data,
            config(settings),
            split=split,
            by_number=by_number,
            skips_unknown=skips_unknown,
        )


def connect(
    address: str,
    model: str | None = None,
    *,
    token: str = "",
    headers: Mapping[str, str] | None = None,
    ca_file: StrPath = "",
    batch_size: int = 64,
    concurrency: int = 4,
    deadline_seconds: float = 30.0,
    attempts: int = 5,
) -> "Client":
    """A model on a server, TensorFlow Serving or `slimline serve`; `close` or `with` ends it.

    Args:
      address: 'http://HOST:PORT' for REST, 'grpc://HOST:PORT' for gRPC, with 'https' and
        'grpcs' encrypted.
      model: 'cifar10', 'cifar10@6' (that version) or 'cifar10:canary' (the version with
        that label); None for the only model of a local server.
      token: bearer token.
      headers: sent with every request.
      ca_file: PEM file of the certificate authorities to trust.
      batch_size: images a request, at most.
      concurrency: requests in progress at once, at most.
      deadline_seconds: for each request, attempts and waits included.
      attempts: at most, where the server cannot be reached or is busy.

    Raises:
      ConfigError: address, model or a header is malformed. No request is sent yet.
    """
    from serving import client

    return client.Client(
        address,
        model,
        token=token,
        headers=headers,
        ca_file=os.fspath(ca_file),
        batch_size=batch_size,
        concurrency=concurrency,
        deadline_seconds=deadline_seconds,
        attempts=attempts,
    )


def predict(
    files: StrPath | Sequence[StrPath],
    output: StrPath,
    model: StrPath | None = None,
    top: int = 3,
    engine: str = "local",
    engine_options: Mapping[str, Any] | None = None,
    root: StrPath = "runs",
    replaces: bool = False,
) -> "Result":
    """Classifies any number of files into a table; see `slimline predict --output`.

    For a few images, `load` a model and call its `predict`.

    Args:
      files: a folder, a pattern, a list (NAME.txt) or a file, or several of them.
      output: NAME.csv or NAME.jsonl; an interrupted table is resumed.
      model: 'cifar10' (newest version), 'cifar10@6', or the folder of a SavedModel; None
        for the only model under `root`.
      top: how many classes to give an image, at most all.
      engine: where the Beam job runs, one of `pipeline.beam.engines.ENGINES`.
      engine_options: its options by name, as {"workers": 4}.
      root: folder of the runs.
      replaces: replace an existing output, also an interrupted one.

    Raises:
      ConfigError, DataError: what the caller can fix.
    """
    from pipeline import experiments, settings
    from pipeline.beam import engines
    from serving import local_model
    from serving.batch_inference import running

    options = {f"engine.{key}": value for key, value in (engine_options or {}).items()}
    chosen = settings.resolve(
        experiments.DEFAULT, settings={"engine.name": engine, **options}
    ).config.engine
    engines.check(chosen)
    words = [files] if isinstance(files, str | os.PathLike) else files
    wanted = None if model is None else os.fspath(model)
    with engines.started(chosen):
        return running.run(
            [os.fspath(word) for word in words],
            pathlib.Path(output),
            model_folder=local_model.find_model(roots.local(root), wanted),
            beam_arguments=engines.arguments(chosen),
            top=top,
            replaces=replaces,
        )


def models(name: str, root: StrPath = "runs") -> "PushedModel":
    """The versions of a pushed model; see `slimline models`.

    Args:
      name: of the model, as 'cifar10'.
      root: folder of the runs.

    Returns:
      An object with `list`, `promote`, `canary`, `rollback`, `prune`, `verify`, `history`.

    Raises:
      ConfigError: there is no such model.
    """
    from pushed_models import models as pushed_models

    return pushed_models.find(roots.local(root), name)


def _wanted(run: Run | StrPath) -> str | pathlib.Path:
    """A run as `pipeline.runs.runs.find` takes it."""
    if isinstance(run, Run):
        return run.folder
    return run if isinstance(run, str) else pathlib.Path(run)
