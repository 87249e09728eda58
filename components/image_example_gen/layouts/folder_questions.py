"""Questions about folders whose names do not say what they stand for."""

from collections.abc import Iterable, Mapping

from common.errors import ConfigError, DataError, SlimlineError
from components.image_example_gen.layouts import image_files, split_names, unread
from components.image_example_gen.layouts.layout import (
    Listing,
    question,
    setting,
    splits_setting,
)
from schema import features
from schema.spelling import listed, vocabulary

MAX_NAMED = 4
# With more folders than this, no setting lists the split of each.
_MAX_SPLITS = 12
# Folders of what was made from the images in the folders beside them.
_DERIVED = vocabulary(
    "mask masks annotation annotations label labels thumbs thumbnails augmented aug "
    "grayscale segmented trimaps ground_truth groundtruth gt"
)
_PARENT = setting("data.class_from", "parent")
_FOLDER = setting("data.class_from", "folder")


def no_class(tops: Iterable[str], listing: Listing) -> SlimlineError:
    """Asks for the classes of images in folders that are splits or kinds."""
    tops = sorted(tops)
    answers = []
    if in_names := image_files.classes_in_names(listing.images):
        effect = f" (classes: {few(in_names)})"
        answers.append(setting("data.class_from", "name") + effect)
    if len(tops) > 1:
        answers.append(f"{_FOLDER} (classes: {few(tops)})")
    message = (
        "the folders look like splits or kinds of images, and hold no class folders"
    )
    found = ", ".join(f"{top}/" for top in tops[:MAX_NAMED])
    if beside := unread.notes(listing):
        found += f"; beside them {'; '.join(beside)}"
    what_to_do = (
        "put the images into class folders, or add a table of files and classes"
    )
    if not answers:
        return DataError(message, found=found, tip=what_to_do)
    return question(message, found=found, answers=[*answers, what_to_do])


def same_inside(
    inner: Mapping[str, frozenset[str]], given: Mapping[str, str]
) -> ConfigError:
    """Asks what folders with the same folders in them are: splits, kinds, or classes."""
    tops = sorted(inner)
    below = frozenset().union(*inner.values())
    answers = [
        f"{_PARENT} (classes: {few(below)})",
        f"{_FOLDER} (classes: {few(tops)})",
    ]
    if len(tops) <= _MAX_SPLITS:
        known = {
            top: split
            for top in tops
            if (split := given.get(top) or split_names.divide(top)[1])
        }
        kept = next((top for top in tops if top not in known), tops[0])
        splits = {top: features.TRAIN if top == kept else "none" for top in tops}
        answers.append(
            splits_setting(splits | known)
            + " (they are splits or kinds: say of each train, eval, test or none)"
        )
    derived = sorted(name for name in below if name.lower() in _DERIVED)
    if derived and len(derived) < len(below):
        answers.append(
            splits_setting({**given, **dict.fromkeys(derived, "none")})
            + f" (leaves out {few(derived)})"
        )
    return question(
        f"{', '.join(f'{top}/' for top in tops[:MAX_NAMED])} hold the same folders",
        found=f"{few(below)} in each",
        answers=answers,
    )


def _path(name: str, root: str) -> str:
    """Name of a top folder in a setting: its path, if a folder above has the same name."""
    return f"{root}{name}" if name in root.split("/") else name


def nested(
    tops: Iterable[str], inner: Mapping[str, frozenset[str]], root: str = ""
) -> ConfigError:
    """Asks which of two levels of folders the classes are."""
    tops = sorted(tops)
    copies = [top for top in inner if not inner[top].isdisjoint(set(tops) - {top})]
    below = frozenset().union(*inner.values())
    top = min(inner)
    return question(
        "the classes may be the top folders, or the folders inside them",
        found=f"{top}/ with {few(inner[top])}",
        answers=[
            f"{_FOLDER} (classes: {few(tops)})",
            f"{_PARENT} (classes: {few(below)})",
            *(
                splits_setting({_path(copy, root): "none"}) + f" (leaves {copy}/ out)"
                for copy in copies[:1]
            ),
        ],
    )


def unknown_beside_splits(
    splits: Mapping[str, str],
    unknown: Mapping[str, frozenset[str]],
    classes: frozenset[str],
    given: Mapping[str, str],
    root: str,
) -> ConfigError:
    """Asks what folders are that hold folders and lie beside splits.

    Args:
      splits: folder -> split of those that are known.
      unknown: the others -> folders in them. classes: folders in the splits.
      given: folder -> split, from the settings.
      root: the folder around all, with a slash at its end.
    """
    has_train = features.TRAIN in splits.values()
    likely = features.TEST if has_train else features.TRAIN
    answers = {}
    for name, inside in unknown.items():
        # Neither a copy of the whole dataset is a split of it, nor what has other classes.
        is_split = bool(inside & classes) and name.lower() not in _DERIVED
        answers[_path(name, root)] = likely if is_split else "none"
    return question(
        f"folders beside {', '.join(sorted(splits))} may be splits or classes",
        found=", ".join(
            f"{name}/ with {few(inside)}" for name, inside in unknown.items()
        ),
        answers=[
            splits_setting({**given, **answers})
            + " (or train, eval, test; none leaves it out)",
            f"{_FOLDER} (every top folder a class)",
        ],
    )


def other_classes(
    top: str, classes: Iterable[str], others: Iterable[str], given: Mapping[str, str]
) -> ConfigError:
    """Asks about a split whose folders are none of the classes of the other splits."""
    return question(
        f"{top}/ has none of the classes of the other splits",
        found=f"{few(classes)} in {top}/, {few(others)} in the others",
        answers=[
            splits_setting({**given, top: "none"}) + f" (leaves {top}/ out)",
            f"{_PARENT} (its folders are classes, too)",
        ],
    )


def few(names: Iterable[str]) -> str:
    """A few of the names, sorted, and the number of the others."""
    return listed(sorted(set(names)), MAX_NAMED)
