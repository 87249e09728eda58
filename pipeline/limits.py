"""The limits of components, from the settings of the same names."""

import dataclasses
from typing import Any, TypeVar

_Limits = TypeVar("_Limits")


def of(kind: type[_Limits], section: Any, **values: Any) -> _Limits:
    """Limits with the values of a section of the configuration.

    A limit that has no setting keeps its default, so that adding one takes a field of `kind`
    and a setting of that name.

    Args:
      kind: dataclass of the component's limits.
      section: the section; its settings bear the names of the limits.
      values: limits that the settings spell in another form, by name.
    """
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    settings = {field.name for field in dataclasses.fields(section)}
    shared = {name: getattr(section, name) for name in names & settings}
    return kind(**{**shared, **values})
