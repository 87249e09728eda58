"""The data contract: feature names, valid images, and the schema of each dataset."""

from common import onednn

onednn.turn_on()
