"""The errors, sorted by who must act; every one names the thing and the mend."""


class GuidanceError(Exception):
    """Base of all named errors.

    Args:
        message: what is wrong, naming the thing.
        code: stable name counted in /metrics and shown on the status page, `snake_case` or the contract's word.
        mend: what the reader can do about it; "" where the message says it already.
    """

    def __init__(self, message: str, *, code: str, mend: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.mend = mend

    def __str__(self) -> str:
        message = str(self.args[0])
        return f"{message} ({self.mend})" if self.mend else message


class WireError(GuidanceError):
    """The peer is at fault: the message is skipped and counted, or the connection closed."""


class GeometryError(GuidanceError):
    """Impossible or untrusted data: rejected, nothing is drawn, the operator is told."""


class ConfigError(GuidanceError):
    """The site's settings are wrong: the program refuses to start (exit code 2)."""


class CaseError(GuidanceError):
    """What was asked does not fit the case as it is: unknown path, wrong patient, bad field."""
