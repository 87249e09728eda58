"""The number format in which a training computes its convolutions and matrix products.

Variables, losses, batch norm's statistics and the optimizer stay in float32 whatever is
chosen, and so do evaluation, export and serving.
"""

import functools
import pathlib

import tensorflow.compat.v1 as v1
from tensorflow.core.protobuf import rewriter_config_pb2

AUTO, FLOAT32, BFLOAT16 = "auto", "float32", "bfloat16"
# Where Linux lists what the processor can do. Either flag means products of bfloat16 in
# hardware; without one they are emulated, slower than float32.
CPU_FACTS = pathlib.Path("/proc/cpuinfo")
NATIVE_FLAGS = ("amx_bf16", "avx512_bf16")


def resolve(wanted: str, cpu_facts: pathlib.Path = CPU_FACTS) -> tuple[str, str]:
    """The precision to train with, and the reason in words.

    Args:
      wanted: 'float32', 'bfloat16', or 'auto' for bfloat16 where the processor multiplies
        it in hardware and float32 elsewhere.
      cpu_facts: file in the form of /proc/cpuinfo; one that is missing knows no flags.
    """
    if wanted != AUTO:
        return wanted, "as the setting asks"
    flags = _cpu_flags(cpu_facts)
    native = [flag for flag in NATIVE_FLAGS if flag in flags]
    if native:
        return BFLOAT16, f"this processor has {native[0]}"
    return FLOAT32, "this processor has no bfloat16 products"


def session_config(precision: str) -> v1.ConfigProto:
    """Settings of a session whose graph computes in `precision`.

    bfloat16 is grappler's pass for oneDNN: it puts casts around the operations that gain
    and leaves those that would lose accuracy.
    """
    config = v1.ConfigProto()
    if precision == BFLOAT16:
        rewrites = config.graph_options.rewrite_options
        rewrites.auto_mixed_precision_onednn_bfloat16 = (
            rewriter_config_pb2.RewriterConfig.ON
        )
    return config


@functools.cache
def _cpu_flags(cpu_facts: pathlib.Path) -> frozenset[str]:
    try:
        lines = cpu_facts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = [line.partition(":")[2] for line in lines if line.startswith("flags")]
    return frozenset(" ".join(flags).split())
