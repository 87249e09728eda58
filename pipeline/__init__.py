"""The DAG, its configuration and its runners; no TensorFlow graph code."""

from schema import onednn

onednn.turn_on()
