"""A folder per class, with split folders above the classes, below them, or none."""

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from common.errors import SlimlineError
from components.image_example_gen.layouts import (
    class_files,
    folder_questions,
    image_files,
    split_names,
    unread,
)
from components.image_example_gen.layouts.layout import (
    AUTO,
    Listing,
    question,
    setting,
    splits_setting,
)
from components.image_example_gen.layouts.listed import Entry, FileLayout
from schema import features, spelling
from schema.spelling import vocabulary

# Folder in the source -> entry of the images in it; what was recognised.
Found = tuple[Mapping[str, Entry], tuple[str, ...]]
# Folders that say what kind their files are, and never of which class.
_KINDS = vocabulary(
    "images image img imgs jpegimages photos pictures pics data annotations "
    "annotation masks mask trimaps labels bbox color colour grayscale segmented xmls "
    "jpg jpegs png pngs"
)
_NO_CLASSES = _KINDS | vocabulary("unlabeled unlabelled unsup extra pred prediction")
# A name that is another one's with a word behind it: 12_mask, 12 - Copy, 12_rot90.
_COMPANION = re.compile(r"(.+?)([ ._-]+[^\W\d_]+\d*)")
_MIN_COMPANIONS = 3


def find(listing: Listing) -> FileLayout | None:
    """Layout of the class folders; None without a single one.

    Raises:
      ConfigError: folders look like splits or kinds, and the classes are not plain.
    """
    answers = listing.answers
    given = dict(answers.splits)
    folders = sorted({posixpath.dirname(name) for name in listing.images} - {""})
    if not folders:
        return None
    root = _root(folders, any("/" not in name for name in listing.images), given)
    given = {name.removeprefix(root): split for name, split in given.items()}
    rest = {folder: folder[len(root) :] for folder in folders if folder != root[:-1]}
    if answers.class_from in ("folder", "parent"):
        places, words = _as_answered(rest, answers.class_from, given)
    else:
        if answers.format == AUTO:
            _check_companions(listing.images)
        places, words = _Folders(rest, given, root, listing).places()
    if not places:
        return None
    left_out = (
        f"{name}{'' if '*' in name else '/'} is left out, as data.splits says"
        for name, split in given.items()
        if split == "none"
    )
    layout = FileLayout(
        format="folder",
        words=(*words, *left_out),
        entries={folder: (entry,) for folder, entry in places.items()},
        root=root,
    )
    has_ids = all(class_files.is_id(entry.word) for entry in places.values())
    return class_files.name_classes(layout, listing) if has_ids else layout


def _as_answered(rest: dict[str, str], class_from: str, given: dict[str, str]) -> Found:
    """Entries of the folders where `data.class_from` is set."""
    if class_from == "folder":
        return _tops(rest), ("the top folder is the class, as data.class_from says",)
    places = {}
    for folder, path in rest.items():
        *above, text = path.split("/")
        places[folder] = Entry(split_names.of_path(above, given), text)
    return places, (
        "the folder that an image lies in is the class, as data.class_from says",
    )


def _tops(paths: Mapping[str, str]) -> dict[str, Entry]:
    """Entries of folders whose class is the first folder of their paths."""
    return {folder: Entry("", path.split("/")[0]) for folder, path in paths.items()}


def _check_companions(images: Sequence[str]) -> None:
    """Asks where many images are named as others with one word behind it.

    Raises:
      ConfigError: a quarter of all images, or more, has the same word.
    """
    stems_of = {posixpath.splitext(name)[0]: name for name in images}
    counts: Counter[str] = Counter()
    examples = {}
    for stem, name in stems_of.items():
        match = _COMPANION.fullmatch(posixpath.basename(stem))
        if match and (base := stem.removesuffix(match[2])) in stems_of:
            counts[match[2]] += 1
            examples[match[2]] = (stems_of[base], name)
    for word, count in counts.most_common(1):
        if count >= _MIN_COMPANIONS and 4 * count >= len(images):
            raise question(
                "some images may be masks, thumbnails or copies of others",
                found=f"{' and '.join(examples[word])};"
                f" {count:,} of {len(images):,} images",
                answers=[
                    splits_setting({f"*{word}.*": "none"}) + " (leaves them out)",
                    setting("data.format", "folder")
                    + " (they are images like the others)",
                ],
            )


