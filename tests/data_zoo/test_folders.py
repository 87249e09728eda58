"""Class folders, split folders at any level, and folders that are neither."""

import pytest

ANTS = {"ant": 3, "bee": 2}
SPLITS = {
    "train": ANTS,
    "eval": {"ant": 2, "bee": 1},
    "test": {"ant": 1, "bee": 2},
}


def write_splits(zoo, train, val, test):
    zoo.classes(train, **SPLITS["train"])
    zoo.classes(val, **SPLITS["eval"])
    zoo.classes(test, **SPLITS["test"])


def test_class_folders(zoo):
    zoo.classes(**ANTS)
    zoo.reads({"": ANTS}, says="the top folders are the classes")


def test_wrapped_class_folders(zoo):
    zoo.classes("insects/images/", **ANTS)
    zoo.reads({"": ANTS})


def test_class_folders_with_folders_of_their_own(zoo):
    zoo.classes("ant/", red=2, black=1)
    zoo.classes(bee=2)
    zoo.reads({"": ANTS})


def test_codes_as_class_folders(zoo):
    zoo.classes(**{"007": 2, "7": 3, "001": 1})
    zoo.reads({"": {"007": 2, "7": 3, "001": 1}})


@pytest.mark.parametrize(
    "names",
    [
        ("train/", "val/", "test/"),
        ("Training/", "Validation/", "Testing/"),
        ("train/", "dev/", "holdout/"),
        ("train_images/", "val_images/", "test_images/"),
        ("seg_train/seg_train/", "seg_val/seg_val/", "seg_test/seg_test/"),
        ("insects_train/", "insects_val/", "insects_test/"),
        ("train_insects/", "val_insects/", "test_insects/"),
        ("train2017/", "val2017/", "test2017/"),
        ("data/train/", "data/valid/", "data/test/"),
        ("train/images/", "valid/images/", "test/images/"),
    ],
    ids=lambda names: names[1].strip("/").replace("/", " in "),
)
def test_split_folders(zoo, names):
    write_splits(zoo, *names)
    zoo.reads(SPLITS, says="is eval")


def test_split_folders_in_class_folders(zoo):
    for text in ANTS:
        for split, inner in (("train", "train"), ("eval", "val"), ("test", "test")):
            zoo.classes(f"{text}/", **{inner: SPLITS[split][text]})
    zoo.reads(SPLITS, says="split folders in each")


def test_split_folders_with_unlabelled_ones_beside(zoo):
    write_splits(zoo, "seg_train/seg_train/", "seg_val/seg_val/", "seg_test/seg_test/")
    zoo.flat("seg_pred/seg_pred/", "1", "2")
    zoo.reads(SPLITS, says="seg_pred/ has no class folders and is left out")


def test_a_class_called_train(zoo):
    zoo.classes(train=3, tram=2)
    zoo.reads({"": {"train": 3, "tram": 2}})


def test_unknown_folder_beside_splits(zoo):
    write_splits(zoo, "train/", "val/", "exam/")
    zoo.asks("exam/ with ant, bee", "'data.splits=[exam=test]'")
    zoo.reads(SPLITS, splits=(("exam", "test"),))
    zoo.reads(
        {"train": SPLITS["train"], "eval": SPLITS["eval"]}, splits=(("exam", "none"),)
    )


def test_flat_train_and_test(zoo):
    zoo.flat("train/", "ant.0", "ant.1", "bee.0")
    zoo.flat("test1/", "1", "2")
    zoo.asks(
        "test1/, train/", "--set data.class_from=name", "--set data.class_from=folder"
    )
    zoo.reads({"train": {"ant": 2, "bee": 1}}, class_from="name", says="2 images")
    zoo.reads({"": {"train": 3, "test1": 2}}, class_from="folder")


def test_flat_train_beside_unlabelled_ones(zoo):
    zoo.flat("train/", "ant_1", "ant_2", "bee_2")
    zoo.flat("unlabeled/", "1")
    zoo.asks("train/, unlabeled/", "--set data.class_from=name")


def test_flat_train_and_test_without_any_class(zoo):
    zoo.flat("train/", "1", "2", "3")
    zoo.flat("test/", "4")
    zoo.asks("test/, train/", "--set data.class_from=folder")


def test_kinds_with_the_same_classes(zoo):
    for kind in ("color", "grayscale", "segmented"):
        zoo.classes(f"{kind}/", **ANTS)
    zoo.asks(
        "color/, grayscale/, segmented/",
        "data.splits=[color=train",
        "--set data.class_from=parent",
        "--set data.class_from=folder",
    )
    zoo.reads({"": ANTS}, splits=(("grayscale", "none"), ("segmented", "none")))
    zoo.reads({"": {"ant": 9, "bee": 6}}, class_from="parent")
    zoo.reads(
        {"train": ANTS, "test": {"ant": 6, "bee": 4}},
        class_from="parent",
        splits=(("color", "train"), ("grayscale", "test"), ("segmented", "test")),
    )


def test_images_and_masks(zoo):
    zoo.flat("images/", "ant_1", "bee_1")
    zoo.flat("masks/", "ant_1", "bee_1")
    zoo.asks("images/, masks/", "--set data.class_from=name")
    zoo.reads(
        {"": {"ant": 1, "bee": 1}}, class_from="name", splits=(("masks", "none"),)
    )


def test_letters_above_the_classes(zoo):
    zoo.classes("a/", abbey=2)
    zoo.classes("a/airport/", outdoor=1, indoor=2)
    zoo.classes("b/", bakery=3)
    zoo.reads(
        {"": {"abbey": 2, "airport_outdoor": 1, "airport_indoor": 2, "bakery": 3}},
        says="a folder per letter",
    )


def test_dogs_of_stanford(zoo):
    zoo.classes("Images/", **{"n02085620-Chihuahua": 2, "n02088364-beagle": 1})
    zoo.data("Annotation/n02085620-Chihuahua/n02085620_10074", b"<annotation/>")
    zoo.data("file_list.mat", b"MATLAB 5.0")
    zoo.reads({"": {"n02085620-Chihuahua": 2, "n02088364-beagle": 1}})


def test_names_that_hold_the_class(zoo):
    zoo.flat("", "cat (1)", "cat (2)", "dog_12", "shiba_inu-3")
    zoo.reads({"": {"cat": 2, "dog": 1, "shiba_inu": 1}}, class_from="name")
    zoo.refuses("no class folders")
