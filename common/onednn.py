"""TensorFlow's convolutions by oneDNN on every x86-64 processor.

By itself TensorFlow turns oneDNN on only where the processor has AVX512-VNNI or AMX; with AVX2
alone, as most desktops have, its own kernels take two to three times as long.
"""

import os
import platform

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
_MACHINES = ("x86_64", "AMD64")


def turn_on() -> None:
    """Asks TensorFlow for oneDNN, unless the environment has a wish of its own.

    TensorFlow reads the variable once, when it is imported; so our packages ask before any
    module of theirs imports it, and processes begun by ours inherit it.
    """
    if platform.machine() in _MACHINES:
        os.environ.setdefault(VARIABLE, "1")


def is_on() -> bool:
    """Whether TensorFlow, which this imports, computes with oneDNN in this process."""
    from tensorflow.python.util import _pywrap_util_port

    return bool(_pywrap_util_port.IsMklEnabled())
