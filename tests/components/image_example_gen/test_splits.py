"""Who goes where."""

import collections
import hashlib
import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from components.image_example_gen import splits
from schema import features


def row(
    content: object, text: str, split: str = "", key: str = "", group: str = ""
) -> splits.Row:
    digest = hashlib.sha256(str(content).encode()).digest()
    key = key or f"{text}/{content}"
    return splits.Row(digest, split, text, key, False, 8, 8, group)


def places(rows, eval_fraction=0.1, test_fraction=0.2, seed=0):
    rule = splits.assign(rows, splits.Cut(eval_fraction, test_fraction, seed))
    return rule, {r.key: rule.split_of(r.digest, r.split, r.group) for r in rows}


def images(text: str, count: int, first: int = 0, **kwargs) -> list[splits.Row]:
    return [row(f"{text}{i}", text, **kwargs) for i in range(first, first + count)]


def three_classes(split=""):
    sizes = {"cat": 50, "dog": 30, "owl": 20}
    return [
        r for text, count in sizes.items() for r in images(text, count, split=split)
    ]


def split_by_hash(digest: bytes, eval_fraction: float, test_fraction: float) -> str:
    """The rule, said once more."""
    u = int.from_bytes(digest, "big") / 2**256
    if u < test_fraction:
        return features.TEST
    return features.EVAL if u >= 1 - eval_fraction else features.TRAIN


def with_u(text: str, *numbers: float) -> list[splits.Row]:
    """Images of a class whose hashes lie there."""
    return [
        row("", text, key=f"{text}{u}")._replace(
            digest=int(u * 2**64).to_bytes(8, "big").ljust(32, b"\0")
        )
        for u in numbers
    ]


def test_the_hash_alone_decides():
    rows = three_classes()
    rule, placed = places(rows)
    assert rule.stand_ins == {}
    assert placed == {r.key: split_by_hash(r.digest, 0.1, 0.2) for r in rows}
    assert rule.images == {
        split: {
            text: count
            for text in ("cat", "dog", "owl")
            if (count := sum(placed[r.key] == split for r in rows if r.text == text))
        }
        for split in features.SPLITS
    }
    assert (rule.duplicates_dropped, rule.duplicates_kept) == (0, 0)
    _, alone = places(images("cat", 50))
    assert alone.items() <= placed.items()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sizes_are_those_of_a_draw(seed):
    count = 20_000
    rule, _ = places(images("cat", count), seed=seed)
    for split, share in (("train", 0.7), ("eval", 0.1), ("test", 0.2)):
        deviation = math.sqrt(count * share * (1 - share))
        assert abs(rule.images[split]["cat"] - count * share) < 4 * deviation


@pytest.mark.parametrize("seed", [0, 7])
def test_growth_moves_nothing_but_stand_ins(seed):
    texts, moved = ("cat", "dog", "owl"), collections.Counter()
    rule, before = places([r for t in texts for r in images(t, 20)], 0.1, 0.15, seed)
    stood_in = len(rule.stand_ins)
    sizes = [round(20 * 1000 ** (step / 10)) for step in range(1, 11)]
    assert sizes[-1] == 20_000
    for size in sizes:
        rows = [r for text in texts for r in images(text, size)]
        later, after = places(rows, 0.1, 0.15, seed)
        for r in rows:
            if r.key in before and before[r.key] != after[r.key]:
                assert r.digest[:16] in rule.stand_ins
                assert (before[r.key], after[r.key]) != ("train", "test")
                moved[r.text] += 1
        rule, before = later, after
    assert rule.stand_ins == {}
    # Each went back once, and no other image moved.
    assert moved.total() == stood_in == (1 if seed else 0)


