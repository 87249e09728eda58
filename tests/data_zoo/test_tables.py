"""Images named in tables and lists of every make."""

import json

import pytest

from common.errors import ConfigError
from components.image_example_gen import layouts

ANTS = {"ant": 2, "bee": 1}
FILES = ("a1", "a2", "b1")
WORDS = ("ant", "ant", "bee")


def write_images(zoo, folder="img/"):
    zoo.flat(folder, *FILES)


@pytest.mark.parametrize(
    ("header", "path"),
    [
        ("path,label", "img/{}.png"),
        ("filename,class", "img/{}.png"),
        ("image,label", "{}.png"),
        ("id,breed", "{}"),
        ("file_name;category", "img/{}.png"),
        ("Image Name\tspecies", "./img/{}.png"),
        ("path|label", "img\\{}.png"),
        ("uri,label", "gs://bucket/somewhere/{}.png"),
        ("path,label", "/home/me/data/img/{}.png"),
    ],
)
def test_headers_and_delimiters(zoo, header, path):
    write_images(zoo)
    mark = next(mark for mark in ",;\t|" if mark in header)
    rows = [
        mark.join((path.format(file), word))
        for file, word in zip(FILES, WORDS, strict=True)
    ]
    zoo.text("labels.csv", header, *rows)
    zoo.reads({"": ANTS}, says="names the files")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(zoo, encoding):
    write_images(zoo)
    lines = ("path,label", "img/a1.png,Käfer", "img/a2.png,Käfer", "img/b1.png,Öl")
    zoo.text("labels.csv", *lines, encoding=encoding)
    says = {"utf-16": "UTF-16", "cp1252": "Windows-1252"}.get(encoding, "")
    zoo.reads({"": {"Käfer": 2, "Öl": 1}}, says=says)


def test_quoted_cells(zoo):
    zoo.images("img/a, b.png", "img/c.png")
    zoo.text("l.csv", '"path","label"', '"img/a, b.png","say ""hi"""', "img/c.png,cat")
    zoo.reads({"": {'say "hi"': 1, "cat": 1}})


def test_codes_stay_what_they_are(zoo):
    write_images(zoo)
    zoo.text(
        "labels.csv", "path,label", "img/a1.png,007", "img/a2.png,7", "img/b1.png,001"
    )
    zoo.reads({"": {"007": 1, "7": 1, "001": 1}})


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("ant", "bee"), ANTS),
        (("0 ant", "1 bee"), ANTS),
        (("0,ant", "1,bee"), ANTS),
        (("only one",), {"0": 2, "1": 1}),
    ],
)
def test_numbers_are_classes_of_a_file_that_names_them(zoo, lines, expected):
    write_images(zoo)
    zoo.text("labels.csv", "path,label", "img/a1.png,0", "img/a2.png,0", "img/b1.png,1")
    zoo.text("classes.txt", *lines)
    zoo.reads({"": expected})


def test_numbers_from_one(zoo):
    write_images(zoo)
    zoo.text("train.txt", "img/a1.png 1", "img/a2.png 1", "img/b1.png 2")
    zoo.text("class_names.txt", "ant", "bee")
    zoo.reads({"train": ANTS}, says="class_names.txt has the names")


def test_kaggle(zoo):
    zoo.flat("train/", "1", "2", "3")
    zoo.flat("test/", "1", "2")
    zoo.text("trainLabels.csv", "id,label", "1,ant", "2,ant", "3,bee")
    zoo.text("sampleSubmission.csv", "id,label", "1,ant", "2,ant")
    zoo.text("submission_format.csv", "id,label", "1,ant", "2,ant")
    zoo.text("sample_sub.csv", "id,label", "1,ant", "2,ant")
    zoo.reads({"train": ANTS}, says="2 images are in no list")