def classes_of(listing: Listing) -> dict[str, str]:
    """Image -> class by its folder; empty where the folders are no plain classes."""
    try:
        layout = find(listing)
    except SlimlineError:
        return {}
    return {
        name: entry.word
        for name in listing.images
        for entry in (layout.entries_of(name) if layout else ())
    }


def _root(folders: list[str], has_files: bool, given: dict[str, str]) -> str:
    """The folder around all others, unless it may be a class or a split."""
    parts = [folder.split("/") for folder in folders]
    root: list[str] = []
    while (
        not has_files
        and all(parts)
        and len({inner[0] for inner in parts}) == 1
        and all(len(inner) > 1 for inner in parts)
        and not split_names.split_of(parts[0][0])
        and parts[0][0] not in given
    ):
        root.append(parts[0][0])
        parts = [inner[1:] for inner in parts]
    return "".join(f"{part}/" for part in root)


class _Folders:
    """The folders that hold images, and what their names say.

    Attributes:
      of: folder in the source -> its path below the root.
      given: splits that a person gave to names.
      root: the folder around all. listing: all files.
    """

    def __init__(
        self, of: dict[str, str], given: dict[str, str], root: str, listing: Listing
    ):
        self._of = of
        self._listing = listing
        self._root = root
        self._given = given
        self._direct = set(of.values())
        children: dict[str, set[str]] = defaultdict(set)
        for path in self._direct:
            parts = path.split("/")
            for depth, part in enumerate(parts):
                children["/".join(parts[:depth])].add(part)
        self._children = {
            folder: frozenset(names) for folder, names in children.items()
        }

    def places(self) -> Found:
        """What the folders are.

        Raises:
          ConfigError: several readings fit.
          DataError: no folder is a class.
        """
        tops = self._below("")
        splits = split_names.of_folders(frozenset(tops), self._given)
        deep = {top for top in tops if self._below(top)}
        if splits and (deep & set(splits)):
            return self._split_above(tops, splits, deep)
        if self._are_flat_splits(tops, splits):
            raise self._no_class(tops)
        inner = {top: self._below(top) for top in deep}
        if inner and all(names and _are_splits(names) for names in inner.values()):
            return self._split_below(inner)
        if self._are_letters(tops, inner):
            places = {
                folder: Entry("", "_".join(path.split("/")[1:]))
                for folder, path in self._of.items()
            }
            return places, (
                "a folder per letter, with a folder per class in it; nested ones are"
                " joined",
            )
        inner = {top: below for top in deep if (below := self._below(self._head(top)))}
        if len(inner) > 1 and _are_alike(list(inner.values())):
            raise folder_questions.same_inside(inner, self._given)
        if len(tops) > 1 and all(top.lower() in _KINDS for top in tops):
            raise self._no_class(tops)
        # Groups by folders below the class say which level the class is.
        is_answered = bool(self._listing.answers.grouping.folder)
        if not is_answered and self._are_two_levels(tops, inner):
            raise folder_questions.nested(tops, inner, self._root)
        if len(tops) == 1 and self._is_no_class(*tops):
            raise self._no_class(tops)
        sentence = "the top folders are the classes"
        return _tops(self._of), (sentence, *self._without_images(tops))

    def _are_two_levels(
        self, tops: frozenset[str], inner: dict[str, frozenset[str]]
    ) -> bool:
        """Whether the folders in the tops may be classes as well as the tops.

        They are not where images lie in the tops beside them, nor where all tops hold the
        same one, which then says nothing. They are where one top holds others once more.
        """
        if any(names & (tops - {top}) for top, names in inner.items()):
            return True
        bare = {
            top: frozenset(name for name in names if name.lower() not in _KINDS)
            for top, names in inner.items()
            if top not in self._direct
        }
        uses = Counter(name for names in bare.values() for name in names)
        is_shared = any(count > 1 for count in uses.values())
        return (
            len(tops) > 1
            and len(set(bare.values())) > 1
            and (set(bare) == tops or is_shared)
        )

    def _is_no_class(self, top: str) -> bool:
        """Whether the only folder is no class, by its name or by other files."""
        return bool(
            top.lower() in _KINDS
            or split_names.of_folders(frozenset({top}), self._given)
            or image_files.classes_in_names(self._listing.images)
            or unread.notes(self._listing)
        )

    def _without_images(self, tops: frozenset[str]) -> Iterator[str]:
        names = (*self._listing.names, *self._listing.unreadable)
        inside = (name[len(self._root) :] for name in names)
        others = {name.split("/")[0] for name in inside if "/" in name} - tops
        if others:
            named = folder_questions.few(f"{name}/" for name in others)
            yield f"no images, and so no classes, are in {named}"

    def _no_class(self, tops: Iterable[str]) -> SlimlineError:
        return folder_questions.no_class(tops, self._listing)

    def _below(self, folder: str) -> frozenset[str]:
        """Names of the folders in `folder` ('' is the root)."""
        return self._children.get(folder, frozenset())

    def _are_flat_splits(self, tops: frozenset[str], splits: dict[str, str]) -> bool:
        """Whether tops without folders inside are splits: two, or one beside no class."""
        others = tops - set(splits)
        named = [split_names.divide(top)[1] for top in tops]
        return (
            len(splits) > 1
            or (all(named) and len(set(named)) > 1)
            or bool(splits and others and not {*map(str.lower, others)} - _NO_CLASSES)
        )

    def _split_above(
        self, tops: frozenset[str], splits: dict[str, str], deep: set[str]
    ) -> Found:
        heads = {top: self._head(top) for top in splits}
        inside = {top: self._below(heads[top]) for top in splits}
        if not any(inside.values()):
            raise self._no_class(tops)
        known = frozenset().union(*inside.values())
        unknown = {
            top: below
            for top in sorted(deep - set(splits))
            if (below := self._below(self._head(top)))
        }
        if unknown:
            raise folder_questions.unknown_beside_splits(
                splits, unknown, known, self._given, self._root
            )
        if len(known) > 1 and _are_splits(known):
            raise folder_questions.same_inside(
                {top: inside[top] for top in splits}, self._given
            )
        for top in sorted(splits):
            others = frozenset().union(*(inside[one] for one in splits if one != top))
            is_train = splits[top] == features.TRAIN
            if not is_train and inside[top] and others and not inside[top] & others:
                spelling.check_classes(sorted(inside[top] | others))
                raise folder_questions.other_classes(
                    top, inside[top], others, self._given
                )
        places: dict[str, Entry] = {}
        for folder, path in self._of.items():
            top = path.split("/")[0]
            if top in splits and path.startswith(f"{heads[top]}/"):
                text = path.removeprefix(f"{heads[top]}/").split("/")[0]
                places[folder] = Entry(splits[top], text)
        with_classes = {top for top in splits if inside[top]}
        sentence = ", ".join(f"{top}/ is {splits[top]}" for top in sorted(with_classes))
        return places, (
            f"split folders with a folder per class: {sentence}",
            *(
                f"{top}/ has no class folders and is left out"
                for top in sorted(tops - with_classes)
            ),
        )

    def _head(self, top: str) -> str:
        """A top folder, or the folder in it that repeats its name or only wraps the others."""
        head = top
        while len(below := self._below(head)) == 1 and head not in self._direct:
            (only,) = below
            split = split_names.split_of(only)
            is_same = only == top or (split and split == split_names.split_of(top))
            if not is_same and only.lower() not in _KINDS:
                break
            head = f"{head}/{only}"
        return head

    def _split_below(self, inner: dict[str, frozenset[str]]) -> Found:
        deeper = {
            top: frozenset().union(*(self._below(f"{top}/{name}") for name in names))
            for top, names in inner.items()
        }
        uses = Counter(name for names in deeper.values() for name in names)
        if any(count > 1 for count in uses.values()):
            raise folder_questions.nested(deeper, deeper)
        places = {}
        for folder, path in self._of.items():
            text, _, rest = path.partition("/")
            name = rest.split("/")[0]
            split = split_names.of_folders(self._below(text)).get(name, "")
            places[folder] = Entry(split, text)
        return places, ("a folder per class, with split folders in each",)

    def _are_letters(
        self, tops: frozenset[str], inner: dict[str, frozenset[str]]
    ) -> bool:
        """Whether each top is the first letter of all folders in it."""
        return (
            len(tops) > 1
            and tops == set(inner)
            and not self._direct & tops
            and all(
                name[:1].lower() == top.lower()
                for top, names in inner.items()
                for name in names
            )
        )


def _are_splits(names: frozenset[str]) -> bool:
    return set(split_names.of_folders(names)) == names


def _are_alike(sets: list[frozenset[str]]) -> bool:
    """Whether folders hold mostly the same names, two or more."""
    common = frozenset.intersection(*sets)
    return len(common) > 1 and all(2 * len(common) >= len(names) for names in sets)
