"""Who goes where."""

import collections
import hashlib
import random

import pytest

from components.image_example_gen import splits
from schema import features


def row(content: object, text: str, split: str = "", key: str = "") -> splits.Row:
    digest = hashlib.sha256(str(content).encode()).digest()
    return splits.Row(digest, split, text, key or f"{text}/{content}", False, 8, 8)


def places(rows, eval_fraction=0.1, test_fraction=0.2, seed=0):
    rule = splits.assign(rows, eval_fraction, test_fraction, seed)
    return rule, {r.key: rule.split_of(r.digest, r.split, r.text) for r in rows}


def three_classes(split=""):
    sizes = {"cat": 50, "dog": 30, "owl": 5}
    return [row(f"{t}{i}", t, split) for t, n in sizes.items() for i in range(n)]


def test_cuts_each_class_exactly():
    rule, _ = places(three_classes())
    assert rule.images == {
        "train": {"cat": 35, "dog": 21, "owl": 3},
        "eval": {"cat": 5, "dog": 3, "owl": 1},
        "test": {"cat": 10, "dog": 6, "owl": 1},
    }
    assert (rule.duplicates_dropped, rule.duplicates_kept) == (0, 0)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (4, (2, 1, 1))],
)
def test_small_classes_keep_training_images(count, expected):
    rule, _ = places([row(i, "cat") for i in range(count)], 0.01, 0.01)
    counts = tuple(rule.images[split].get("cat", 0) for split in features.SPLITS)
    assert counts == expected


def test_classes_too_small_to_be_cut_still_fill_every_split():
    rows = [row(f"{text}{i}", text) for text in ("cat", "dog") for i in range(2)]
    rule, _ = places(rows)
    assert rule.images == {
        "train": {"cat": 1, "dog": 1},
        "eval": {"dog": 1},
        "test": {"cat": 1},
    }


def test_of_a_small_class_no_image_is_taken_where_another_is_cut():
    rows = [
        row(f"{text}{i}", text)
        for text, n in (("cat", 3), ("dog", 2))
        for i in range(n)
    ]
    rule, _ = places(rows)
    assert rule.images == {
        "train": {"cat": 1, "dog": 2},
        "eval": {"cat": 1},
        "test": {"cat": 1},
    }


def test_a_split_that_is_not_asked_for_takes_no_image():
    rows = [row(f"{text}{i}", text) for text in ("cat", "dog") for i in range(2)]
    rule, _ = places(rows, eval_fraction=0.0)
    assert rule.images == {
        "train": {"cat": 1, "dog": 2},
        "eval": {},
        "test": {"cat": 1},
    }


def test_another_seed_cuts_other_images_and_as_many():
    rows = three_classes()
    first, by_first = places(rows, seed=1)
    second, by_second = places(rows, seed=2)
    _, unseeded = places(rows)
    assert first.images == second.images == places(rows)[0].images
    for one, other in ((by_first, by_second), (by_first, unseeded)):
        assert sum(one[key] != other[key] for key in one) > 10
    assert places(list(reversed(rows)), seed=1) == (first, by_first)


def test_a_seed_leaves_official_splits_and_copies_together():
    rows = [row(f"a{i}", "cat", "train") for i in range(20)]
    rows += [row(f"a{i}", "cat", "train", f"copy/{i}") for i in range(20)]
    rows += [row(f"b{i}", "cat", "test") for i in range(7)]
    rule, placed = places(rows, seed=5)
    assert rule.images["test"] == {"cat": 7}
    assert rule.images["eval"] == {"cat": 4}
    assert all(placed[f"cat/a{i}"] == placed[f"copy/{i}"] for i in range(20))


def test_large_fractions_leave_one_for_training():
    rule, _ = places([row(i, "cat") for i in range(3)], 0.45, 0.5)
    assert rule.images["train"] == {"cat": 1}


def test_order_and_place_in_source_do_not_matter():
    rows = three_classes()
    _, first = places(rows)
    shuffled = list(rows)
    random.Random(0).shuffle(shuffled)
    _, second = places(shuffled)
    assert first == second
    moved = [r._replace(key=f"elsewhere/{r.key}") for r in shuffled]
    _, third = places(moved)
    assert {
        key.removeprefix("elsewhere/"): split for key, split in third.items()
    } == first


def test_more_images_move_few():
    _, before = places(three_classes())
    _, after = places([*three_classes(), row("new", "cat")])
    changed = [key for key in before if before[key] != after[key]]
    assert len(changed) <= 2


def test_official_test_set_stays_and_eval_is_cut_from_train():
    rows = [row(f"a{i}", "cat", "train") for i in range(20)]
    rows += [row(f"b{i}", "cat", "test") for i in range(7)]
    rule, placed = places(rows)
    assert rule.images["test"] == {"cat": 7}
    assert rule.images["eval"] == {"cat": 2}
    assert all(placed[r.key] == "test" for r in rows if r.split == "test")


def test_official_eval_set_stays_and_test_is_cut_from_train():
    rows = [row(f"a{i}", "cat", "train") for i in range(20)]
    rows += [row(f"b{i}", "cat", "eval") for i in range(7)]
    rule, _ = places(rows)
    assert rule.images["eval"] == {"cat": 7}
    assert rule.images["test"] == {"cat": 4}


def test_copies_in_lower_official_splits_are_dropped():
    rows = [row(f"a{i}", "cat", "train") for i in range(10)]
    rows += [row("a0", "cat", "test", "test/a0"), row("a1", "cat", "eval", "eval/a1")]
    rows += [row("e", "dog", "eval"), row("e", "dog", "test", "test/e")]
    rule, placed = places(rows)
    assert rule.duplicates_dropped == 3
    assert placed["cat/a0"] == placed["cat/a1"] == placed["dog/e"] == ""
    assert (placed["test/a0"], placed["eval/a1"], placed["test/e"]) == (
        "test",
        "eval",
        "test",
    )


def test_equal_images_stay_together_even_with_two_labels():
    rows = []
    for i in range(60):
        rows += [row(i, "cat", key=f"{i}/1"), row(i, "dog", key=f"{i}/2")]
    rule, placed = places(rows, 0.2, 0.2)
    for i in range(60):
        assert placed[f"{i}/1"] == placed[f"{i}/2"] != ""
    assert rule.duplicates_kept == 60
    assert rule.label_conflicts == 60
    assert sum(rule.images["eval"].values()) == 24


def test_no_digest_in_two_splits_whatever_the_mess():
    generator = random.Random(4)
    rows = [
        row(
            generator.randrange(300),
            generator.choice(["cat", "dog", "owl"]),
            generator.choice(["", "train", "eval", "test"]),
            f"key{i}",
        )
        for i in range(1000)
    ]
    rule, placed = places(rows)
    where = collections.defaultdict(set)
    for r in rows:
        if placed[r.key]:
            where[r.digest].add(placed[r.key])
    assert all(len(found) == 1 for found in where.values())
    assert len(where) == len({r.digest for r in rows})
    dropped = sum(not split for split in placed.values())
    assert rule.duplicates_dropped == dropped
    assert sum(sum(c.values()) for c in rule.images.values()) == len(rows) - dropped
