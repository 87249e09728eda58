"""The DAG, its configuration and its runners; no TensorFlow graph code."""
