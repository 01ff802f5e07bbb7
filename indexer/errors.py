"""The indexer's error tree; each carries one sentence that tells the user what to do."""

from __future__ import annotations

from pathlib import Path

from model.errors import PhotoError, ReferentError


class IndexerError(ReferentError):
    """Something in the library, an album or a photo folder that the user can mend."""


class CatalogError(IndexerError):
    """The database cannot be used as it is."""


class CatalogLocked(CatalogError):
    """Another process kept the database's write lock for longer than we wait."""


class CatalogReadOnly(CatalogError):
    """The library folder or its database cannot be written."""


class CatalogTooNew(CatalogError):
    """A newer Referent made this database."""


class CatalogDamaged(CatalogError):
    """The file is no database, or its pages are broken."""


class CatalogUnreachable(CatalogError):
    """The database server does not answer, or refuses us."""


class NoSpaceLeft(IndexerError):
    """The disk of the library is full."""


class LibraryNotEmpty(IndexerError):
    """A library that is to be restored into holds something already."""


class BackupUnusable(IndexerError):
    """A folder is no backup, an unfinished one, or damaged."""


class UnknownAlbum(IndexerError):
    """No album has this name."""


class AlbumExists(IndexerError):
    """Another album has this name already."""


class UnknownGlob(IndexerError):
    """An album does not have this glob."""


class FolderError(IndexerError):
    """A photo folder does not exist, is no folder or cannot be read."""


class PhotoRefused(PhotoError):
    """A file breaks a limit (bytes, pixels, time, memory) and was not decoded to the end."""


class PhotoUnreadable(PhotoError):
    """A file is no image that can be decoded; the message holds the decoder's reason."""


class DecoderBroken(IndexerError):
    """The pool of decoding processes cannot be started."""


class DecoderClosed(DecoderBroken):
    """This process ends; what was to be decoded is left to the next one."""

    def __init__(self) -> None:
        super().__init__("decoding was stopped, since this process ends: try again in a moment")


class FeatureStoreError(IndexerError):
    """A file of the feature store cannot be used."""


class DamagedSegment(FeatureStoreError):
    """A segment file is missing, cut short or holds other bytes than were written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"the feature segment {path} is damaged: {reason}; the next index mends it "
            "(--verify reads whole files)"
        )
        self.path = path
        self.reason = reason


class FeatureStoreAway(FeatureStoreError):
    """The catalog names feature files, and none of them is there."""


class FeaturesMissing(FeatureStoreError):
    """A photo has no features of the kind that is asked for."""


class LeaseLost(FeatureStoreError):
    """Our lease ran out before the features were committed; another worker encodes them."""


class VersionConflict(IndexerError):
    """An album has no index version that fits what is asked."""


class EncodingFailed(IndexerError):
    """The network fails on every photo, so the fault is not in the photos."""


class UnknownJob(IndexerError):
    """No job has this number."""


class JobConflict(IndexerError):
    """A job cannot do this in the state that it is in."""


class JobParametersInvalid(IndexerError):
    """A job's kind or parameters are not among those that exist."""


class PlaceLost(IndexerError):
    """Another worker took our place in a job, because we were silent for too long."""
