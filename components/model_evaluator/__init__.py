"""TFMA evaluation and the gate."""
