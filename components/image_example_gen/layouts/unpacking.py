"""Data files that may be compressed one by one."""

import zlib

from common.errors import DataError
from components.image_example_gen.sources import limits
from components.image_example_gen.sources.source import Member, read_data_file


def unpack(member: Member) -> bytes:
    """Content of a data file, unpacked where it is compressed with gzip.

    Raises:
      DataError: it cannot be read, is damaged, or is larger than such files may be.
    """
    limit = limits.LIMITS.data_file_bytes
    data = read_data_file(member)
    if not data.startswith(b"\x1f\x8b"):
        return data
    decoder = zlib.decompressobj(wbits=31)
    try:
        unpacked = decoder.decompress(data, limit)
    except zlib.error as error:
        raise DataError(f"{member.name} is damaged: {error}") from error
    if decoder.unconsumed_tail:
        raise DataError(f"{member.name} unpacks to more than {limit:,} bytes")
    if not decoder.eof:
        raise DataError(
            f"{member.name} is incomplete: its gzip stream ends early",
            tip="fetch the file again",
        )
    return unpacked
