"""The files to deploy: whoever reads them understands them, and so does our command."""

import pathlib
import re
import shlex
import shutil
import subprocess

import click
import pytest
import yaml
from kubernetes import client

from pipeline import scheduling
from pipeline.scheduling.cron import Cron
from slimline.cli import main

FILES = pathlib.Path(scheduling.__file__).parent / "files"
UNITS = sorted(FILES.glob("*.service")) + sorted(FILES.glob("*.timer"))


def check_command(words: list[str]) -> dict:
    """Parameters of `slimline schedule ...`, as the command takes them."""
    assert pathlib.PurePath(words[0]).name == "slimline"
    _, _, name, *rest = words
    group = main.command.get_command(click.Context(main.command), "schedule")
    command = group.get_command(click.Context(group), name)
    return command.make_context(name, rest).params


@pytest.fixture(scope="module")
def cronjob() -> client.V1CronJob:
    document = yaml.safe_load((FILES / "kubernetes-cronjob.yaml").read_text())
    api = client.ApiClient()
    found = api._ApiClient__deserialize(document, "V1CronJob")
    # What the model has no field for is lost on the way.
    assert api.sanitize_for_serialization(found) == document
    return found


def test_kubernetes_runs_one_at_a_time(cronjob: client.V1CronJob) -> None:
    assert (cronjob.api_version, cronjob.kind) == ("batch/v1", "CronJob")
    assert cronjob.spec.concurrency_policy == "Forbid"
    # A slot that another process holds (exit code 75) is tried again; NFS lets go of the
    # lock of a machine that is gone after 90 s.
    job = cronjob.spec.job_template.spec
    assert job.template.spec.restart_policy == "OnFailure"
    waited = sum(10 * 2**attempt for attempt in range(job.backoff_limit))
    assert waited > 90
    assert re.fullmatch(r"[a-z0-9-]{1,52}", cronjob.metadata.name)


def test_kubernetes_and_the_command_mean_the_same_slots(
    cronjob: client.V1CronJob,
) -> None:
    (container,) = cronjob.spec.job_template.spec.template.spec.containers
    given = check_command(container.command)
    assert given["cron"] == cronjob.spec.schedule
    assert given["timezone"] == cronjob.spec.time_zone
    assert given["grace_minutes"] * 60 >= cronjob.spec.starting_deadline_seconds
    Cron(given["cron"], given["timezone"])
    mount = next(each for each in container.volume_mounts if each.name == "slimline")
    assert str(given["root"]).startswith(mount.mount_path)


def test_the_pod_keeps_to_the_restricted_standard(cronjob: client.V1CronJob) -> None:
    pod = cronjob.spec.job_template.spec.template.spec
    (container,) = pod.containers
    assert not pod.automount_service_account_token
    assert pod.security_context.run_as_non_root
    assert pod.security_context.seccomp_profile.type == "RuntimeDefault"
    assert not container.security_context.allow_privilege_escalation
    assert container.security_context.read_only_root_filesystem
    assert container.security_context.capabilities.drop == ["ALL"]
    # What is written lies on a volume, and so does the home folder.
    (home,) = [each.value for each in container.env if each.name == "HOME"]
    assert home in {mount.mount_path for mount in container.volume_mounts}


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_understands_the_unit(path: pathlib.Path, tmp_path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze here")
    for unit in UNITS:
        # Of a program that is not there it would complain.
        text = re.sub(
            r"/srv/slimline/.venv/bin/slimline", "/bin/true", unit.read_text()
        )
        (tmp_path / unit.name).write_text(text)
    ended = subprocess.run(
        [program, "verify", "--man=no", str(tmp_path / path.name)],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in ended.stderr.splitlines() if path.name in line]
    assert said == []


def settings_of(path: pathlib.Path) -> dict[str, str]:
    """Key -> value of a unit; its own lines only, so that a test needs no systemd."""
    text = path.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if "=" in line and line[0] != "#"]
    return dict(line.split("=", 1) for line in lines)


def test_units_call_what_there_is() -> None:
    stays = settings_of(FILES / "slimline-schedule.service")
    given = check_command(shlex.split(stays["ExecStart"]))
    assert given["timezone"] == "Europe/Berlin"
    assert given["data"] == "/srv/images/cifar10-{SPAN}.tar.gz"
    Cron(given["cron"], given["timezone"])
    # Stopped, it waits for its run to leave a checkpoint.
    assert int(stays["TimeoutStopSec"]) > 90 and stays["KillMode"] == "mixed"
    assert check_command(
        shlex.split(settings_of(FILES / "slimline-tick.service")["ExecStart"])
    )["on_new_span"]


def test_the_line_of_cron() -> None:
    (line,) = (
        line
        for line in (FILES / "crontab").read_text().splitlines()
        if not line.startswith("#")
    )
    *fields, command = line.split(maxsplit=5)
    Cron(" ".join(fields))
    # cron takes a percent sign for the end of the command.
    assert "%" not in command
    _, _, command = command.partition("&& ")
    given = check_command(shlex.split(command.partition(" >> ")[0]))
    assert given["on_new_span"] and given["on_failure"]


def test_all_files_are_packaged() -> None:
    setup = (pathlib.Path(__file__).parents[3] / "setup.py").read_text()
    assert '"pipeline": ["scheduling/files/*"]' in setup
