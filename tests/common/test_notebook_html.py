"""What a notebook shows of predictions and pushed models."""

import re

from pushed_models import models
from serving.prediction import Prediction


def test_prediction():
    prediction = Prediction.of(["<cat>", "dog"], [0.75, 0.25])
    assert repr(prediction) == "<Prediction '<cat>' 0.7500>"
    text = prediction._repr_html_()
    assert "&lt;cat&gt;" in text and "<cat>" not in text
    assert re.findall(r"width:(\d+)px", text) == ["120", "40"]
    assert text.index("0.7500") < text.index("0.2500")


def test_pushed_model(tmp_path):
    for version in (3, 12):
        folder = tmp_path / "serving" / "cats" / str(version)
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"x" * 200_000)
    model = models.find(tmp_path, "cats")
    assert repr(model) == "<PushedModel cats: 2 versions, 12 is live>"
    text = model._repr_html_()
    rows = re.findall(r"<tr><td>(.*?)</tr>", text)
    assert len(rows) == 2
    assert "12" in rows[0] and "live" in rows[0] and "0.2 MB" in rows[0]
    assert "live" not in rows[1]
