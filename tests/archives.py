"""Archives to unpack, and what came out of them."""

import io
import tarfile
import zipfile


def write_tar(path, files, *extra, mode=None):
    """A tar of `files`, and of members made by `extra`: TarInfo, or (TarInfo, content)."""
    with tarfile.open(path, mode or ("w:gz" if path.name.endswith("gz") else "w")) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for member in extra:
            entry, content = member if isinstance(member, tuple) else (member, b"")
            tar.addfile(entry, io.BytesIO(content))
    return path


def write_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