def test_one_fraction_leaves_the_other_split_alone():
    rows = images("cat", 500)
    _, before = places(rows, 0.1, 0.1)
    _, after = places(rows, 0.1, 0.3)
    for key, split in before.items():
        assert after[key] == split or (split, after[key]) == ("train", "test")
    assert set(after.values()) == set(features.SPLITS)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (4, (2, 1, 1))],
)
def test_small_classes_keep_training_images(count, expected):
    rule, _ = places(images("cat", count), 0.01, 0.01)
    counts = tuple(rule.images[split].get("cat", 0) for split in features.SPLITS)
    assert counts == expected


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((0.3, 0.4, 0.5), "test train eval"),
        ((0.05, 0.06, 0.07), "test eval train"),
        ((0.91, 0.93, 0.97), "test train eval"),
        ((0.05, 0.93, 0.97), "test train eval"),
        ((0.05, 0.06, 0.97), "test train eval"),
        # The only one in train stays there.
        ((0.05, 0.06, 0.5), "test eval train"),
        ((0.05, 0.4, 0.5, 0.6), "test train train eval"),
        ((0.3, 0.4, 0.5, 0.95), "test train train eval"),
    ],
)
def test_stand_ins(numbers, expected):
    rule, placed = places(with_u("cat", *numbers))
    assert " ".join(placed.values()) == expected
    by_hash = [split_by_hash(r.digest, 0.1, 0.2) for r in with_u("cat", *numbers)]
    assert len(rule.stand_ins) == sum(
        one != other for one, other in zip(by_hash, expected.split(), strict=True)
    )


def test_a_stand_in_gives_way_to_a_real_one():
    _, before = places(with_u("cat", 0.3, 0.4, 0.5, 0.95))
    _, after = places(with_u("cat", 0.3, 0.4, 0.5, 0.95, 0.01))
    assert before["cat0.3"] == "test"
    assert after == before | {"cat0.3": "train", "cat0.01": "test"}


def test_a_class_of_two_is_trained_on_whatever_its_hashes():
    rule, placed = places([*with_u("cat", 0.01, 0.99), *images("dog", 40)])
    assert placed["cat0.01"] == placed["cat0.99"] == "train"
    assert len(rule.stand_ins) == 2


def test_classes_too_small_to_be_cut_still_fill_every_split():
    rows = [row(f"{text}{i}", text) for text in ("cat", "dog") for i in range(2)]
    rule, _ = places(rows)
    assert rule.images == {
        "train": {"cat": 1, "dog": 1},
        "eval": {"dog": 1},
        "test": {"cat": 1},
    }


def test_of_a_small_class_no_image_is_taken_where_another_is_cut():
    rule, _ = places([*images("cat", 3), *images("dog", 2)])
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
    rule, _ = places(images("cat", 500), 0.0, 0.0)
    assert rule.images == {"train": {"cat": 500}, "eval": {}, "test": {}}


def test_no_images_are_no_error_here():
    assert places([])[0].images == {"train": {}, "eval": {}, "test": {}}


def test_another_seed_cuts_other_images():
    rows = three_classes()
    first, by_first = places(rows, seed=1)
    _, by_second = places(rows, seed=2)
    _, unseeded = places(rows)
    for one, other in ((by_first, by_second), (by_first, unseeded)):
        assert sum(one[key] != other[key] for key in one) > 10
    assert places(list(reversed(rows)), seed=1) == (first, by_first)


def test_a_seed_leaves_official_splits_and_copies_together():
    rows = [row(f"a{i}", "cat", "train") for i in range(20)]
    rows += [row(f"a{i}", "cat", "train", f"copy/{i}") for i in range(20)]
    rows += [row(f"b{i}", "cat", "test") for i in range(7)]
    rule, placed = places(rows, seed=5)
    assert rule.images["test"] == {"cat": 7}
    assert rule.cut.test_fraction == 0
    assert rule.images["train"]["cat"] + rule.images["eval"]["cat"] == 40
    assert all(placed[f"cat/a{i}"] == placed[f"copy/{i}"] for i in range(20))


def test_large_fractions_leave_one_for_training():
    rule, _ = places(images("cat", 3), 0.45, 0.5)
    assert rule.images["train"] == {"cat": 1}


def test_place_in_source_does_not_matter():
    rows = three_classes()
    _, first = places(rows)
    moved = [r._replace(key=f"elsewhere/{r.key}") for r in rows]
    _, second = places(moved)
    assert {key.removeprefix("elsewhere/"): s for key, s in second.items()} == first


