"""Fields of records: which one is the image and which one its class."""

from collections.abc import Sequence

from common.errors import ConfigError, DataError
from components.image_example_gen.layouts import split_names
from components.image_example_gen.layouts.layout import (
    Answers,
    question,
    setting,
    splits_setting,
)

# Usual names, in the order in which they are looked for.
IMAGES = (
    "image/encoded image image_bytes image/image_raw image_raw encoded img jpeg jpg "
    "png content bytes"
)
LABELS = (
    "image/class/text class/text label_name class_name image/class/label label class "
    "fine_label target category labels y"
)


def find_image(file: str, fields: Sequence[str], answers: Answers) -> str:
    """Field with the encoded image, among those of bytes.

    Raises:
      ConfigError: several may be, or the one asked for is missing.
      DataError: there is none.
    """
    return _find(file, fields, IMAGES, answers.path_column, "path", "encoded images")


def find_label(file: str, fields: Sequence[str], answers: Answers) -> str:
    """Field with the class, among those that are a text or a number.

    Raises:
      ConfigError: several may be, or the one asked for is missing.
      DataError: there is none.
    """
    return _find(file, fields, LABELS, answers.label_column, "label", "classes")


def find_group(file: str, fields: Sequence[str], answers: Answers) -> str:
    """Field with the groups that was asked for, '' for none.

    Raises:
      ConfigError: it is missing.
    """
    wanted = answers.grouping.column
    if wanted and wanted not in fields:
        raise ConfigError(
            f"{file} has no field '{wanted}' with the groups",
            found=", ".join(fields),
            tip="set data.group_by to column:NAME with one of them",
        )
    return wanted


def split_of_shard(name: str) -> str:
    """Split that the name of a file says, or the folder that it lies in; '' for none."""
    *folders, base = name.split("/")
    stem = base.split(".")[0]
    return split_names.divide(stem)[1] or next(
        filter(None, (split_names.divide(folder)[1] for folder in reversed(folders))),
        "",
    )


def _find(
    file: str,
    fields: Sequence[str],
    usual: str,
    given: str,
    key: str,
    what: str,
) -> str:
    if given:
        if given not in fields:
            raise ConfigError(
                f"{file} has no field '{given}' with {what}",
                found=", ".join(fields),
                tip=f"set data.columns.{key} to one of them",
            )
        return given
    for name in usual.split():
        if name in fields:
            return name
    if len(fields) > 1:
        raise question(
            f"several fields of {file} may hold the {what}",
            found=", ".join(fields),
            answers=[setting(f"data.columns.{key}", name) for name in fields],
        )
    if not fields:
        raise DataError(
            f"{file} has no field with {what}",
            tip=f"{splits_setting({file: 'none'})} leaves the file out; so it does with the"
            " name of a folder",
        )
    return fields[0]
