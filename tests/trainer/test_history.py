from trainer import history


def test_rows_come_back_and_can_be_cut(tmp_path):
    table = history.measurements(tmp_path)
    assert list(table.rows()) == []
    assert table.cut(3, keeps_step=True) == []
    for step in (5, 10, 15):
        table.append({"step": step, "loss": step / 10})
    assert [row["step"] for row in history.read(table)] == [5.0, 10.0, 15.0]
    assert [row["step"] for row in table.cut(10, keeps_step=True)] == ["15"]
    assert [row["step"] for row in table.cut(10, keeps_step=False)] == ["10"]
    table.append({"step": 10, "loss": 9.0})
    assert list(history.read(table)) == [
        {"step": 5.0, "loss": 0.5},
        {"step": 10.0, "loss": 9.0},
    ]


def test_a_row_that_a_crash_cut_short_is_passed_over(tmp_path):
    table = history.measurements(tmp_path)
    table.append({"step": 5, "loss": 0.5, "rate": 0.1})
    with table.path.open("a") as file:
        file.write("10,0.")
    assert [row["step"] for row in table.rows()] == ["5"]