@pytest.mark.parametrize(("official", "cut"), [("test", "eval"), ("eval", "test")])
def test_an_official_split_stays_and_the_other_is_cut_from_train(official, cut):
    rows = [row(f"a{i}", "cat", "train") for i in range(200)]
    rows += [row(f"b{i}", "cat", official) for i in range(7)]
    rule, placed = places(rows)
    assert rule.images[official] == {"cat": 7}
    assert all(placed[r.key] == official for r in rows if r.split == official)
    for r in rows[:200]:
        expected = split_by_hash(r.digest, 0.1, 0.2)
        assert placed[r.key] == (cut if expected == cut else "train")


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
    assert rule.images["eval"]["cat"] == rule.images["eval"]["dog"]


def test_a_group_stays_together():
    rows = [
        r for i in range(200) for r in images(f"cat{i % 2}", 5, 5 * i, group=f"p{i}")
    ]
    rule, placed = places(rows)
    of_group = collections.defaultdict(set)
    for r in rows:
        of_group[r.group].add(placed[r.key])
    for name, found in of_group.items():
        digest = hashlib.sha256(name.encode()).digest()
        assert found == {split_by_hash(digest, 0.1, 0.2)}
    assert sum(sum(counts.values()) for counts in rule.images.values()) == 1000
    assert {*of_group["p0"], *of_group["p1"], *of_group["p2"]} < {"", *features.SPLITS}


def test_a_group_stands_in_as_a_whole():
    rows = [r for i in range(3) for r in images("cat", 4, 4 * i, group=f"p{i}")]
    rule, placed = places(rows, 0.001, 0.001)
    assert rule.images == {split: {"cat": 4} for split in features.SPLITS}
    by_hash = sorted(
        ("p0", "p1", "p2"), key=lambda name: hashlib.sha256(name.encode()).digest()
    )
    of = {r.group: placed[r.key] for r in rows}
    assert [of[name] for name in by_hash] == ["test", "train", "eval"]


def test_a_class_in_one_group_gives_nothing_and_is_named():
    rows = images("cat", 30, group="p1") + images("dog", 9, group="p1")
    rows += [r for i in range(9) for r in images("owl", 2, 2 * i, group=f"q{i}")]
    rule, placed = places(rows, 0.3, 0.3)
    assert {placed[r.key] for r in rows if r.text != "owl"} == {"train"}
    assert rule.few_groups == {"cat": 1, "dog": 1}
    assert all("owl" in rule.images[split] for split in features.SPLITS)


def test_a_class_keeps_a_group_to_train_on_where_others_want_it():
    # The only group of 'rare' is the one with the smallest hash of 'cat'.
    names = sorted(
        (f"p{i}" for i in range(5)), key=lambda n: hashlib.sha256(n.encode()).digest()
    )
    rows = [
        r for i, name in enumerate(names) for r in images("cat", 2, 2 * i, group=name)
    ]
    rows += images("rare", 2, group=names[0])
    rule, placed = places(rows, 0.001, 0.001)
    assert placed["rare/rare0"] == placed["cat/cat0"] == "train"
    assert rule.images["train"]["rare"] == 2


def test_a_copy_follows_the_first_of_its_groups():
    rows = [r for i in range(30) for r in images("cat", 2, 2 * i, group=f"p{i:02}")]
    rows += [row("cat0", "cat", key="copy", group="p17")]
    rule, placed = places(rows, 0.3, 0.3)
    assert placed["copy"] == placed["cat/cat0"] == placed["cat/cat1"]
    assert rule.duplicates_kept == 1
    assert places(rows[::-1], 0.3, 0.3)[0] == rule


def test_a_group_in_two_official_splits_is_refused():
    rows = images("cat", 9, split="train", group="p1")
    rows += images("cat", 9, 9, split="test", group="p2")
    rule, _ = places(rows)
    assert rule.images["test"] == {"cat": 9}
    with pytest.raises(DataError, match=r"groups of data\.group_by lie in") as caught:
        places([*rows, *images("cat", 1, 50, split="train", group="p2")])
    assert caught.value.found == "p2"


