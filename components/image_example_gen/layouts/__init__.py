"""Layouts of datasets: how the files of a source hold images and classes (`registry`)."""

from components.image_example_gen.layouts.layout import AUTO, Answers, Layout
from components.image_example_gen.layouts.planning import Plan, plan
from components.image_example_gen.layouts.registry import FORMATS

__all__ = ["AUTO", "FORMATS", "Answers", "Layout", "Plan", "plan"]
