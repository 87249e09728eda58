"""No space left: a sentence, a whole checkpoint, and the same training afterwards."""

import json
import pathlib
import shutil
import subprocess

import pytest

SCRIPT = pathlib.Path(__file__).with_name("full_disk.py")


@pytest.fixture
def may_mount():
    """Skips where a process may not have mounts of its own."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare on this machine")
    probe = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted without more rights")


@pytest.mark.slow
def test_a_full_disk_ends_in_a_sentence_and_loses_nothing(
    may_mount, warm_forks, tmp_path
):
    result = warm_forks.run(["python", str(SCRIPT), str(tmp_path)], tmp_path.parent)
    assert result.returncode == 0, result.stderr[-3000:]
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["message"].startswith("no space left for the training's files in")
    assert told["found"].endswith("MiB free")
    assert told["whole_step"] == 3
    assert "resumes from the checkpoint of step 3" in told["tip"]
    assert told["steps"] == 12
