"""Bombs: small files that unpack to gigabytes, made without ever holding these."""

import functools
import io
import struct
import zipfile
import zlib

_BLOCK = 1 << 26


@functools.cache
def deflated_zeros(blocks: int) -> bytes:
    """A raw deflate stream of so many times 64 MiB of zeros."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(bytes(_BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * blocks + packer.flush()


def zip_with_zeros(files: dict[str, bytes], name: str, blocks: int = 44, *, honest: bool = True) -> bytes:
    """A zip of these files and of one that unpacks to 64 MiB a block; one that is not `honest` declares 100 bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for other, content in files.items():
            archive.writestr(other, content)
        entry = zipfile.ZipInfo(name)
        archive.writestr(entry, deflated_zeros(blocks), zipfile.ZIP_STORED)
        entry.compress_type, entry.file_size = zipfile.ZIP_DEFLATED, _BLOCK * blocks if honest else 100
    made = bytearray(stream.getvalue())
    struct.pack_into("<H", made, entry.header_offset + 8, zipfile.ZIP_DEFLATED)
    struct.pack_into("<I", made, entry.header_offset + 22, entry.file_size)
    return bytes(made)
