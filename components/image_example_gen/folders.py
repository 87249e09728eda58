"""A folder per class, with or without split folders above."""

import dataclasses
from collections.abc import Iterable, Iterator

from components.image_example_gen import records, splits
from components.image_example_gen.sources import limits
from components.image_example_gen.sources.source import Member, MemberTooLarge
from schema import image_names

UNIT_FILES = 256


@dataclasses.dataclass(frozen=True)
class FolderLayout:
    """Class folders below `root` ('' or a path with a slash at its end).

    Attributes:
      root: the wrapping folder, which keys leave out.
      has_splits: the folders below `root` are splits, with the classes in them.
    """

    root: str
    has_splits: bool
    format: str = "folder"
    channels: int = 0

    def place(self, name: str) -> tuple[str, str, str] | None:
        """Split, class and key of an image file; None where it has no class folder."""
        if not name.startswith(self.root) or not image_names.is_image_name(name):
            return None
        key = name[len(self.root) :]
        parts = key.split("/")
        split = ""
        if self.has_splits:
            split = splits.SPLIT_OF_NAME.get(parts[0].lower(), "")
            if not split:
                return None
            parts = parts[1:]
        return (split, parts[0], key) if len(parts) > 1 else None

    def units(self, names: Iterable[str]) -> list[tuple[str, ...]]:
        """Parts that can be read apart: some hundred files each."""
        return chunks([name for name in names if self.place(name)])

    def read(
        self, members: Iterable[Member]
    ) -> Iterator[records.ImageFile | records.Unreadable | records.Ignored]:
        """The image files among `members`."""
        for member in members:
            place = self.place(member.name)
            if place is None:
                yield records.Ignored(member.name)
            else:
                split, text, key = place
                yield read_image(member, split, key, text, may_be_index=False)


def read_image(
    member: Member, split: str, key: str, word: str, *, may_be_index: bool
) -> records.ImageFile | records.Unreadable:
    """An image file, or why it cannot be read."""
    try:
        data = member.read(limits.LIMITS.image_bytes)
    except MemberTooLarge as error:
        return records.Unreadable(key, str(error))
    except OSError as error:
        return records.Unreadable(key, error.strerror or str(error))
    return records.ImageFile(split, key, word, may_be_index, data, member.name)


def chunks(names: list[str]) -> list[tuple[str, ...]]:
    """`names` in pieces that one worker reads at a time."""
    return [
        tuple(names[start : start + UNIT_FILES])
        for start in range(0, len(names), UNIT_FILES)
    ]


def find(names: Iterable[str]) -> FolderLayout | None:
    """Layout of the class folders among `names`; None without a single one."""
    images = [name.split("/") for name in names if image_names.is_image_name(name)]
    root: list[str] = []
    # A folder around everything is looked through, unless classes would be lost by it.
    while (
        images
        and len({parts[0] for parts in images}) == 1
        and all(len(parts) > 2 for parts in images)
        and images[0][0].lower() not in splits.SPLIT_OF_NAME
    ):
        root.append(images[0][0])
        images = [parts[1:] for parts in images]
    tops = {parts[0].lower() for parts in images if len(parts) > 1}
    has_splits = bool(tops & {"train", "training"}) and all(
        len(parts) > 2 for parts in images if parts[0].lower() in ("train", "training")
    )
    layout = FolderLayout("".join(f"{part}/" for part in root), has_splits)
    return layout if any(layout.place(name) for name in names) else None
