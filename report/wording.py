"""Figures and names as text."""

import math
import numbers
from typing import Any

import markupsafe

# Order of metrics in a table; other top-k come after top-1.
_METRICS = (
    "top_1",
    "cross_entropy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "calibration_error",
)
NOTHING = "–"
_MINUTE, _HOUR = 60, 3600


def visible(text: object) -> str:
    """`text` with escapes for invisible characters, and those that change its direction.

    Names of classes and files come from the data.
    """
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in str(text).encode("utf-8", "replace").decode("utf-8")
    )


def name(text: object) -> markupsafe.Markup:
    """A name from the data as HTML: escaped, and isolated in its text direction."""
    return markupsafe.Markup("<bdi>{}</bdi>").format(visible(text))


def count(value: float | None) -> str:
    """'1,797'."""
    return NOTHING if value is None else f"{value:,.0f}"


def figure(value: float | None) -> str:
    """A metric with four decimals."""
    return NOTHING if value is None else f"{value:.4f}"


def signed(value: float | None) -> str:
    """A difference with its sign and four decimals."""
    if value is None:
        return NOTHING
    return f"{value:+.4f}".replace("-", "\N{MINUS SIGN}")


def share(value: float | None) -> str:
    """'12.3 %'."""
    return NOTHING if value is None else f"{100 * value:.1f} %"


def short(value: Any) -> str:
    """A figure of any size in few characters, as for rules; other values as settings."""
    if value is None:
        return NOTHING
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return setting(value)
    number = float(value)
    if not math.isfinite(number):
        return str(number)
    if number.is_integer() and abs(number) >= 1:
        text = f"{number:,.0f}"
    elif abs(number) >= 1:
        text = f"{number:.2f}"
    elif number and abs(number) < 1e-4:
        text = f"{number:.1e}"
    else:
        text = f"{number:.4f}"
    return text.replace("-", "\N{MINUS SIGN}", 1) if number < 0 else text


def setting(value: Any) -> str:
    """A setting as a person types it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(setting(item) for item in value)}]"
    return "''" if value == "" else visible(value)


def duration(seconds: float) -> str:
    """'0.3 s', '21 s', '23 min 07 s', '1 h 02 min'."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"


def metric(name: str) -> str:
    """'top-1' of 'top_1'; the calibration error by its usual name."""
    if name == "calibration_error":
        return "expected calibration error"
    if name.startswith("top_"):
        return name.replace("_", "-")
    return name.replace("macro_f1", "macro F1").replace("_", " ")


def metric_place(name: str) -> tuple[float, int]:
    """Where a metric stands in a table."""
    if name in _METRICS:
        return _METRICS.index(name), 0
    if name.startswith("top_"):
        return 0.5, int(name.removeprefix("top_"))
    return len(_METRICS), 0
