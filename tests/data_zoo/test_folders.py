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
        ("Trainingsdaten/", "Validierung/", "Testdaten/"),
        ("entrenamiento/", "validación/", "prueba/"),
        ("训练集/", "验证集/", "测试集/"),
        ("train_zip/train/", "val_zip/val/", "test_zip/test/"),
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


def test_words_of_other_scripts_are_no_splits(zoo):
    zoo.classes(**{"рис_test": 2, "чай_train": 1, "valé": 3})
    zoo.reads({"": {"рис_test": 2, "чай_train": 1, "valé": 3}})


@pytest.mark.parametrize(
    ("folders", "parents"),
    [
        (("1/train/", "1/test/", "2/train/", "2/test/"), ("train", "test")),
        (("Fold_1/", "Fold_2/"), ("",)),
        (("P1/images/", "P2/images/"), ("",)),
    ],
    ids=["splits below", "folds", "kinds below"],
)
def test_parts_above_the_classes(zoo, folders, parents):
    for folder in folders:
        zoo.classes(folder, **ANTS)
    zoo.asks("ant, bee", "data.class_from=folder", "data.class_from=parent")
    share = len(folders) // len(parents)
    counts = {text: count * share for text, count in ANTS.items()}
    zoo.reads(dict.fromkeys(parents, counts), class_from="parent")


def test_uneven_parts_above_the_classes(zoo):
    zoo.classes("2023-01-01/", ant=2)
    zoo.classes("2023-01-02/", bee=1, ant=1)
    zoo.asks(
        "may be the top folders",
        "--set data.class_from=folder (classes: 2023-01-01, 2023-01-02)",
        "--set data.class_from=parent (classes: ant, bee)",
    )
    zoo.reads({"": {"ant": 3, "bee": 1}}, class_from="parent")


def test_groups_of_classes(zoo):
    zoo.classes("animals/", ant=2, bee=1)
    zoo.classes("plants/", rose=2)
    zoo.asks(
        "animals/ with ant, bee", "data.class_from=folder", "data.class_from=parent"
    )


def test_one_folder_in_every_class(zoo):
    zoo.classes("ant/images/", batch=2)
    zoo.classes("bee/images/", batch=1)
    zoo.reads({"": {"ant": 2, "bee": 1}})


def test_two_domains_with_splits(zoo):
    for name in ("trainA", "trainB", "testA", "testB"):
        zoo.flat(f"{name}/", "1", "2")
    zoo.asks("testA/, testB/, trainA/, trainB/", "data.class_from=folder")


def test_a_copy_of_the_data_set_inside_it(zoo):
    for folder in ("ants/", "ants/ants/"):
        write_splits(zoo, f"{folder}train/", f"{folder}val/", f"{folder}test/")
    answer = (("ants/ants", "none"),)
    zoo.asks("ants/ with test, train, val", "'data.splits=[ants/ants=none]'")
    zoo.reads(SPLITS, splits=answer)


def test_all_that_is_unknown_is_asked_at_once(zoo):
    write_splits(zoo, "train/", "val/", "exam/")
    zoo.classes("more/", **ANTS)
    zoo.asks("exam/ with ant, bee", "'data.splits=[exam=test, more=test]'")
    zoo.asks(
        "more/ with ant, bee", "[exam=test, more=test]", splits=(("exam", "test"),)
    )


def test_a_test_folder_of_other_classes(zoo):
    zoo.classes("train/", **ANTS)
    zoo.classes("test/", unknown=2)
    zoo.asks("unknown in test/", "'data.splits=[test=none]'", "data.class_from=parent")
    zoo.reads({"train": ANTS}, splits=(("test", "none"),))


def test_images_without_classes_are_no_split(zoo):
    zoo.classes("train/", **ANTS)
    zoo.flat("test/", "1", "2")
    zoo.reads({"train": ANTS}, says="folder per class: train/ is train; test/ has no")


def test_masks_in_every_class(zoo):
    for text in ANTS:
        zoo.classes(f"{text}/", images=2, masks=2)
    zoo.asks("images, masks in each", "'data.splits=[masks=none]'")
    zoo.reads({"": {"ant": 2, "bee": 2}}, splits=(("masks", "none"),))


@pytest.mark.parametrize("word", ["_mask", "-thumb", " - Copy", "_rot90"])
def test_images_made_from_others(zoo, word):
    zoo.flat("ant/", "a (1)", f"a (1){word}", "2", f"2{word}")
    zoo.flat("bee/", "1", f"1{word}")
    zoo.asks(f"1{word}.png; 3 of 6 images", f"*{word}.*=none", "data.format=folder")
    zoo.reads({"": {"ant": 2, "bee": 1}}, splits=((f"*{word}.*", "none"),))
    zoo.reads({"": {"ant": 4, "bee": 2}}, format="folder")


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("labels.xlsx", "PK", "a spreadsheet: save it as CSV"),
        ("annotations/1.xml", "<annotation/>", "boxes or outlines"),
        ("images/1.txt", "0 0.5 0.5 0.1 0.1", "boxes or outlines"),
        ("labels/1.txt", "0 0.5 0.5 0.1 0.1", "boxes or outlines"),
        ("imagelabels.mat", "MATLAB 5.0", "MATLAB: write a CSV"),
        ("truth.txt", "1.png cat", "names images, in a form that is not known"),
        ("a.json", '{"shapes": [{"points": []}]}', "as LabelMe's"),
        (
            "a.json",
            '{"images": [], "annotations": [{"bbox": []}], "categories": []}',
            "as COCO's",
        ),
    ],
)
@pytest.mark.parametrize("folder", ["images", "insects"])
def test_classes_in_a_file_that_is_not_read(zoo, folder, file, text, said):
    zoo.flat(f"{folder}/", "1", "2")
    zoo.text(file.replace("images/", f"{folder}/"), text)
    if file != "labels/1.txt" or folder == "images":
        zoo.refuses(said)


def test_a_folder_without_images(zoo):
    zoo.classes(**ANTS)
    zoo.text("wasp/notes.rtf", "nothing yet")
    zoo.reads({"": ANTS}, says="no images, and so no classes, are in wasp/")


def test_the_classes_once_more_in_one_of_the_folders(zoo):
    zoo.classes("plants/", rose=2, tulip=1)
    zoo.classes("plants/plants/", rose=2, tulip=1)
    zoo.asks(
        "rose, tulip", "data.class_from=parent", "'data.splits=[plants/plants=none]'"
    )
    zoo.reads({"": {"rose": 2, "tulip": 1}}, splits=(("plants/plants", "none"),))


@pytest.mark.parametrize("other", ["papers/figures/", "ground_truth/bee/"])
def test_folders_beside_splits_that_are_none(zoo, other):
    write_splits(zoo, "train/", "val/", "test/")
    zoo.flat(other, "1", "2")
    top = other.split("/")[0]
    zoo.asks(f"{top}/ with", f"'data.splits=[{top}=none]'")
