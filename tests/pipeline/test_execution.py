import logging

from pipeline import execution


def test_a_report_that_fails_is_logged_and_fails_nothing(tmp_path, caplog):
    with caplog.at_level(logging.ERROR, "slimline.run"):
        execution._report(tmp_path)
    (record,) = caplog.records
    assert record.getMessage() == "the report could not be made"
    assert "has no summary.json" in str(record.exc_info[1])
    assert not list(tmp_path.iterdir())
