"""The errors that are not faults of the program."""


class UserError(ValueError):
    """Something outside the program is wrong: the message names the thing and says how to mend it.

    Command lines print it without a traceback and exit with status 1.
    """


class PeerStopped(UserError):
    """Another process that shares this one's work has stopped; it, or who started both, has said why."""


class Stopped(Exception):
    """A signal, by its number, has ended the work."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number
