"""A year of nightly runs: do metadata store, disk and the time of a look stay bounded?

The clock is simulated and the components compute nothing (`stub_training`); schedule,
ledger, TFX's launcher, the metadata store, retention and pushed versions are the real ones.
Every seventh night no span comes, and the night is skipped.
"""

import argparse
import dataclasses
import datetime
import functools
import pathlib
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from typing import Any

import machine
import stub_training
from nightly_clock import NightlyClock

from pipeline import experiments, inputs
from pipeline.runs import retention
from pipeline.scheduling import controller, data
from pipeline.scheduling.cron import Cron
from pipeline.slots import ledger, rows
from pushed_models import models

PICTURE = machine.ROOT / "docs" / "results" / "year_of_nights.png"
QUIET_NIGHT = 7
_MEGABYTE = 1e6


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the nights, prints a summary, writes figures and picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--keep-runs", type=int, default=10)
    parser.add_argument("--keep-versions", type=int, default=10)
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures")
    parser.add_argument("--picture", type=pathlib.Path, default=PICTURE)
    options = parser.parse_args(arguments)
    header = machine.header("year_of_nights")
    with tempfile.TemporaryDirectory() as folder:
        nights = run(
            pathlib.Path(folder),
            options.nights,
            keep_runs=options.keep_runs,
            keep_versions=options.keep_versions,
        )
    machine.write(options.json, header, nights)
    draw(options.picture, nights, options.keep_runs)
    print(summary(nights))
    return 0


def run(
    folder: pathlib.Path, nights: int, *, keep_runs: int, keep_versions: int
) -> list[dict[str, Any]]:
    """Figures of each night."""
    root, images = folder / "runs", folder / "digits"
    root.mkdir()
    config = experiments.digits_resnet_20()
    place = dataclasses.replace(config.data, path=str(images / "{SPAN}"))
    config = dataclasses.replace(config, data=place)
    identity = inputs.identity(config, images)
    nightly = NightlyClock()
    opened = ledger.Ledger(root / ledger.FILE)

    def prune(old_runs: Collection[str]) -> Collection[str]:
        if "digits" in models.names(root):
            models.find(root, "digits").prune(keep_versions)
        return retention.prune(root, identity, old_runs)

    looks = controller.Controller(
        pipeline=config.name,
        settings_key="settings",
        ledger=opened,
        runner=stub_training.StubTraining(config, root, nightly),
        newest=functools.partial(data.newest, config, root, 0),
        clock=nightly,
        cron=Cron("0 3 * * *"),
        keep_runs=keep_runs,
        prune=prune,
    )
    looks.tick()
    figures = []
    for night in range(1, nights + 1):
        if night % QUIET_NIGHT:
            stub_training.write_span(images, night)
        nightly.sleep(datetime.timedelta(days=1).total_seconds())
        start = time.perf_counter()
        (row,) = looks.tick().rows
        seconds = time.perf_counter() - start
        figures.append(
            {
                "night": night,
                "state": row.state,
                "seconds": round(seconds, 4),
                "ledger_bytes": (root / ledger.FILE).stat().st_size,
                "versions": len(models.find(root, "digits").list()),
                **stub_training.facts(root),
            }
        )
    opened.close()
    return figures


def summary(nights: Sequence[dict[str, Any]]) -> str:
    """First and last quarter side by side."""
    quarter = max(1, len(nights) // 4)
    lines = [f"{len(nights)} nights, medians of the first and the last quarter"]
    for name, unit, scale in (
        ("seconds", "s a night with a run", 1.0),
        ("bytes", "MB on disk", _MEGABYTE),
        ("files", "files", 1.0),
        ("metadata_bytes", "MB of metadata store", _MEGABYTE),
        ("ledger_bytes", "MB of ledger", _MEGABYTE),
    ):
        trained = [night for night in nights if night["state"] == rows.DONE]
        first, last = (
            sorted(night[name] for night in part)[len(part) // 2] / scale
            for part in (trained[:quarter], trained[-quarter:])
        )
        lines.append(f"{first:12,.3f} {last:12,.3f}  {unit}")
    return "\n".join(lines)


def draw(path: pathlib.Path, nights: Sequence[dict[str, Any]], keep_runs: int) -> None:
    """Disk, metadata store and time of a night, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (disk, metadata, seconds) = pyplot.subplots(1, 3, figsize=(14.4, 4.2))
    days = [night["night"] for night in nights]
    disk.plot(days, [night["bytes"] / _MEGABYTE for night in nights], color="C0")
    disk.set_title(f"disk, artifacts of {keep_runs} runs kept (MB)")
    for name, colour, title in (
        ("metadata_bytes", "C1", "metadata store"),
        ("ledger_bytes", "C2", "ledger"),
    ):
        values = [night[name] / _MEGABYTE for night in nights]
        metadata.plot(days, values, color=colour, label=title)
    metadata.set_title("databases, no row is ever deleted (MB)")
    metadata.legend(frameon=False)
    for state, colour, title in (
        (rows.DONE, "C0", "with a run, whose components compute nothing"),
        (rows.SKIPPED, "C3", "skipped, nothing new"),
    ):
        chosen = [night for night in nights if night["state"] == state]
        seconds.plot(
            [night["night"] for night in chosen],
            [night["seconds"] for night in chosen],
            ".",
            markersize=4,
            color=colour,
            label=title,
        )
    seconds.set_title("time of a night (s)")
    seconds.legend(frameon=False)
    for axes in (disk, metadata, seconds):
        axes.set_xlabel("night")
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
