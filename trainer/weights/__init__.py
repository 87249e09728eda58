"""Published weights: reads files of other systems, renames tensors, keeps them in a store.

No reader imports the system that wrote the file or runs anything in it.
"""
