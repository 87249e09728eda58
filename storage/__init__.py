"""Files that survive a crash, locks, manifests, and object stores with their mirrors."""

from common import onednn

onednn.turn_on()
