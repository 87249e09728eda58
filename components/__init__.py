"""Our own TFX components, a folder each."""

from schema import onednn

onednn.turn_on()
