"""The one error that users see."""


class UserError(Exception):
    """Something the user can put right: the message says what is wrong, where, and what to do.

    The command prints it as one line and exits with 2; anything else that escapes is a fault of this project.
    """
