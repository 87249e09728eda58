"""Files of the user that bear the names of our packages hide none of them."""

import pathlib
import re
import subprocess
import sys

import pytest

from slimline.cli import schedule

ROOT = pathlib.Path(__file__).parents[2]
PACKAGES = (
    "common",
    "storage",
    "schema",
    "pushed_models",
    "components",
    "trainer",
    "pipeline",
    "serving",
    "slimline",
)
STARTS = re.compile(r"sys\.executable\b(?!\))[\s,}]*(.{0,4})")


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    for name in (*PACKAGES, "report", "data_check", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        schedule._COMMAND,
        (str(pathlib.Path(sys.executable).with_name("slimline")),),
    ],
    ids=["scheduled run", "console"],
)
def test_the_command_starts_among_them(folder: pathlib.Path, command) -> None:
    ended = subprocess.run(
        [*command, "experiments"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "digits_resnet_20" in ended.stdout


def test_every_python_that_we_start_leaves_the_working_folder_out() -> None:
    found = {}
    for package in (*PACKAGES, "report", "data_check"):
        for path in (ROOT / package).rglob("*.py"):
            for match in STARTS.finditer(path.read_text(encoding="utf-8")):
                found[f"{path.relative_to(ROOT)}: {match[0]!r}"] = "-P" in match[1]
    assert len(found) >= 6
    assert [place for place, has_option in found.items() if not has_option] == []
