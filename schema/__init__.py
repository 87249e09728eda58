"""The contract of the data: feature names, errors, and the schema of each data set."""

from schema import onednn

onednn.turn_on()
