"""The DAG, its configuration and its runners; no TensorFlow graph code."""

from common import onednn

onednn.turn_on()