CLASSES = ("cat", "dog", "owl")
ROWS = st.lists(
    st.builds(
        lambda content, text, split, group: (content, text, split, group),
        st.integers(0, 120),
        st.sampled_from(CLASSES),
        st.sampled_from(("", "", "", "train", "eval", "test")),
        st.integers(0, 9),
    ),
    max_size=60,
)
FRACTIONS = st.sampled_from((0.0, 0.05, 0.1, 0.3, 0.45))


@settings(max_examples=300, deadline=None)
@given(ROWS, FRACTIONS, FRACTIONS, st.integers(0, 3), st.randoms())
def test_whatever_the_mess(found, eval_fraction, test_fraction, seed, generator):
    rows = [row(c, t, s, f"key{i}") for i, (c, t, s, _) in enumerate(found)]
    rule, placed = places(rows, eval_fraction, test_fraction, seed)
    where = collections.defaultdict(set)
    for r in rows:
        where[r.digest].add(placed[r.key])
    assert all(len(kept - {""}) == 1 for kept in where.values())
    dropped = sum(not split for split in placed.values())
    assert rule.duplicates_dropped == dropped
    assert rule.duplicates_kept == len(rows) - dropped - len(where)
    counted = collections.Counter((placed[r.key], r.text) for r in rows)
    for split in features.SPLITS:
        assert rule.images[split] == {
            text: counted[split, text] for text in CLASSES if counted[split, text]
        }
    generator.shuffle(rows)
    assert places(rows, eval_fraction, test_fraction, seed) == (rule, placed)


@settings(max_examples=300, deadline=None)
@given(ROWS, st.booleans(), FRACTIONS, FRACTIONS)
def test_every_class_keeps_what_it_needs(
    found, has_groups, eval_fraction, test_fraction
):
    rows = [
        row(f"{t}{c}", t, group=f"p{g}" if has_groups else "") for c, t, _, g in found
    ]
    rule, placed = places(rows, eval_fraction, test_fraction)
    units = collections.defaultdict(set)
    of_group = collections.defaultdict(set)
    for r in rows:
        units[r.text].add(r.group or r.digest)
        of_group[rule.repeated.get(r.digest[:16], ("", r.group))[1]].add(placed[r.key])
    assert not has_groups or all(len(splits_) == 1 for splits_ in of_group.values())
    for text, members in units.items():
        assert rule.images["train"][text]
        if not has_groups and len(members) >= splits.MIN_IMAGES_TO_CUT:
            assert bool(test_fraction) == (text in rule.images["test"])
            assert bool(eval_fraction) == (text in rule.images["eval"])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=12, unique=True)
)
def test_what_growth_by_one_image_may_move(numbers):
    cut = (0.1, 0.15)
    *old, _ = rows = with_u("cat", *numbers)
    if len({r.digest for r in rows}) < len(rows):
        return
    earlier, before = places(old, *cut)
    later, after = places(rows, *cut)
    only_one = earlier.images["train"]["cat"] == 1
    for r in old:
        move = (before[r.key], after[r.key])
        if move[0] == move[1]:
            continue
        assert r.digest[:16] in earlier.stand_ins.keys() | later.stand_ins.keys()
        if move[0] == "train":
            stood_in = earlier.stand_ins.get(r.digest[:16]) == "train"
            assert stood_in or (move[1] == "eval" and only_one)


def test_the_order_of_classes_and_groups_does_not_matter():
    rows = [
        row(f"{text}{i}", text, group=f"p{i % 7}")
        for text in CLASSES
        for i in range(20)
    ]
    expected = places(rows, 0.2, 0.2)[0]
    for order in itertools.permutations(CLASSES):
        shuffled = [r for text in order for r in rows if r.text == text]
        random.Random(1).shuffle(shuffled)
        assert places(shuffled, 0.2, 0.2)[0] == expected
