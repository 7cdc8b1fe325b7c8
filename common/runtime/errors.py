"""The one error a user can mend."""


class UserError(ValueError):
    """Something outside the program is wrong: the message names the thing and says how to mend it.

    Command lines print it without a traceback and exit with status 1.
    """
