"""Resource types by the SDKs' own classes, without importing the SDKs: that would take the pack's start seconds.

A token is read from the decorator above the class in the installed package's source, and a class that is not there is
an error at once. A test holds every token that is used against the imported class.
"""

import re
import sysconfig
from functools import cache
from pathlib import Path

ANY = "*"
"""Stands for every type."""
SDK: dict[str, tuple[str, str]] = {}
"""Each token that has been read -> module and class it came from."""
CUSTOM: dict[str, tuple[str, str]] = {}
"""Each type of a custom resource -> its apiVersion and kind: these have no class of their own."""
COMPONENTS: set[str] = set()

_SITE = Path(sysconfig.get_paths()["purelib"])
_TOKEN = r'@pulumi\.type_token\("([^"]+)"\)\s*\nclass {name}\('


class UnknownKind(Exception):
    """A rule names a class that the installed SDK does not have."""


@cache
def _token(module: str, name: str) -> str:
    folder = _SITE.joinpath(*module.split("."))
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    likely = [folder / f"{name}.py", folder / f"{snake}.py"]
    pattern = re.compile(_TOKEN.format(name=re.escape(name)))
    for file in [*likely, *sorted(set(folder.glob("*.py")) - set(likely))]:
        found = pattern.search(file.read_text()) if file.is_file() else None
        if found:
            return found[1]
    raise UnknownKind(f"{module}.{name}: the installed package has no such resource. Mend the rule or the pin.")


def sdk(module: str, *names: str) -> tuple[str, ...]:
    """The type tokens of resource classes, such as `sdk("pulumi_aws.ec2", "LaunchTemplate")`."""
    tokens = tuple(_token(module, name) for name in names)
    SDK.update(zip(tokens, ((module, name) for name in names), strict=True))
    return tokens


def custom(api_version: str, *kinds: str) -> tuple[str, ...]:
    """The types of `kubernetes.apiextensions.CustomResource` with this apiVersion."""
    tokens = tuple(f"kubernetes:{api_version}:{kind}" for kind in kinds)
    CUSTOM.update(zip(tokens, ((api_version, kind) for kind in kinds), strict=True))
    return tokens


@cache
def canonical(kind: str) -> str:
    """The type by which the rules know a Kubernetes kind, whichever version of its group an object is written in."""
    if not kind.startswith("kubernetes:") or kind in SDK or kind in CUSTOM:
        return kind
    # Helm's classes have nothing in common but the name.
    known = {_unversioned(one): one for one in (*SDK, *CUSTOM) if not one.startswith("kubernetes:helm.sh/")}
    return known.get(_unversioned(kind), kind)


def _unversioned(kind: str) -> str:
    package, _, rest = kind.partition(":")
    group, _, name = rest.partition(":")
    return f"{package}:{group.rpartition('/')[0]}:{name}"


def component(*names: str) -> tuple[str, ...]:
    """The types of the program's own components."""
    tokens = tuple(f"keystone:components:{name}" for name in names)
    COMPONENTS.update(tokens)
    return tokens


CLUSTER_BASE = component("ClusterBase")
"""What tells the plain facts of the cluster: its API's address, its load-balancer pools."""