def test_a_test_table_without_the_classes(zoo):
    zoo.flat("train/", "a1", "a2", "b1")
    zoo.flat("test/", "c1", "c2", "c3")
    zoo.text("train.csv", "id,label,site", "a1,ant,x", "a2,ant,y", "b1,bee,x")
    zoo.text("test.csv", "id,site", "c1,x", "c2,y", "c3,x")
    zoo.asks(
        "'site' of test.csv may be no classes",
        "'data.splits=[test.csv=none]'",
        "data.columns.label=label",
    )
    zoo.reads({"train": ANTS}, splits=(("test.csv", "none"),))
    zoo.reads({"train": ANTS}, label_column="label")


def test_names_that_fit_two_folders(zoo):
    zoo.flat("small/", "1", "2", "3")
    zoo.flat("large/", "1", "2", "3")
    zoo.text("labels.csv", "id,label", "1,ant", "2,ant", "3,bee")
    zoo.asks("several folders", "data.splits=[small=none]", "data.splits=[large=none]")
    zoo.reads({"": ANTS}, splits=(("small", "none"),))


def test_two_columns_of_classes(zoo):
    write_images(zoo)
    zoo.text(
        "pets.csv",
        "file,species,sex",
        "a1.png,ant,f",
        "a2.png,ant,m",
        "b1.png,bee,m",
    )
    zoo.asks(
        "species (2 values, as ant)",
        "--set data.columns.label=species",
        "--set data.columns.label=sex",
    )
    zoo.reads({"": ANTS}, label_column="species")
    zoo.reads({"": {"f": 1, "m": 2}}, label_column="Sex")


def test_number_and_name_of_the_class(zoo):
    write_images(zoo)
    zoo.text("t.csv", "file,label,name", "a1.png,0,ant", "a2.png,0,ant", "b1.png,1,bee")
    zoo.reads({"": ANTS}, says="'name' the classes")


def test_split_column(zoo):
    write_images(zoo)
    zoo.text(
        "t.csv", "image,label,usage", "a1,ant,Training", "a2,ant,dev", "b1,bee,TEST"
    )
    zoo.reads({"train": {"ant": 1}, "eval": {"ant": 1}, "test": {"bee": 1}})


def test_unknown_word_for_a_split(zoo):
    write_images(zoo)
    zoo.text(
        "t.csv", "image,label,split", "a1,ant,train", "a2,ant,train", "b1,bee,exam"
    )
    zoo.refuses("names the split 'exam'")
    zoo.reads({"train": {"ant": 2}, "test": {"bee": 1}}, splits=(("exam", "test"),))


def test_a_table_per_split(zoo):
    write_images(zoo, "images/")
    zoo.text("train.csv", "image,label", "a1,ant", "b1,bee")
    zoo.text("val.csv", "image,label", "a2,ant")
    zoo.reads({"train": {"ant": 1, "bee": 1}, "eval": {"ant": 1}})


def test_lists_of_path_and_label(zoo):
    write_images(zoo, "all images/")
    zoo.text("Train.txt", "all images/a1.png ant", "all images/b1.png bee")
    zoo.text("Test.txt", "all images/a2.png ant")
    zoo.reads({"train": {"ant": 1, "bee": 1}, "test": {"ant": 1}})


def test_roboflow(zoo):
    for split, files in (("train", ("a1", "b1")), ("valid", ("a2",))):
        zoo.flat(f"{split}/", *files)
        rows = [
            f"{file}.png, {int(file[0] == 'a')}, {int(file[0] == 'b')}"
            for file in files
        ]
        zoo.text(f"{split}/_classes.csv", "filename, ant, bee", *rows)
    zoo.reads({"train": {"ant": 1, "bee": 1}, "eval": {"ant": 1}}, says="one-hot")


def test_one_hot_with_two_classes_of_an_image(zoo):
    write_images(zoo)
    zoo.text("t.csv", "image,ant,bee", "a1,1.0,0.0", "a2,1.0,1.0", "b1,0.0,1.0")
    zoo.refuses("line 3 of t.csv gives an image 2 classes")


def test_vertex_csv(zoo):
    write_images(zoo)
    zoo.text(
        "import.csv",
        "TRAINING,gs://b/a1.png,ant",
        "VALIDATION,gs://b/a2.png,ant",
        "TEST,gs://b/b1.png,bee",
    )
    zoo.reads({"train": {"ant": 1}, "eval": {"ant": 1}, "test": {"bee": 1}})


