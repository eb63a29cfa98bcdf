"""What the user can put right."""

from __future__ import annotations


class UserError(ValueError):
    """One line that names the thing and the remedy: printed without a traceback, exit code 2."""
