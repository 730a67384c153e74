"""What a resource type is to this plugin: a row of a table; and what one operation on a resource has at hand."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from twin.plugins.aws.client import Aws, AwsError
from twin.plugins.aws.extract import FIELDS
from twin.plugins.aws.values import Props
from twin.plugins.base import ProviderError

POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Call:
    """One operation on one resource. Inputs and state are plain: no secret marks, no unknowns."""

    aws: Aws
    region: str
    inputs: Props = field(default_factory=dict)
    state: Props = field(default_factory=dict)
    id: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    """All that it shall have: the provider's and its own."""
    limit: float = 0.0
    """Seconds that the user gives it; 0 for the type's own limit."""

    def __call__(self, service: str, operation: str, /, **parameters: Any) -> dict[str, Any]:
        """A request in the resource's region. Raises AwsError."""
        return self.aws.call(service, operation, self.region, **parameters)

    def find(self, gone: tuple[str, ...], service: str, operation: str, /, **parameters: Any) -> dict[str, Any] | None:
        """A request whose answer is None when AWS says with one of `gone` that there is no such thing."""
        try:
            return self(service, operation, **parameters)
        except AwsError as error:
            if error.code in gone:
                return None
            raise

    def get(self, name: str, default: Any = None) -> Any:
        """A property: as wanted, else as it is."""
        found = self.inputs.get(name)
        found = self.state.get(name) if found is None else found
        return default if found is None else found

    def changed(self, *names: str) -> bool:
        """Whether one of these inputs is another than before; always true right after a creation."""
        return any(self.inputs.get(name) != self.state.get(name) for name in names)

    def arn(self, service: str, resource: str, *, region: bool = True, account: bool = True) -> str:
        """An ARN of this account."""
        where = self.region if region else ""
        return (
            f"arn:{self.aws.partition(self.region)}:{service}:{where}:{self.aws.account if account else ''}:{resource}"
        )

    def wait(self, what: str, done: Callable[[], Any], seconds: float) -> Any:
        """Ask until `done` returns something true; at most `seconds` (the user's custom timeout wins)."""
        seconds = self.limit or seconds
        deadline = time.monotonic() + seconds
        while not (found := done()):
            if time.monotonic() > deadline:
                raise ProviderError(f"{what}: not so after {seconds:.0f} s. See its state in the AWS console")
            time.sleep(POLL_SECONDS)
        return found


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One resource type.

    `create` makes the object and returns its id; `update` brings it from `state` to `inputs`, and after a creation sets
    what creating could not (`state` is empty then); `read` returns properties, None as a value for one that is known to
    be absent, or None for an object that is gone. A row with `fixed` None is replaced by every change.
    """

    token: str
    create: Callable[[Call], str]
    read: Callable[[Call], Props | None]
    delete: Callable[[Call], None]
    update: Callable[[Call], None] | None = None
    fixed: frozenset[str] | None = frozenset()
    """Inputs whose change replaces the object."""
    named: str = ""
    """The input that gets a name of its own when the program gives none; `prefix` the one that begins such a name."""
    prefix: str = "namePrefix"
    longest: int = 64
    lead: str = ""
    """What every name begins with."""
    lower: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Inputs that the official plugin fills in."""
    secret: frozenset[str] = frozenset()
    write_only: frozenset[str] = frozenset()
    """Inputs that no state holds; their change alone is no change."""
    ordered: frozenset[str] = frozenset()
    """Lists whose order counts."""
    moving: frozenset[str] = frozenset()
    """Outputs that an update may change."""
    here_only: frozenset[str] = frozenset()
    """Inputs that tell the plugin how to go about it; a change is written down and asks AWS for nothing."""
    tags: bool = True
    check: Callable[[Mapping[str, Any]], list[tuple[str, str]]] | None = None
    """Faults of the inputs that no type tells."""
    same: Callable[[str, Any, Any], bool] | None = None
    """Whether AWS's words for a property (first) mean those of the program."""

    @property
    def title(self) -> str:
        return self.token.rpartition(":")[2]

    @property
    def inputs(self) -> Mapping[str, Any]:
        """Name and type of every input."""
        return self.spec["fields"]

    @property
    def spec(self) -> Mapping[str, Any]:
        return fields()[self.token]["inputs"]

    @property
    def outputs(self) -> Mapping[str, Any]:
        return fields()[self.token]["outputs"]

    @property
    def tagged(self) -> bool:
        return self.tags and "tagsAll" in self.outputs

    def replaces(self) -> frozenset[str]:
        """The inputs whose change replaces the object."""
        fixed = frozenset(self.inputs) - self.here_only if self.fixed is None else self.fixed
        return fixed | ({"region"} & set(self.inputs)) | ({self.prefix} & set(self.inputs) if self.named else set())


@cache
def fields() -> Mapping[str, Any]:
    return json.loads(FIELDS.read_text())
