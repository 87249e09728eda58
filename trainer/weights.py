"""Where the weights of a trained model lie. No TensorFlow: settings are checked with it."""

import pathlib

from schema.errors import ConfigError

# Where a SavedModel keeps its checkpoint.
SAVED_MODEL_VARIABLES = pathlib.PurePath("variables", "variables")


def checkpoint_in(path: str) -> str:
    """The checkpoint that `path` means, as a Saver takes it.

    Args:
      path: a pushed version or another SavedModel, or a checkpoint without its ending.

    Raises:
      ConfigError: there is none.
    """
    folder = pathlib.Path(path)
    for candidate in (folder / SAVED_MODEL_VARIABLES, folder):
        if candidate.with_name(f"{candidate.name}.index").is_file():
            return str(candidate)
    raise ConfigError(
        f"no weights in {path} to start from (train.warm_start)",
        expected="a pushed version, a SavedModel, or a checkpoint 'model.ckpt-N'",
    )