def test_vertex_json_lines(zoo):
    write_images(zoo)
    lines = [
        json.dumps(
            {
                "imageGcsUri": f"gs://b/{file}.png",
                "classificationAnnotation": {"displayName": word},
                "dataItemResourceLabels": {"aiplatform.googleapis.com/ml_use": use},
            }
        )
        for file, word, use in zip(
            FILES, WORDS, ("training", "test", "test"), strict=True
        )
    ]
    zoo.text("import.jsonl", *lines)
    zoo.reads({"train": {"ant": 1}, "test": {"ant": 1, "bee": 1}})


def test_hugging_face_metadata(zoo):
    zoo.flat("train/", *FILES)
    lines = [
        json.dumps({"file_name": f"{file}.png", "label": word})
        for file, word in zip(FILES, WORDS, strict=True)
    ]
    zoo.text("train/metadata.jsonl", *lines)
    zoo.reads({"train": ANTS})


def test_label_studio_csv(zoo):
    zoo.images(*(f"images/0123abcd-{file}.png" for file in FILES))
    rows = [
        f"/data/upload/3/0123abcd-{file}.png,{n},{word},1,{n},2024-01-01,9.5"
        for n, (file, word) in enumerate(zip(FILES, WORDS, strict=True), start=1)
    ]
    zoo.text(
        "project.csv",
        "image,id,choice,annotator,annotation_id,created_at,lead_time",
        *rows,
    )
    zoo.reads({"": ANTS}, says="'choice' the classes")


def test_label_studio_json(zoo):
    write_images(zoo)
    tasks = [
        {
            "id": n,
            "data": {"image": f"/data/local-files/?d=img/{file}.png"},
            "annotations": [
                {
                    "id": n,
                    "result": [{"type": "choices", "value": {"choices": [word]}}],
                }
            ],
        }
        for n, (file, word) in enumerate(zip(FILES, WORDS, strict=True))
    ]
    zoo.data("project.json", json.dumps(tasks).encode())
    zoo.reads({"": ANTS}, says="choices")


def test_open_images(zoo):
    write_images(zoo)
    rows = [
        f"{file},verification,{key},1"
        for file, key in zip(FILES, ("/m/0ant", "/m/0ant", "/m/0bee"), strict=True)
    ]
    zoo.text("train-annotations.csv", "ImageID,Source,LabelName,Confidence", *rows)
    zoo.text("class-descriptions.csv", "/m/0ant,ant", "/m/0bee,bee", "/m/0cow,cow")
    zoo.reads({"train": ANTS}, says="class-descriptions.csv has the names")


def test_table_beside_class_folders(zoo):
    zoo.classes(ant=2, bee=1)
    zoo.text(
        "shots.csv",
        "file,camera,day",
        "ant/0.png,A,1",
        "ant/1.png,B,2",
        "bee/0.png,A,2",
    )
    zoo.asks("several columns", "data.columns.label=camera")
    zoo.reads({"": ANTS}, format="folder")


def test_table_beside_class_folders_with_one_other_column(zoo):
    zoo.classes(ant=2, bee=1)
    zoo.text("shots.csv", "file,camera", "ant/0.png,A", "ant/1.png,B", "bee/0.png,A")
    zoo.asks("different classes", "data.format=folder", "data.format=list")
    zoo.reads({"": ANTS}, format="folder")


def test_table_of_some_images_in_class_folders(zoo):
    zoo.classes(ant=2, bee=1)
    zoo.text("checked.csv", "file,label", "ant/0.png,ant", "bee/0.png,bee")
    zoo.asks("1 of 3 images", "data.format=folder", "data.format=list")
    zoo.reads({"": ANTS}, format="folder")
    zoo.reads({"": {"ant": 1, "bee": 1}}, format="list")


