"""Columns of all images: what they cost, in which order they come, where the Examples lie."""

import hashlib
import random

import numpy as np
import pytest

from components.image_example_gen import index, reading, records, shards, splits, spool
from schema import features

LABELS = ("cat", "dog")


CUT = splits.Cut(0.2, 0.2)


def record(number: int, text: str = "", split: str = "") -> reading.Record:
    text = text or LABELS[number % 2]
    label = LABELS.index(text) if text in LABELS else features.UNKNOWN_LABEL
    digest = hashlib.sha256(b"%d" % number).digest()
    row = splits.Row(digest, split, text, f"{split}/{text}/{number}", False, 8, 8)
    return reading.Record(row, label, "png", b"image %03d" % number, "")


def batched(all_records, size) -> list[list[reading.Record]]:
    found = list(all_records)
    return [found[first : first + size] for first in range(0, len(found), size)]


def parts_of(all_records, size=7, length=10) -> list[tuple[bytes, str]]:
    """Parts of `size` records each, alternately in two files of the spool."""
    known = index.known_kinds(LABELS)
    ends = {"a": 0, "b": 0}
    parts = []
    for number, batch in enumerate(batched(all_records, size)):
        part = index.Part(known)
        file = "ab"[number % 2]
        for each in batch:
            part.add(each, spool.Place(file, ends[file], length))
            ends[file] += length
        parts.append(part.to_bytes())
    return parts


def shards_of(parts, count=1) -> list[tuple[str, int, int, list[str], bytes]]:
    joined = index.Index(parts, LABELS)
    return list(joined.shards(splits.assign(joined, CUT), lambda *_: count))


def test_an_image_costs_32_bytes() -> None:
    parts = parts_of(map(record, range(200)), size=200)
    assert index.ROW.itemsize == 32
    assert [len(rows) for rows, _ in parts] == [200 * 32]
    # Names of known classes are not repeated in every part.
    assert max(len(about) for _, about in parts) < 150
    assert index.Index(parts, LABELS).rows.nbytes == 200 * 32


def test_rows_of_an_index_are_assigned_as_rows_are() -> None:
    found = [record(number) for number in range(50)]
    found += [record(number, "dog", features.TEST) for number in range(5)]
    by_rows = splits.assign([each.row for each in found], CUT)
    by_index = splits.assign(index.Index(parts_of(found), LABELS), CUT)
    assert by_index == by_rows
    assert by_index.duplicates_dropped == 5


def test_the_order_of_the_parts_does_not_matter() -> None:
    found = [record(number, text) for number in range(40) for text in LABELS]
    parts = parts_of(found)
    shuffled = random.Random(1).sample(parts, len(parts))
    assert shuffled != parts
    assert shards_of(shuffled, 3) == shards_of(parts, 3)


def test_places_lead_to_the_examples(tmp_path) -> None:
    """Of batches that alternate between two writers, with batches of nothing between."""
    writers = [spool.Writer(str(tmp_path)) for _ in range(2)]
    known = index.known_kinds(LABELS)
    parts = [index.Part(known).to_bytes()]
    found = [record(number) for number in range(60)]
    for number, batch in enumerate(batched(found, 9)):
        part = index.Part(known)
        for each in batch:
            part.add(each, writers[number % 2].add(each.encoded))
        parts += [part.to_bytes(), index.Part(known).to_bytes()]
    for writer in writers:
        writer.close()
    read = {}
    with spool.Reader(str(tmp_path)) as stored:
        for split, *_, names, content in shards_of(parts, 2):
            for place in np.frombuffer(content, index.PLACE):
                file, offset, length, label, again = place.tolist()
                read[stored.read(names[file], offset, length)] = (split, label)
                assert not again
    assert read.keys() == {each.encoded for each in found}
    assert {label for _, label in read.values()} == {0, 1}
    assert all(read[each.encoded][1] == each.label for each in found)


def test_classes_out_of_the_contract_keep_their_names() -> None:
    found = [record(1, "owl"), record(2, "cat"), record(3, "ant"), record(4, "owl")]
    joined = index.Index(parts_of(found, size=2), LABELS)
    assert sorted(row.text for row in joined) == ["ant", "cat", "owl", "owl"]
    by_digest = {row.digest: row.text for row in joined}
    assert all(by_digest[each.row.digest[:16]] == each.row.text for each in found)


def test_what_is_left_out_is_counted() -> None:
    part = index.Part(index.known_kinds(LABELS))
    part.leave_out(records.Unreadable("b\udce9.png", "the file is empty"))
    part.leave_out(records.Ignored("readme.txt"))
    part.leave_out(records.Ignored("spare.png"))
    joined = index.Index([part.to_bytes()] * 2, LABELS)
    assert joined.unreadable == [("b\udce9.png", "the file is empty")] * 2
    assert (joined.ignored, joined.ignored_images) == (4, 2)


def test_files_of_a_split_hold_equally_many_bytes() -> None:
    found = [record(number) for number in range(400)]
    sizes = [
        len(content) // index.PLACE.itemsize
        for split, *_, content in shards_of(parts_of(found), 5)
        if split == features.TRAIN
    ]
    assert sum(sizes) > 200
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("split", "megabytes", "files"),
    [
        ("train", 0, 4),
        ("train", 799, 4),
        ("train", 801, 5),
        ("test", 0, 1),
        ("test", 200, 1),
        ("test", 201, 2),
        ("eval", 10_000, 50),
    ],
)
def test_number_of_files(split: str, megabytes: int, files: int) -> None:
    assert shards.number_of(split, megabytes * 10**6) == files
