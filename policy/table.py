"""Renders docs/reference/policies.md: `.venv/bin/python policy/table.py > docs/reference/policies.md`."""

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from judging.exceptions import REASON_LENGTH
from judging.kinds import ANY
from judging.rule import Rule

HEAD = f"""# Policies

Generated from the pack in `policy/`; a test holds it equal. Every rule is mandatory: a plan that breaks one changes
nothing. The pack runs in `make up` and `make preview`, by itself with `make policy STACK=...`, and over an exported
state with `pulumi policy analyze --policy-pack policy --file state.json`.

What a preview cannot know yet is noted there and judged by the update, before the resource is made; what is unknown
even then is refused. The credential detector knows the formats of detect-secrets, and those of AWS, Cloudflare,
Headscale, age, k3s and GitHub.

The only way round a rule is an entry in `policy/exceptions.STACK.json`:

```json
{{"exceptions": {{"list": [
  {{"resource": "NAME or URN", "rule": "RULE", "expires": "YEAR-MONTH-DAY",
    "reason": "why this is acceptable, in at least {REASON_LENGTH} characters"}}
]}}}}
```

It holds through the day that it names, at most a year ahead; in its last month each run speaks of it. After that, and
when it names a rule or a resource that is not there, the run fails until the entry is mended. Levels cannot be lowered.
"""
ROW = "| rule | what it wants | types | severity | cure | reference |\n| --- | --- | --- | --- | --- | --- |"


def short(kind: str) -> str:
    """A type for people: aws:ec2/launchTemplate:LaunchTemplate is aws LaunchTemplate."""
    package, _, rest = kind.partition(":")
    if kind == ANY:
        return "all"
    if kind.startswith("pulumi:providers:"):
        return f"{kind.rpartition(':')[2]} provider"
    last = rest.rpartition(":")[2]
    return f"remote {last}" if kind.startswith("command:remote") else f"{package} {last}"


def render(topics: Sequence[tuple[str, str, Sequence[Rule]]]) -> str:
    """The page. `topics` are (file, its first line, rules)."""
    parts = [HEAD]
    for name, title, rules in topics:
        parts.append(f"\n## {name}\n\n{title}\n\n{ROW}")
        for one in rules:
            kinds = ", ".join(dict.fromkeys(short(kind) for kind in one.kinds if not kind.endswith("Patch")))
            cells = (
                f'<a id="{one.name}"></a>`{one.name}`',
                one.says + (" (judges the whole stack)" if one.check_stack else ""),
                kinds,
                one.severity.value,
                one.cure,
                one.reference or "-",
            )
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(parts) + "\n"


def topics() -> list[tuple[str, str, Sequence[Rule]]]:
    """The files of rules in the order in which the pack lists them."""
    pack = runpy.run_path(str(Path(__file__).with_name("__main__.py")), run_name="pack")
    modules = [value for value in pack.values() if getattr(value, "__name__", "").startswith("rules.")]
    return [(one.__name__.removeprefix("rules."), one.__doc__.strip().partition("\n")[0], one.RULES) for one in modules]


if __name__ == "__main__":
    sys.stdout.write(render(topics()))