def test_two_columns_of_files(zoo):
    zoo.flat("", "l1", "l2", "r1", "r2")
    zoo.text("eyes.csv", "left,right,label", "l1.png,r1.png,ill", "l2.png,r2.png,well")
    zoo.asks(
        "left, right", "--set data.columns.path=left", "--set data.columns.path=right"
    )
    zoo.reads({"": {"ill": 1, "well": 1}}, path_column="right")


@pytest.mark.parametrize(
    "text", [",,", "{", "[1, 2]", '{"a": 1}', "", "a,b", "great dane"]
)
def test_other_files_called_like_tables(zoo, text):
    zoo.classes(ant=2, bee=1)
    for name in ("a.csv", "a.json", "a.jsonl", "train.txt", "labels.txt", "list.txt"):
        zoo.text(name, text)
    zoo.reads({"": ANTS})


def test_tables_that_disagree(zoo):
    write_images(zoo)
    zoo.text("one.csv", "path,label", "a1.png,ant", "a2.png,ant", "b1.png,bee")
    zoo.text("two.csv", "path,label", "a1.png,ant", "a2.png,bee", "b1.png,bee")
    zoo.asks("img/a2.png", "data.splits=[one.csv=none]", "data.splits=[two.csv=none]")
    zoo.reads({"": ANTS}, splits=(("two.csv", "none"),))


def test_table_of_other_images(zoo):
    write_images(zoo)
    zoo.text("labels.csv", "path,label", "img/c1.png,ant")
    zoo.refuses("line 2 of labels.csv: img/c1.png")


def test_table_of_other_things_beside_class_folders(zoo):
    zoo.classes(ant=2, bee=1)
    zoo.text("prices.csv", "item,price", "box,3", "bag,4")
    zoo.reads({"": ANTS})


def test_a_table_among_files_of_single_images(zoo):
    write_images(zoo)
    for number in range(101):
        zoo.text(f"shots/{number}.json", '{"image": "img/a1.png", "label": "odd"}')
    zoo.text("labels.csv", "image,label", "a1,ant", "a2,ant", "b1,bee")
    zoo.reads({"": ANTS})


def test_traffic_signs(zoo):
    zoo.classes("Train/", **{"0": 2, "1": 1})
    zoo.flat("Test/", "00000", "00001")
    zoo.flat("Meta/", "0", "1")
    header = "Width,Height,Roi.X1,Roi.Y1,ClassId,Path"
    zoo.text(
        "Train.csv",
        header,
        "4,4,1,1,0,Train/0/0.png",
        "4,4,1,1,0,Train/0/1.png",
        "4,4,1,1,1,Train/1/0.png",
    )
    zoo.text("Test.csv", header, "4,4,1,1,0,Test/00000.png", "4,4,1,1,1,Test/00001.png")
    zoo.text("Meta.csv", "Path,ClassId,ShapeId", "Meta/0.png,0,1", "Meta/1.png,1,1")
    zoo.reads(
        {"train": {"0": 2, "1": 1}, "test": {"0": 1, "1": 1}},
        splits=(("Meta.csv", "none"),),
    )


def test_a_column_that_no_table_has(zoo):
    write_images(zoo)
    zoo.text("labels.csv", "image,label", "a1,ant", "a2,ant", "b1,bee")
    with pytest.raises(ConfigError, match="no table of images has the columns"):
        layouts.plan(str(zoo.folder), layouts.Answers(label_column="species"))


@pytest.mark.parametrize("cell", ["IMG/{}.PNG", "{}.jpg", "C:\\me\\img\\{}.Png"])
def test_names_with_other_capitals_or_endings(zoo, cell):
    write_images(zoo)
    rows = [f"{cell.format(f)},{w}" for f, w in zip(FILES, WORDS, strict=True)]
    zoo.text("labels.csv", "path,label", *rows)
    zoo.reads({"": ANTS}, says="3 files have another spelling")


def test_two_files_of_one_name(zoo):
    write_images(zoo)
    zoo.images("img/a1.jpg")
    zoo.text("labels.csv", "id,label", "a1,ant", "a2,ant", "b1,bee")
    zoo.asks("img/a1.jpg, img/a1.png", "*.jpg=none", "*.png=none")
    zoo.reads({"": ANTS}, splits=(("*.jpg", "none"),))


