"""Published weights: files of other systems are read, renamed and kept in a store.

No reader imports the system that wrote the file or runs anything that stands in it.
"""
