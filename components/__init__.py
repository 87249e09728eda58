"""Our own TFX components, a folder each."""