@pytest.mark.parametrize("cells", [("7", "8", "9"), ("7.0", "8.0", "9.0")])
def test_numbers_that_lost_their_zeros(zoo, cells):
    zoo.flat("img/", "0007", "0008", "0009")
    rows = [f"{cell},{word}" for cell, word in zip(cells, WORDS, strict=True)]
    zoo.text("labels.csv", "id,label", *rows)
    zoo.refuses("img/0007.png is there")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ant", "ant", "NaN", "bee"), "line 4: NaN"),
        (("ant", "ant", "None", "bee"), "line 4: None"),
        (("ant", "bee", "ant|bee", "bee"), "line 4: ant|bee"),
        (("ant", "bee", '"bee, ant"', "bee"), "line 4: bee, ant"),
        (("ant", "bee", "\"['ant', 'bee']\"", "bee"), "several classes"),
        (("ant", "ant red", "ant", "red"), "line 3: ant red"),
        (("0.5", "0.25", "0.5", "1"), "looks like measurements"),
    ],
)
def test_texts_that_may_be_no_classes(zoo, words, said):
    zoo.flat("img/", "1", "2", "3", "4")
    zoo.text("l.csv", "file,label", *(f"{n}.png,{w}" for n, w in enumerate(words, 1)))
    zoo.asks(said, "--set data.columns.label=label")
    texts = [word.strip('"') for word in words]
    counts = {text: texts.count(text) for text in texts}
    zoo.reads({"": counts}, label_column="label")


def test_tags(zoo):
    zoo.flat("img/", "1", "2", "3")
    zoo.text("l.csv", "file,tags", "1.png,haze", "2.png,haze water", "3.png,clear")
    zoo.asks("line 3: haze water", "data.columns.label=tags")


def test_names_of_two_words(zoo):
    zoo.flat("img/", "1", "2", "3", "4")
    rows = ("1.png,apple", "2.png,green apple", "3.png,apple", "4.png,green apple")
    zoo.text("l.csv", "file,label", *rows)
    zoo.reads({"": {"apple": 2, "green apple": 2}})


@pytest.mark.parametrize("cell", ["{}", "a photo of {}"])
def test_another_text_in_every_row(zoo, cell):
    zoo.flat("img/", "a", "b", "c", "d")
    rows = [f"{name}.png,{cell.format(n)}" for n, name in enumerate("abcd", 20)]
    zoo.text("about.csv", "file,about", *rows)
    zoo.asks("'about' of about.csv has another value", "data.columns.label=about")


def test_probabilities(zoo):
    write_images(zoo)
    zoo.text("p.csv", "file,ant,bee", "a1,0.9,0.1", "a2,0.7,0.3", "b1,0.2,0.8")
    zoo.refuses("p.csv has a probability per class; ant, bee")


@pytest.mark.parametrize("preface", [("sep=;",), ("# by me; today", "#")])
def test_lines_above_the_header(zoo, preface):
    write_images(zoo)
    rows = [f"{file}.png; {word};" for file, word in zip(FILES, WORDS, strict=True)]
    zoo.text("labels.csv", *preface, "file;label", *rows)
    zoo.reads({"": ANTS})


def test_a_header_behind_a_hash(zoo):
    write_images(zoo)
    rows = [f"{file},{word}" for file, word in zip(FILES, WORDS, strict=True)]
    zoo.text("labels.csv", "#file,label", *rows)
    zoo.reads({"": ANTS}, says="'#file' names the files")


def test_quotes_behind_a_blank(zoo):
    write_images(zoo)
    rows = [f'"{file}.png", "{word}"' for file, word in zip(FILES, WORDS, strict=True)]
    zoo.text("labels.csv", '"file", "label"', *rows)
    zoo.reads({"": ANTS})


def test_a_cell_that_should_have_quotes(zoo):
    write_images(zoo)
    zoo.text("l.csv", "file,label", "a1.png,hot dog, plain", "a2.png,x", "b1.png,x")
    zoo.refuses("line 2 of l.csv has more cells than the header")


