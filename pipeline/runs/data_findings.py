"""The check of a run's images, for its report."""

import dataclasses
import importlib.util
import json
import pathlib
import shutil

from common import run_files
from data_check import checking, labelled_images
from storage import durable, manifest


def write(
    run_folder: pathlib.Path, examples_uri: str, evaluation_uri: str
) -> pathlib.Path:
    """Checks the images of a run; returns the file with the findings in its folder.

    A copy beside the evaluation serves later runs that take the evaluation from the cache:
    the findings depend on nothing else.

    Args:
      run_folder: of the run.
      examples_uri: of the Examples, with their splits.
      evaluation_uri: of the evaluation, whose predictions reveal doubtful labels.

    Raises:
      DataError: Examples or predictions are gone or damaged.
    """
    kept = manifest.beside(pathlib.Path(evaluation_uri), run_files.DATA_CHECK_FILE)
    if not kept.is_file():
        # Without the extra 'data' all checks but that of the labels run.
        can_doubt = importlib.util.find_spec("cleanlab") is not None
        findings = checking.check(
            examples_uri,
            labelled_images.from_examples(examples_uri),
            evaluation_uri if can_doubt else None,
        )
        document = {"findings": dataclasses.asdict(findings)}
        durable.write_text(kept, json.dumps(document) + "\n")
    return pathlib.Path(shutil.copy(kept, run_folder / run_files.DATA_CHECK_FILE))
