"""IAM documents: what the rules on trust and access need to know of them. No rules here."""

from collections.abc import Iterator, Mapping
from typing import Any

from judging.resource import document, is_list, is_map


def statements(value: Any) -> Iterator[Mapping[str, Any]]:
    """The statements of a policy document, which may be JSON text. Raises ValueError for anything else."""
    policy = document(value)
    if not is_map(policy) or not policy.get("Statement"):
        raise ValueError("no policy document")
    found = policy["Statement"]
    for one in found if is_list(found) else [found]:
        if not is_map(one):
            raise ValueError("a statement is no object")
        yield one


def many(value: Any) -> list[Any]:
    """IAM writes one value as itself and several as a list."""
    if value is None:
        return []
    return list(value) if is_list(value) else [value]


def principals(statement: Mapping[str, Any], kind: str | None = None) -> list[str]:
    """Those that a statement speaks of: "*", ARNs, services. With `kind`, only "AWS", "Federated" or "Service"."""
    value = statement.get("Principal")
    if is_map(value):
        return [str(one) for key in value if kind in (None, key) for one in many(value[key])]
    return [str(one) for one in many(value)] if kind is None or value == "*" else []


def conditions(statement: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """(operator, key, values) of every condition; IAM reads names without regard to case, so both come in lower.

    A truth value may stand as JSON's own or as text, in any case of letters.
    """
    for operator, tests in (statement.get("Condition") or {}).items():
        for key, values in tests.items():
            texts = [str(one) for one in many(values)]
            yield operator.lower(), key.lower(), [one.lower() for one in texts] if operator.lower() == "bool" else texts


def allows(statement: Mapping[str, Any]) -> bool:
    """Anything but a plain Deny counts as allowing."""
    return statement.get("Effect") != "Deny"


def actions(statement: Mapping[str, Any]) -> list[str]:
    return [str(one).lower() for one in many(statement.get("Action"))]


def denies_plain_http(policy: Any, actions_covered: tuple[str, ...]) -> bool:
    """Whether a document denies everybody what is not sent over TLS."""
    for one in statements(policy):
        insecure = [
            values for operator, key, values in conditions(one) if operator == "bool" and key == "aws:securetransport"
        ]
        only = sum(1 for _ in conditions(one)) == 1  # a second condition would narrow the denial
        if (
            one.get("Effect") == "Deny"
            and "*" in principals(one)
            and insecure == [["false"]]
            and only
            and set(actions(one)) & set(actions_covered)
        ):
            return True
    return False
