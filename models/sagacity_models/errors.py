"""Everything this package refuses, as one small tree."""

from __future__ import annotations


class ModelError(Exception):
    """Base of every error this package raises."""


class BundleRefused(ModelError):
    """A bundle's folder is not exactly what was saved, or is not for this version; nothing of it was used."""


class KeyRefused(ModelError):
    """A file is no key, cannot be read, or may be read by too many; the message never holds its content."""


class RegistryRefused(ModelError):
    """The model registry cannot be opened, read or written as asked; the message names the way out."""


class RegistryUnreachable(RegistryRefused):
    """The server that keeps the registry does not answer."""
