import pandas as pd

from report import confusion


def make_table(rows):
    """Rows of label, predicted and confidence; keys are their places."""
    columns = {"label": "int32", "predicted": "int32", "confidence": "float32"}
    table = pd.DataFrame(rows, columns=list(columns)).astype(columns)
    return table.assign(key=[f"image {place}" for place in range(len(rows))])


def test_shares_are_of_the_rows_and_shades_of_the_largest_confusion():
    shown = confusion.matrix([[6, 4, 0], [1, 9, 0], [0, 0, 0]])
    assert shown.total == shown.shown == 20
    assert shown.shares.tolist() == [[0.6, 0.4, 0], [0.1, 0.9, 0], [0, 0, 0]]
    assert [shown.shade(*cell) for cell in ((0, 1), (1, 0), (0, 0), (0, 2))] == [
        8,
        2,
        0,
        0,
    ]
    assert shown.cells() == [(0, 1), (1, 0), (1, 1), (0, 0)]


def test_every_cell_gets_one_image_before_any_gets_its_second(monkeypatch):
    table = make_table(
        [(0, 0, 0.5), (0, 0, 0.9), (0, 1, 0.7), (0, 1, 0.8), (1, 1, 0.6)]
    )
    shown = confusion.matrix([[2, 2], [0, 1]])
    chosen = confusion.choose_images(shown, table)
    assert {cell: [row.key for row in rows] for cell, rows in chosen.items()} == {
        (0, 1): ["image 3", "image 2"],
        (0, 0): ["image 1", "image 0"],
        (1, 1): ["image 4"],
    }
    assert confusion.keys_in_order(chosen) == [
        *("image 3", "image 1", "image 4"),
        *("image 2", "image 0"),
    ]
    monkeypatch.setattr(confusion, "MAX_IMAGES", 4)
    assert sum(map(len, confusion.choose_images(shown, table).values())) == 4


def test_cells_that_the_predictions_lack_have_no_images():
    shown = confusion.matrix([[1, 1], [0, 1]])
    assert confusion.choose_images(shown, make_table([(0, 0, 0.5)])).keys() == {(0, 0)}
