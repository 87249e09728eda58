"""The data contract: feature names, valid images, and the schema of each data set."""

from common import onednn

onednn.turn_on()
