"""Text files at URIs, which may lie in object stores."""

from tfx.dsl.io import fileio


def join(uri: str, name: str) -> str:
    """URI of `name` in the folder `uri`."""
    # Not pathlib: it would fold the two slashes of gs://.
    return f"{uri.rstrip('/')}/{name}"


def read_text(uri: str) -> str:
    """Content of a file in UTF-8."""
    with fileio.open(uri, "rb") as file:
        return file.read().decode("utf-8")


def write_text(uri: str, text: str) -> None:
    """Writes a file, replacing one that exists."""
    with fileio.open(uri, "w") as file:
        file.write(text)