def test_a_list_of_classes_of_two_words(zoo):
    write_images(zoo)
    zoo.text("train.txt", "img/a1.png hot dog", "img/a2.png hot dog", "img/b1.png pie")
    zoo.reads({"train": {"hot dog": 2, "pie": 1}})


@pytest.mark.parametrize(
    "found",
    [
        dict(zip(("a1.png", "a2.png", "b1.png"), WORDS, strict=True)),
        {"ant": ["a1.png", "a2.png"], "bee": ["b1.png"]},
        {
            "a1.png": {"class": "ant"},
            "a2.png": {"class": "ant"},
            "b1.png": {"class": "bee"},
        },
        {
            "info": {},
            "data": [
                {"path": f"{f}.png", "tag": w}
                for f, w in zip(FILES, WORDS, strict=True)
            ],
        },
        {
            "images": [{"id": n, "file_name": f"{f}.png"} for n, f in enumerate(FILES)],
            "annotations": [
                {"id": n, "image_id": n, "category_id": int(w == "bee")}
                for n, w in enumerate(WORDS)
            ],
            "categories": [{"id": 0, "name": "ant"}, {"id": 1, "name": "bee"}],
        },
    ],
    ids=["by file", "by class", "fields by file", "one list", "COCO"],
)
def test_objects_in_json(zoo, found):
    write_images(zoo)
    zoo.text("labels.json", json.dumps(found))
    zoo.reads({"": ANTS})


def test_names_by_number_in_json_are_no_table(zoo):
    zoo.flat("img/", "0", "1", "2")
    zoo.text("names.json", '{"0": "ant", "1": "bee"}')
    zoo.refuses("hold no class folders")


def test_columns_that_are_not_read_are_told(zoo):
    write_images(zoo)
    zoo.text(
        "l.csv",
        "file,label,xmin,ymin,fold",
        "a1,ant,1,1,0",
        "a2,ant,1,1,1",
        "b1,bee,1,1,1",
    )
    zoo.reads({"": ANTS}, says="boxes are not read")
    zoo.reads({"": ANTS}, says="'fold' may be splits and is not read")
    zoo.reads(
        {"test": {"ant": 1}, "train": ANTS | {"ant": 1}},
        split_column="fold",
        splits=(("0", "test"), ("1", "train")),
    )


def test_label_studio_with_a_task_that_is_not_done(zoo):
    write_images(zoo)
    tasks = [
        {
            "data": {"image": f"img/{file}.png"},
            "annotations": [
                {"result": [{"type": "choices", "value": {"choices": [w]}}]}
            ]
            if file != "a1"
            else [],
        }
        for file, w in zip(FILES, WORDS, strict=True)
    ]
    zoo.text("project.json", json.dumps(tasks))
    zoo.refuses("line 1 of project.json has no label")


def test_lists_of_paths_without_classes(zoo):
    zoo.flat("JPEGImages/", "1", "2")
    zoo.text("Annotations/1.xml", "<annotation/>")
    zoo.text("ImageSets/train.txt", "1")
    zoo.text("ImageSets/val.txt", "2")
    zoo.refuses("as Pascal VOC's")


def test_a_table_in_a_folder_beside_the_images(zoo):
    zoo.flat("data/img/", *FILES)
    rows = [f"../img/{file}.png,{w}" for file, w in zip(FILES, WORDS, strict=True)]
    zoo.text("data/csv/labels.csv", "path,label", *rows)
    zoo.reads({"": ANTS})


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("gbk", ("狗", "猫")),
        ("shift_jis", ("イヌ", "ネコ")),
        ("mac_roman", ("Käfer", "Öl")),
        ("cp1251", ("кот", "пёс")),
    ],
)
def test_encodings_that_cannot_be_told(zoo, encoding, words):
    write_images(zoo)
    rows = (f"a1.png,{words[0]}", f"a2.png,{words[1]}")
    zoo.text("labels.csv", "path,label", *rows, encoding=encoding)
    zoo.refuses("labels.csv has an unknown encoding", tip="UTF-8")
