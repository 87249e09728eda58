"""One sweep on this machine: its members one after another, and their table."""

import logging
import pathlib
from collections.abc import Mapping

from pipeline import comparison, execution
from pipeline.comparison import Row
from pipeline.config import PipelineConfig
from pipeline.summary import Summary
from schema.errors import TrainError, find_user_error

_LOGGER = logging.getLogger("slimline.run")
_PROGRESS = logging.getLogger("slimline.progress")

MEMBERS_FOLDER = "members"


def run(
    members: Mapping[str, PipelineConfig],
    *,
    root: pathlib.Path,
    run_folder: pathlib.Path,
    origins: Mapping[str, str],
    use_cache: bool = True,
) -> list[Row]:
    """Trains and evaluates every member; nothing is pushed.

    Table and picture are written anew after each member, so that a sweep which breaks off
    leaves those of the members that had ended.

    Args:
      members: configurations of one experiment.
      root: as for a run.
      run_folder: existing folder of this sweep; each member gets a folder below it.
      origins: where each setting came from, for the log.
      use_cache: False runs everything anew.

    Returns:
      A row a member. One whose training failed has a note instead of figures.

    Raises:
      ConfigError, DataError: what the user can mend.
    """
    rows: list[Row] = []
    folders = {
        member: run_folder.resolve() / MEMBERS_FOLDER / member for member in members
    }
    for place, (member, config) in enumerate(members.items(), 1):
        fields = {"member": member, "place": place, "members": len(members)}
        _PROGRESS.info("member_started", extra={"fields": fields})
        folders[member].mkdir(parents=True)
        try:
            summary = execution.run(
                config,
                root=root,
                run_folder=folders[member],
                origins=origins,
                use_cache=use_cache,
                deploys=False,
            )
            rows.append(_row(member, summary))
        except Exception as error:
            cause = find_user_error(error)  # TFX may have wrapped it
            if not isinstance(cause, TrainError):
                raise
            _LOGGER.exception("member %s failed", member)
            note = f"failed: {cause.message}"
            rows.append(Row(member, config.model.net, note=note))
        comparison.write(run_folder, rows, folders)
        _PROGRESS.info(
            "member_finished",
            extra={"fields": fields | {"detail": _told(rows[-1])}},
        )
    return rows


def _row(member: str, summary: Summary) -> Row:
    return Row(
        member=member,
        net=summary.net,
        parameters=summary.parameters,
        steps=summary.steps,
        best_step=summary.best_step,
        eval_top_1=summary.eval_top_1,
        test_top_1=summary.metrics["top_1"],
        test_cross_entropy=summary.metrics["cross_entropy"],
        training_seconds=round(summary.training_seconds, 1),
    )


def _told(row: Row) -> str:
    return row.note or f"eval top-1 {row.eval_top_1:.4f}"
