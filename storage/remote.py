"""Object stores by URI, as `s3://bucket/prefix`: listed, read and written.

fsspec speaks to them, with s3fs for S3; both load when a URI is met, never for a local path.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from common.errors import ConfigError, DataError, SlimlineError

_URI = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}", re.IGNORECASE)
# Scheme -> what pip installs for it.
_PACKAGES = {"s3": "slimline[s3]", "gs": "gcsfs", "abfs": "adlfs"}
# What gives no answer must not be waited for: by default a connection has minutes, and each
# request eleven attempts. These go to the file system of the scheme.
_ATTEMPTS = 2
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "s3": {
        "use_listings_cache": False,
        "config_kwargs": {
            "connect_timeout": 5,
            "read_timeout": 10,
            "retries": {"total_max_attempts": 2, "mode": "standard"},
        },
    }
}


@dataclasses.dataclass(frozen=True)
class Found:
    """An object as a listing has it.

    Attributes:
      size_bytes: of its content.
      tag: changes with the content: ETag, or what the store has in its place.
    """

    size_bytes: int
    tag: str


def is_uri(path: str | os.PathLike[str]) -> bool:
    """Whether a path lies in an object store; `pathlib.Path` of one, too."""
    return bool(_URI.match(os.fspath(path)))


def normal(uri: str | os.PathLike[str]) -> str:
    """The URI without a slash at its end; pathlib has folded the two of 's3://'."""
    scheme, rest = _URI.match(os.fspath(uri)), _URI.sub("", os.fspath(uri), count=1)
    return f"{scheme[1].lower() if scheme else 'file'}://{rest.rstrip('/')}"


class Store:
    """What lies below one URI; names are relative to it, with slashes."""

    def __init__(self, uri: str):
        """Loads what speaks to the store; asks it nothing yet.

        Raises:
          ConfigError: the scheme is unknown, or its package is not installed.
        """
        self.uri = normal(uri)
        self._scheme = self.uri.partition("://")[0]
        try:
            import fsspec

            self._files, path = fsspec.core.url_to_fs(
                self.uri, **_OPTIONS.get(self._scheme, {})
            )
        except ImportError as error:
            raise ConfigError(
                f"{self.uri} needs a package that is not installed",
                found=str(error),
                tip=f"pip install '{_PACKAGES.get(self._scheme, 'fsspec')}'",
            ) from error
        except ValueError as error:
            raise ConfigError(
                f"cannot read the address {self.uri}",
                found=str(error),
                expected="a folder, or an address as s3://BUCKET/PREFIX",
            ) from error
        self._path = str(path).rstrip("/")
        if self.uri.partition("://")[2][:1] in ("", "/") and self._scheme in _PACKAGES:
            raise ConfigError(
                f"the address {os.fspath(uri)} names no bucket",
                expected=f"{self._scheme}://BUCKET/PREFIX",
            )
        if self._scheme == "s3":
            self._files.retries = _ATTEMPTS

    def below(self, folder: str = "") -> dict[str, Found]:
        """All objects below a folder, by name; {} where there are none.

        Raises:
          ConfigError: the bucket is missing, or the store gives no answer.
          DataError: a name leads out of its folder.
        """
        place = self._at(folder)
        with self._told("list"):
            self._files.invalidate_cache()
            listed = self._files.find(place, detail=True)
            if not listed and not self._has_bucket():
                raise FileNotFoundError(self._path)
        start = f"{self._path}/".lstrip("/")
        found = {}
        for path, entry in sorted(listed.items()):
            if path.endswith("/"):  # what consoles make for an empty folder
                continue
            name = path.lstrip("/").removeprefix(start)
            _refuse_escape(name, self.uri)
            found[name] = Found(int(entry["size"] or 0), _tag(entry))
        return found

    def file(self) -> Found | None:
        """The object of the URI itself; None where it is a folder, or nothing.

        Raises:
          ConfigError: as `below`.
        """
        with self._told("read"):
            try:
                entry = self._files.info(self._path)
            except FileNotFoundError:
                if self._has_bucket():
                    return None
                raise
        return Found(entry["size"], _tag(entry)) if entry["type"] == "file" else None

    def top(self) -> dict[str, Found | None]:
        """What lies directly below the URI, by name; folders have None.

        Raises:
          ConfigError: as `below`.
        """
        with self._told("list"):
            self._files.invalidate_cache()
            try:
                listed = self._files.ls(self._path, detail=True)
            except FileNotFoundError:
                if self._has_bucket():
                    return {}
                raise
        return {
            entry["name"].rstrip("/").rpartition("/")[2]: Found(
                entry["size"], _tag(entry)
            )
            if entry["type"] == "file"
            else None
            for entry in listed
        }

    def exists(self, name: str) -> bool:
        """Whether there is an object of that name."""
        with self._told("read"):
            return bool(self._files.isfile(self._at(name)))

    def get(self, files: Mapping[str, pathlib.Path]) -> None:
        """Fetches objects; the folders of the files are made.

        Args:
          files: name of the object ('' for the URI itself) -> file to write.
        """
        for path in files.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        if files:
            with self._told("read"):
                self._files.get(
                    [self._at(name) for name in files], [str(p) for p in files.values()]
                )

    def put(self, files: Mapping[str, pathlib.Path]) -> None:
        """Stores files, in no order; each object is stored atomically.

        Args:
          files: name of the object -> file to read.
        """
        if files:
            with self._told("write"):
                self._files.put(
                    [str(p) for p in files.values()], [self._at(name) for name in files]
                )

    def put_bytes(self, name: str, data: bytes) -> None:
        """Stores one object."""
        with self._told("write"):
            self._files.pipe_file(self._at(name), data)

    def delete(self, names: Collection[str]) -> None:
        """Deletes objects; those that are not there are no fault."""
        for name in names:
            with self._told("delete"), contextlib.suppress(FileNotFoundError):
                self._files.rm_file(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}".rstrip("/") if name else self._path

    def _has_bucket(self) -> bool:
        return bool(self._files.exists(self._path.split("/")[0] or "/"))

    @contextlib.contextmanager
    def _told(self, verb: str) -> Iterator[None]:
        """What goes wrong in the store becomes a sentence."""
        try:
            yield
        except SlimlineError:
            raise
        except FileNotFoundError as error:
            bucket = self.uri.partition("://")[2].partition("/")[0]
            raise ConfigError(
                f"cannot {verb} {self.uri}: it is not there",
                found=_first_line(error),
                expected=f"a bucket '{bucket}'",
                tip="slimline makes no buckets; make it, or fix the address",
            ) from error
        except Exception as error:  # each package has its own kinds
            kind, is_s3 = type(error).__name__, self._scheme == "s3"
            reason = "access is denied" if isinstance(error, PermissionError) else ""
            if kind in ("NoCredentialsError", "PartialCredentialsError"):
                reason = "no credentials"
            if reason:
                tip = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, say who asks"
                raise ConfigError(
                    f"cannot {verb} {self.uri}: {reason}",
                    found=_first_line(error),
                    tip=tip if is_s3 else "",
                ) from error
            raise ConfigError(
                f"cannot {verb} {self.uri}",
                found=f"{kind}: {_first_line(error)}",
                tip="is the store up, and its address right?"
                + " AWS_ENDPOINT_URL names it" * is_s3,
            ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]


def _tag(entry: Mapping[str, Any]) -> str:
    names = ("ETag", "etag", "md5Hash", "LastModified", "mtime", "created")
    return next((str(entry[name]) for name in names if entry.get(name)), "")


def _refuse_escape(name: str, uri: str) -> None:
    if {"", ".", ".."} & {*name.split("/")} or "\0" in name or "\\" in name:
        raise DataError(
            f"{uri} holds an object that no file can be named after",
            found=repr(name),
            expected="names without empty parts, '.' and '..'",
        )
