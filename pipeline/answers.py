"""The settings about the layout of the data, as ingest takes them."""

from common.errors import ConfigError
from components.image_example_gen import grouping, layouts, splits
from pipeline.config import DataConfig

SPLITS = ("train", "eval", "test", "none")


def of(data: DataConfig) -> layouts.Answers:
    """The answers in `data` to what the files leave open.

    Raises:
      ConfigError: an unknown format, an entry of `data.splits` that is no NAME=SPLIT, or a
        `data.group_by` of no known form.
    """
    if data.format not in (layouts.AUTO, *layouts.FORMATS):
        raise ConfigError(
            "setting 'data.format' is not a layout",
            found=data.format,
            expected=", ".join((layouts.AUTO, *layouts.FORMATS)),
        )
    grouping.parse(data.group_by)  # refuses unknown forms
    return layouts.Answers(
        format=data.format,
        subset=data.subset,
        class_from=data.class_from,
        splits=tuple(_split(text) for text in data.splits),
        path_column=data.columns.path,
        label_column=data.columns.label,
        split_column=data.columns.split,
        group_by=data.group_by,
    )


def cut(data: DataConfig) -> splits.Cut:
    """The shares that ingest cuts from train for eval and test."""
    return splits.Cut(data.eval_fraction, data.test_fraction, data.split_seed)


def _split(text: str) -> tuple[str, str]:
    name, equals, split = (part.strip() for part in text.rpartition("="))
    if not equals or not name or split not in SPLITS:
        raise ConfigError(
            f"setting 'data.splits' has '{text}'",
            expected=f"NAME=SPLIT, the split one of {', '.join(SPLITS)}",
        )
    return name, split
