"""The one base of every error that a person can mend."""


class UserError(Exception):
    """Its words say what is wrong and what to do; the command line prints them and nothing else."""


class GivenError(UserError, ValueError):
    """What was given, as an argument or a setting, cannot be used: the exit code is 2, not 1."""
