"""The one error that Keystone's commands raise for a fault that a user can mend."""


class KeystoneError(Exception):
    """A fault with its place, what is wrong (value and limit), and the cure; prints as one line."""

    def __init__(self, place: str, problem: str, cure: str = "") -> None:
        self.place = place
        self.problem = problem.rstrip(".")
        self.cure = cure.rstrip(".")
        super().__init__(f"{self.place}: {self.problem}." + (f" {self.cure}." if self.cure else ""))
