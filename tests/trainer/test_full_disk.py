"""No space left: a sentence, a whole checkpoint, and the same training afterwards."""

import json
import pathlib
import shutil
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).with_name("full_disk.py")


@pytest.fixture
def own_mounts():
    """Command in front of one that may mount; skips where that is not allowed."""
    command = ["unshare", "-m"]
    if shutil.which("unshare") is None:
        pytest.skip("no unshare on this machine")
    probe = [*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted without more rights")
    return command


@pytest.mark.slow
def test_a_full_disk_ends_in_a_sentence_and_loses_nothing(own_mounts, tmp_path):
    result = subprocess.run(
        [*own_mounts, sys.executable, str(SCRIPT), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["message"].startswith("no space left for the training's files in")
    assert told["found"].endswith("MiB free")
    assert told["whole_step"] == 3
    assert "resumes from the checkpoint of step 3" in told["tip"]
    assert told["steps"] == 12
