"""Makes the modules of `benchmarks/` importable, as they are to each other."""

import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).parents[2] / "benchmarks"))
