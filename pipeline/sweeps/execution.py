"""One sweep on this machine: its members one after another, and their table."""

import json
import logging
import pathlib
from collections.abc import Mapping

from common.errors import ConfigError, DataError, find_user_error
from pipeline import execution, inputs, progress
from pipeline.config import PipelineConfig
from pipeline.runs import runs
from pipeline.runs.summary import Summary
from pipeline.sweeps import comparison
from pipeline.sweeps.comparison import Row
from storage import durable
from trainer.config import as_json, flatten

_LOGGER = logging.getLogger("slimline.run")

# Characters of an exception's message in the table.
MAX_REASON = 200


def run(
    members: Mapping[str, PipelineConfig],
    *,
    root: pathlib.Path,
    run_folder: pathlib.Path,
    origins: Mapping[str, str],
    use_cache: bool = True,
) -> list[Row]:
    """Trains and evaluates every member; nothing is pushed.

    Table and curves are rewritten after each member, so that an interrupted sweep leaves
    those of the members that had ended.

    Args:
      members: configurations of one experiment.
      root: as for a run.
      run_folder: existing folder of this sweep; each member gets a folder below it.
      origins: where each setting came from, for the log.
      use_cache: False runs everything again.

    Returns:
      A row a member. One that failed has a note instead of figures.

    Raises:
      ConfigError, DataError: what the user can correct, which concerns all members.
    """
    rows: list[Row] = []
    root, run_folder = root.resolve(), run_folder.resolve()
    folders = {member: run_folder / runs.MEMBERS_FOLDER / member for member in members}
    (name,) = {
        inputs.identity(config, inputs.expected_path(config, root))
        for config in members.values()
    }
    # No other run may start between two members; `control` finds the one that trains.
    with runs.lock(root, name), execution.noting_training_folder(run_folder):
        for place, (member, config) in enumerate(members.items(), 1):
            fields = {"member": member, "place": place, "members": len(members)}
            progress.tell("member_started", **fields)
            folders[member].mkdir(parents=True)
            settings = json.dumps(flatten(as_json(config)), indent=1)
            durable.write_text(
                folders[member] / runs.MEMBER_SETTINGS_FILE, f"{settings}\n"
            )
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
                detail = f"eval top-1 {summary.eval_top_1:.4f}"
                detail += " (from the cache)" if summary.is_cached else ""
            except Exception as error:
                if isinstance(find_user_error(error), (ConfigError, DataError)):
                    raise
                _LOGGER.exception("member %s failed", member)
                detail = f"failed: {_reason(error)}"
                rows.append(Row(member, config.model.net, note=detail))
            comparison.write(run_folder, rows)
            progress.tell("member_finished", **fields, detail=detail)
    return rows


def _row(member: str, summary: Summary) -> Row:
    views = summary.test_time_views
    return Row(
        member=member,
        net=summary.net,
        parameters=summary.parameters,
        steps=summary.steps,
        best_step=summary.best_step,
        eval_top_1=summary.eval_top_1,
        test_top_1=summary.metrics["top_1"],
        test_top_1_one_view=views["metrics"]["top_1"] if views else None,
        test_cross_entropy=summary.metrics["cross_entropy"],
        training_seconds=round(summary.training_seconds, 1),
    )


def _reason(error: Exception) -> str:
    """Why a member failed, in a line; TFX may wrap the user error."""
    cause = find_user_error(error)
    if cause is not None:
        return cause.message
    first_line = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {first_line[:MAX_REASON]}"
