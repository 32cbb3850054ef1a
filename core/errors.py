"""The one exception that means "the user can mend this"."""


class UserError(Exception):
    """Something missing or wrong that the user can mend.

    The message is one line: what is wrong, why, and what to do about it.
    The command line prints it and exits with a non-zero status; anything
    else that escapes is a bug.
    """
