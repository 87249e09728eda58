"""Sources of files: a folder, a tar (plain, gzip, xz, bzip2) or a zip, read in place.

Nothing is ever extracted and no path is built from a member's name: the name only says
which class an image belongs to. Links, devices, odd names and duplicates are refused
rather than repaired, because a repaired name can put an image into another class.
"""
