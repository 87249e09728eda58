"""The number format in which a training computes its convolutions and matrix products.

Variables, losses, batch norm's statistics and the optimizer stay in float32 whatever is
chosen, and so do evaluation, export and serving.
"""

import dataclasses
import functools
import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow.compat.v1 as v1
from tensorflow.core.protobuf import rewriter_config_pb2

from common.errors import ConfigError
from trainer import devices
from trainer.config import TrainerConfig
from trainer.nets import geometry, variants

_LOGGER = logging.getLogger("slimline.train")

# Above this share of depthwise convolutions float32 is faster: oneDNN's gradients for them are
# slow in bfloat16. EfficientNet-Lite0 at 128 px, batch 64: 34 images/s in float32 and 9 in
# bfloat16, on 2 cores with AMX and other work beside it, 2026-11-30.
MAX_DEPTHWISE_SHARE = 0.15
AUTO, FLOAT32, BFLOAT16, FLOAT16 = "auto", "float32", "bfloat16", "float16"
# Where Linux lists the flags of the processor. Either one means products of bfloat16 in
# hardware; without them they are emulated, slower than float32.
CPU_FACTS = pathlib.Path("/proc/cpuinfo")
NATIVE_FLAGS = ("amx_bf16", "avx512_bf16")
# Up to which instructions oneDNN uses what the processor has; values with these words, or that
# set no limit, allow products of bfloat16.
ISA_VARIABLE = "ONEDNN_MAX_CPU_ISA"
_NATIVE_ISA = ("BF16", "FP16", "AMX", "AVX10", "ALL", "DEFAULT")
# First compute capability of GPUs with float16 matrix units (Volta).
TENSOR_CORES = (7, 0)


def decide(config: TrainerConfig, begun: str = "") -> TrainerConfig:
    """The configuration with the format that this machine computes in, instead of 'auto'.

    Call it before you make a key of the configuration, for the cache or for an unfinished
    training: under one key everything is computed in one format.

    Args:
      config: the Trainer's.
      begun: format of an unfinished training of the same settings, which keeps it; '' for
        none.

    Raises:
      ConfigError: this machine lacks the format of the unfinished training.
    """
    if config.train.precision != AUTO:
        return config
    chosen, reason = resolve_for(config, begun)
    _LOGGER.info("train.precision=auto is %s: %s", chosen, reason)
    train = dataclasses.replace(config.train, precision=chosen)  # type: ignore[arg-type]
    return dataclasses.replace(config, train=train)


def resolve_for(config: TrainerConfig, begun: str = "") -> tuple[str, str]:
    """`resolve` for the settings of a training, on this machine."""
    return resolve(
        config.train.precision,
        devices.gpu_details(config.train),
        depthwise_share=geometry.depthwise_share(variants.spec_of(config.model)),
        begun=begun,
    )


def resolve(
    wanted: str,
    gpus: Sequence[Mapping[str, Any]] = (),
    cpu_facts: pathlib.Path = CPU_FACTS,
    *,
    depthwise_share: float = 0.0,
    begun: str = "",
) -> tuple[str, str]:
    """The precision to train with, and the reason in words.

    Args:
      wanted: 'float32', 'bfloat16', 'float16', or 'auto' for the fastest one: float16 on
        GPUs with tensor cores, bfloat16 on processors that multiply it in hardware, unless
        ONEDNN_MAX_CPU_ISA forbids that, float32 elsewhere.
      gpus: details of those that the training uses, from
        `tf.config.experimental.get_device_details`; () on the CPU.
      cpu_facts: file in the form of /proc/cpuinfo; a missing one means no flags.
      depthwise_share: share of the net's convolutions that are depthwise.
      begun: format of an unfinished training, which 'auto' keeps; '' for none.

    Raises:
      ConfigError: TensorFlow has no pass for that format on such a device.
    """
    if wanted == AUTO and begun:
        if begun == (BFLOAT16 if gpus else FLOAT16):
            raise ConfigError(
                f"an unfinished training of these settings was begun in {begun}, which"
                " this machine lacks",
                found="a training on GPUs" if gpus else "a training on the CPU",
                tip="finish it where it was begun; --set train.precision=float32 starts"
                " another, --no-cache forgets it",
            )
        return begun, "an unfinished training of these settings was begun in it"
    if wanted == FLOAT16 and not gpus:
        raise ConfigError(
            "setting 'train.precision' is float16, which is for GPUs",
            found="a training on the CPU",
            tip="--set train.precision=auto",
        )
    if wanted == BFLOAT16 and gpus:
        raise ConfigError(
            "setting 'train.precision' is bfloat16, which is for the CPU",
            found="a training on GPUs",
            tip="--set train.precision=float16",
        )
    if wanted != AUTO:
        return wanted, "as the setting asks"
    if gpus:
        if all(gpu.get("compute_capability", (0, 0)) >= TENSOR_CORES for gpu in gpus):
            return FLOAT16, "the GPU has tensor cores"
        return FLOAT32, "the GPU has no tensor cores"
    if depthwise_share > MAX_DEPTHWISE_SHARE:
        return FLOAT32, "gradients of depthwise convolutions are slow in bfloat16"
    if limit := _onednn_limit():
        return FLOAT32, f"oneDNN has no bfloat16 products with {ISA_VARIABLE}={limit}"
    flags = _cpu_flags(cpu_facts)
    native = [flag for flag in NATIVE_FLAGS if flag in flags]
    if native:
        return BFLOAT16, f"this processor has {native[0]}"
    return FLOAT32, "this processor has no bfloat16 products"


def session_config(precision: str) -> v1.ConfigProto:
    """Settings of a session whose graph computes in `precision`.

    bfloat16 is grappler's pass for oneDNN, float16 the one for CUDA: they put casts around
    the operations that gain and leave those that would lose accuracy.
    """
    config = v1.ConfigProto()
    rewrites = config.graph_options.rewrite_options
    if precision == BFLOAT16:
        rewrites.auto_mixed_precision_onednn_bfloat16 = (
            rewriter_config_pb2.RewriterConfig.ON
        )
    if precision == FLOAT16:
        rewrites.auto_mixed_precision = rewriter_config_pb2.RewriterConfig.ON
    return config


def _onednn_limit() -> str:
    """The limit that keeps oneDNN from products of bfloat16, or ''."""
    limit = os.environ.get(ISA_VARIABLE, "")
    return "" if any(word in limit.upper() for word in _NATIVE_ISA) else limit


@functools.cache
def _cpu_flags(cpu_facts: pathlib.Path) -> frozenset[str]:
    try:
        lines = cpu_facts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = [line.partition(":")[2] for line in lines if line.startswith("flags")]
    return frozenset(" ".join(flags).split())
