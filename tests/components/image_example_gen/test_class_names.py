"""Class names that a contract can hold, and those that it refuses."""

import random

import pytest

from common.errors import DataError
from components.image_example_gen import contracts
from schema import contract


def test_a_contract_that_can_be_written_can_be_read(tmp_path):
    seeded = random.Random(0)
    characters = "aé名\"\\'#: ,\t\n\r\x00\x1b\x85\u2028\u200d\ufeff\udc80{}[]<>%$\x7f"
    written = 0
    for number in range(300):
        hostile = {
            "".join(seeded.choices(characters, k=seeded.randint(0, 3)))
            for _ in range(2)
        }
        labels = (*sorted(hostile, key=ascii), "cat")
        try:
            made = contracts.write_contract(
                labels, formats=("png",), height_px=(1, 1), width_px=(1, 1)
            )
        except DataError as error:
            assert "class names are blank or hold control" in error.message
            assert contracts.unfit_labels(labels)
            continue
        contract.save(made, tmp_path / str(number))
        assert contract.load(tmp_path / str(number)).labels == labels
        written += 1
    assert 20 < written < 280


@pytest.mark.parametrize(
    "label", ["", " ", "a\nb", "a\rb", "a\x00", "\t", "a\u2028b", "\udc80"]
)
def test_refuses_class_names_that_no_line_can_hold(label):
    with pytest.raises(DataError) as caught:
        contracts.write_contract(
            ("cat", label), formats=("png",), height_px=(1, 1), width_px=(1, 1)
        )
    assert ascii(label) in caught.value.found
