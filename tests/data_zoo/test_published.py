"""Data sets in the layout in which their authors publish them."""

import pytest


def test_food_101(zoo):
    zoo.classes("food-101/images/", apple_pie=3, waffles=2)
    zoo.text("food-101/meta/classes.txt", "apple_pie", "waffles")
    zoo.text("food-101/meta/train.txt", "apple_pie/0", "apple_pie/1", "waffles/0")
    zoo.text("food-101/meta/test.txt", "apple_pie/2", "waffles/1")
    zoo.reads(
        {
            "train": {"apple_pie": 2, "waffles": 1},
            "test": {"apple_pie": 1, "waffles": 1},
        },
        says="food-101/meta/test.txt lists test",
    )


def test_sun397(zoo):
    zoo.classes("SUN397/a/", abbey=3)
    zoo.classes("SUN397/b/bank/", indoor=2)
    paths = [f"/a/abbey/{n}.png" for n in range(3)]
    paths += [f"/b/bank/indoor/{n}.png" for n in range(2)]
    for number, held_out in enumerate((0, 1), start=1):
        test = [paths[held_out], paths[3 + held_out]]
        train = [path for path in paths if path not in test]
        zoo.text(f"Partitions/Training_{number:02}.txt", *train)
        zoo.text(f"Partitions/Testing_{number:02}.txt", *test)
    zoo.asks(
        "lists of two splits",
        "'data.splits=[Testing_02.txt=none, Training_02.txt=none]' (reads Testing_01.txt",
    )
    zoo.reads(
        {
            "train": {"abbey": 2, "bank_indoor": 1},
            "test": {"abbey": 1, "bank_indoor": 1},
        },
        splits=(("Training_02.txt", "none"), ("Testing_02.txt", "none")),
    )


def test_lists_of_paths(zoo):
    zoo.classes("insects/", ant=2, bee=2)
    zoo.text("train.txt", "insects/ant/0.png", "insects/bee/0.png")
    zoo.text("val.txt", "insects/ant/1.png", "insects/bee/1.png")
    zoo.reads({"train": {"ant": 1, "bee": 1}, "eval": {"ant": 1, "bee": 1}})


def test_an_image_in_two_lists_of_paths(zoo):
    zoo.classes("insects/", ant=2, bee=2)
    paths = [f"insects/{text}/{n}.png" for text in ("ant", "bee") for n in range(2)]
    zoo.text("train.txt", *paths)
    zoo.text("val.txt", *paths[:1])
    zoo.asks("lists of two splits", "[train.txt=none]", "[val.txt=none]' (leaves val")
    zoo.reads({"train": {"ant": 2, "bee": 2}}, splits=(("val.txt", "none"),))


GOLDFISH, TOAD = "n01443537", "n01641577"


@pytest.mark.parametrize("has_names", [True, False])
def test_tiny_imagenet(zoo, has_names):
    zoo.images(
        *(f"train/{i}/images/{i}_{n}.JPEG" for i in (GOLDFISH, TOAD) for n in (0, 1))
    )
    zoo.images("val/images/val_0.JPEG", "val/images/val_1.JPEG", "test/images/t.JPEG")
    zoo.text(
        "val/val_annotations.txt",
        f"val_0.JPEG\t{TOAD}\t0\t0\t9\t9",
        f"val_1.JPEG\t{GOLDFISH}\t1",
    )
    zoo.text(f"train/{GOLDFISH}/{GOLDFISH}_boxes.txt", "0.JPEG\t0\t0\t62\t62")
    zoo.text("wnids.txt", GOLDFISH, TOAD)
    names = (GOLDFISH, TOAD)
    if has_names:
        names = ("goldfish", "bullfrog")
        zoo.text(
            "words.txt",
            f"{GOLDFISH}\tgoldfish, Carassius auratus",
            f"{TOAD}\tbullfrog, Rana catesbeiana",
            "n00001740\tentity",
        )
    zoo.reads(
        {"train": dict.fromkeys(names, 2), "eval": dict.fromkeys(names, 1)},
        says="words.txt has the names" if has_names else "called by their synset",
    )


def test_imagenet(zoo):
    """Two classes of ImageNet share their first name: these keep all of them."""
    cranes = ("n02012849", "n03126707")
    for split in ("train", "val"):
        zoo.classes(f"{split}/", **dict.fromkeys((GOLDFISH, *cranes), 2))
    zoo.text(
        "LOC_synset_mapping.txt",
        f"{GOLDFISH} goldfish, Carassius auratus",
        f"{cranes[0]} crane",
        f"{cranes[1]} crane, lifting machine",
    )
    names = ("goldfish", "crane", "crane, lifting machine")
    zoo.reads(
        {"train": dict.fromkeys(names, 2), "eval": dict.fromkeys(names, 2)},
        says="LOC_synset_mapping.txt has the names of the classes",
    )


def test_imagenet_without_all_names_keeps_the_ids(zoo):
    zoo.classes("", **{GOLDFISH: 2, TOAD: 2})
    zoo.text("words.txt", f"{GOLDFISH}\tgoldfish")
    zoo.reads({"": {GOLDFISH: 2, TOAD: 2}})


def test_cub(zoo):
    zoo.classes("CUB/images/", **{"001.Albatross": 2, "002.Auk": 1})
    zoo.text(
        "CUB/images.txt",
        "1 001.Albatross/0.png",
        "2 001.Albatross/1.png",
        "3 002.Auk/0.png",
    )
    zoo.text("CUB/image_class_labels.txt", "1 1", "2 1", "3 2")
    zoo.text("CUB/classes.txt", "1 001.Albatross", "2 002.Auk")
    zoo.text("CUB/train_test_split.txt", "1 1", "2 0", "3 1")
    zoo.reads(
        {"train": {"001.Albatross": 1, "002.Auk": 1}, "test": {"001.Albatross": 1}}
    )


def test_oxford_pets(zoo):
    names = ("Abyssinian_1", "Abyssinian_2", "great_dane_1", "great_dane_2")
    zoo.flat("images/", *names)
    zoo.flat("annotations/trimaps/", *names)
    rows = [f"{name} {1 + (name[0] == 'g')} 1 1" for name in names]
    zoo.text("annotations/list.txt", "#Image CLASS-ID SPECIES BREED ID", *rows)
    zoo.reads({"": {"Abyssinian": 2, "great_dane": 2}}, says="no splits")
    zoo.text("annotations/trainval.txt", rows[0], rows[2])
    zoo.text("annotations/test.txt", rows[1], rows[3])
    both = {"Abyssinian": 1, "great_dane": 1}
    zoo.reads({"train": both, "test": both}, says="trainval.txt is train")


def test_oxford_pets_whose_list_is_short(zoo):
    """Fewer columns, and images that no line names: both are said."""
    zoo.flat("images/", "Abyssinian_1", "Abyssinian_2", "great_dane_1", "beagle_7")
    zoo.text("annotations/list.txt", "#Image CLASS-ID", "Abyssinian_1 1", "beagle_7 2")
    zoo.reads(
        {"": {"Abyssinian": 1, "beagle": 1}},
        says="2 images are in no list and are left",
    )
