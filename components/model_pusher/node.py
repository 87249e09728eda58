"""Progress line of the push, and whether a pushed version is live."""

import pathlib

from components.nodes import Node, Outcome, Outputs, only
from pushed_models import models_config, version_history, versions


def is_live(folder: pathlib.Path) -> bool:
    """Whether the version in `folder`, `<serving>/<model name>/<version>`, is live."""
    return str(models_config.live(folder.parent)) == folder.name


def previous(folder: pathlib.Path) -> int | None:
    """The version that a rollback from this one goes to; None unless it is live."""
    if not is_live(folder):
        return None
    there = versions.numbers(folder.parent)
    return version_history.previous(folder.parent, int(folder.name), there)


def in_short(folder: pathlib.Path, where: str = "") -> str:
    """'version 7 is live · version 6 kept for rollback', of a version's folder.

    Args:
      folder: of the version.
      where: put after 'is live', as ' in runs/serving/cats/7'.
    """
    version = folder.name
    if is_live(folder):
        back = previous(folder)
        kept = "" if back is None else f" · version {back} kept for rollback"
        return f"version {version} is live{where}{kept}"
    # From the cache: it was pushed before, and another was made live since.
    live = models_config.live(folder.parent)
    others = "" if live is None else f" before, version {live} is live"
    return f"version {version} was pushed{others}"


def describe(outputs: Outputs) -> Outcome:
    """See `in_short`."""
    artifact = only(outputs, "pushed_model")
    folder = artifact.get_string_custom_property("pushed_destination")
    if not folder:
        return Outcome("nothing was pushed", is_good=False)
    version = pathlib.Path(folder)
    return Outcome(in_short(version), is_good=is_live(version))


NODE = Node(describe=describe)
