"""Why the bytes of a file are refused."""

from __future__ import annotations


class ImplausibleError(ValueError):
    """A file holds what no checkpoint holds, said as the end of a sentence that begins with its path."""


class RunsCodeError(ValueError):
    """A file refers to functions or classes that are no part of a checkpoint; the message names the first."""
