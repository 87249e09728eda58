"""What `slimline models` prints: versions, changes and damage."""

import datetime
import pathlib
from collections.abc import Mapping, Sequence

from pushed_models import version_history
from pushed_models.models import Change, Pruned, Version
from slimline.terminal import options, output

MEGABYTE = 1e6


def table(found: Sequence[Version], top_1: Mapping[str, float]) -> str:
    """A line a version, the newest last.

    Args:
      found: of one model or of several.
      top_1: on the test split, by name of the run that pushed.
    """
    rows = [
        {
            "model": version.model,
            "version": str(version.version),
            "pushed (UTC)": _minute(version.pushed),
            "state": f"{version.state}{'' if version.is_complete else ', incomplete'}",
            "size": _megabytes(version.size_bytes),
            "test top-1": f"{top_1[version.by]:.4f}" if version.by in top_1 else "",
            "run": version.by,
        }
        for version in found
    ]
    return output.table(rows, numbers=("version", "size", "test top-1"))


def history(rows: Sequence[version_history.Row]) -> str:
    """A line per change, the newest last."""
    cells = [
        {
            "time (UTC)": _minute(row.time),
            "action": row.action.replace("_", " "),
            "version": str(row.version),
            "from": "" if row.former is None else str(row.former),
            "who": row.who,
            "by": row.by,
            "reason": row.reason,
        }
        for row in rows
    ]
    return output.table(cells, numbers=("version", "from"))


def change(made: Change, root: pathlib.Path, *, is_dry: bool) -> str:
    """What was changed, or would be, what is served then, and how to undo it."""
    if not made.is_needed:
        role = "canary" if made.action == version_history.CANARY else "stable"
        return (
            f"version {made.version} of '{made.model}' is {role} already:"
            " nothing was changed"
        )
    by_version = {number: label for label, number in made.labels.items()}
    facts = {
        made.model: _sentence(made, "would be" if is_dry else "is"),
        "served": ", ".join(
            f"{number} ({by_version[number]})" if number in by_version else str(number)
            for number in made.served
        ),
    }
    if not made.is_verified:
        facts["check"] = (
            f"version {made.version} has no manifest, so nothing shows whether it is what"
            " was pushed"
        )
    is_new = made.action == version_history.PROMOTE and made.former != made.version
    if is_new and not is_dry:
        facts["undo"] = f"{undo(made.model, root)}   (back to version {made.former})"
    lines = output.facts(facts, max(9, len(made.model) + 2))
    return "\n".join([*lines, *(["", "nothing was changed"] if is_dry else [])])


def undo(model: str, root: pathlib.Path) -> str:
    """The command that goes back to the version before."""
    return options.as_typed("models", "rollback", model, root=root)


def pruned(found: Pruned, *, is_dry: bool) -> str:
    """What was deleted, or would be."""
    if not found.versions:
        return f"nothing to delete of '{found.model}': the others are kept or needed"
    verb = "would delete" if is_dry else "deleted"
    return f"{verb} {to_prune(found)}"


def to_prune(found: Pruned) -> str:
    """'versions 1, 2 of 'cats' (3.1 MB)'."""
    plural = "version" if len(found.versions) == 1 else "versions"
    listed = ", ".join(map(str, found.versions))
    return f"{plural} {listed} of '{found.model}' ({_megabytes(found.size_bytes)})"


def verified(found: Mapping[tuple[str, int], Sequence[str]]) -> str:
    """A line a version and one a damaged file; with -q only the damaged versions."""
    good, bad = output.paint("✓", "green"), output.paint("✗", "red")
    lines = []
    for (model, version), problems in found.items():
        if problems:
            lines.append(f"{bad} {model}@{version} is not what was pushed")
            lines += [f"    {sentence}" for sentence in problems]
        elif not output.is_quiet():
            lines.append(f"{good} {model}@{version} is what was pushed")
    return "\n".join(lines)


def _sentence(made: Change, verb: str) -> str:
    match made.action:
        case version_history.CANARY:
            beside = f", beside {made.labels['stable']}"
            instead = "" if made.former is None else f", in place of {made.former}"
            return f"version {made.version} {verb} canary{beside}{instead}"
        case version_history.CANARY_OFF:
            return f"version {made.version} {verb} canary no more"
        case _ if made.former == made.version:
            return f"version {made.version} {verb} stable, and was live already"
    return f"version {made.version} {verb} live, before it version {made.former}"


def _minute(time: str | None) -> str:
    """'2026-11-26 04:45' of an ISO time; other text unchanged."""
    try:
        moment = datetime.datetime.fromisoformat(time or "")
    except ValueError:
        return time or ""
    return moment.strftime("%Y-%m-%d %H:%M")


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / MEGABYTE:,.1f} MB"
