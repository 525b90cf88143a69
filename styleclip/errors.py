"""Errors of the science, written for the person who reads them at 7 a.m."""


class StyleclipError(Exception):
    """Base of every error that a user can cause and mend; its message is one clear line."""


class BundleError(StyleclipError):
    """A bundle is unknown, incomplete, or its parts do not belong together."""


class CheckpointError(StyleclipError):
    """A weight file is missing, unreadable, or not what it is said to be."""


class PromptError(StyleclipError):
    """A prompt cannot be encoded, for example because it is longer than the context."""


class EditError(StyleclipError):
    """An edit cannot be carried out as asked."""


class AlignmentError(StyleclipError):
    """A face cannot be cut out, because its landmarks are missing or are no face."""


class NoFaceError(AlignmentError):
    """A detector found no face."""
