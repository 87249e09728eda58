"""Layouts of datasets: what the files of a source mean. `registry` lists them all."""

from components.image_example_gen.layouts.layout import AUTO, Answers, Layout
from components.image_example_gen.layouts.planning import Plan, plan
from components.image_example_gen.layouts.registry import FORMATS

__all__ = ["AUTO", "FORMATS", "Answers", "Layout", "Plan", "plan"]
