"""Writes a plan as a comment: what costs the most first, within the size that GitHub takes, without any value."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from keystone.preview_comment.costs import costs
from keystone.preview_comment.machines import UNDETERMINED, Fate, Judge, fates
from keystone.preview_comment.mask import mask
from keystone.preview_comment.plan import PROVIDER, STACK_TYPE, Plan, Step
from keystone.wire import kind_of, name_of

# GitHub refuses a longer body ("body is too long (maximum is 65536 characters)"); it counts characters.
LIMIT = 65_536
_ROOM = 500  # for what a caller puts around it
# Rows of the lists that decide (errors, replaced and deleted, machines, policies) and of the others; tried in this
# order until the comment fits.
ROWS = ((1000, 1000), (1000, 200), (1000, 50), (400, 20), (200, 10), (100, 10), (50, 5), (25, 5), (10, 5), (2, 2))
CELL, TEXT = 140, 900  # characters
LONGEST = 20_000  # of a message, characters that are looked at
HEAD_NAMES = 10
LOST = {"reinstalled": "Machines whose disk is erased", "removed": "Machines that leave"}
WORDS = {"replace": "replaced", "delete": "deleted", "update": "updated", "create": "created", "same": "unchanged"}
DRIFT_WORDS = {**WORDS, "update": "changed elsewhere", "delete": "gone"}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a comment is about. `drift` is a refresh instead of a preview."""

    stack: str
    drift: bool = False
    commit: str = ""

    @property
    def marker(self) -> str:
        """The first line, by which the comment is found again."""
        return f"<!-- keystone-{'drift' if self.drift else 'preview'}:{self.stack} -->"

    @property
    def title(self) -> str:
        """The heading."""
        return f"{'Drift' if self.drift else 'Preview'} of {code(self.stack)}"

    @property
    def words(self) -> dict[str, str]:
        """What to call the kinds of change."""
        return DRIFT_WORDS if self.drift else WORDS


def render(plan: Plan, subject: Subject, judge: Judge = lambda _host, _hash: UNDETERMINED) -> str:
    """The comment. Always shorter than LIMIT, whatever the plan holds."""
    machines, groups = fates(plan, judge), _groups(plan)
    text = ""
    for first, rest in ROWS:
        text = _page(plan, subject, machines, groups, first, rest)
        if len(text) <= LIMIT - _ROOM:
            return text
    raise AssertionError(f"a comment of {len(text)} characters with {ROWS[-1][0]} rows per list")


def code(text: str, limit: int = CELL) -> str:
    """A text in code style, safe in a table: nothing in it is markup, a mention or a link."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text[: 2 * limit]).replace("`", "'").strip()
    if len(plain) > limit:
        plain = f"{plain[: limit - 3]}..."
    # A bar ends a table's cell even in code style, and the backslash that would save it shows up outside of tables.
    return f"`{plain}`".replace("|", "\N{BROKEN BAR}") if plain else ""


def _fence(text: str) -> list[str]:
    kept = mask(text[:LONGEST]).replace("```", "'''")
    return ["```text", kept if len(kept) <= TEXT else f"{kept[: TEXT - 3]}...", "```"]


def _page(
    plan: Plan, subject: Subject, machines: Sequence[Fate], groups: Mapping[str, str], first: int, rest: int
) -> str:
    sections = [
        _head(plan, subject, machines),
        _errors(plan, first),
        _lost(plan, subject, groups, first),
        [] if subject.drift else _machines(machines, first),
        [] if subject.drift else _policies(plan, first),
        [] if subject.drift else _costs(plan, rest),
        _components(plan, subject, groups, rest),
        _folded(plan.of("update"), subject.words["update"], rest, changed=True),
        _folded(plan.of("create"), subject.words["create"], rest, changed=False),
        _warnings(plan, rest),
        _foot(subject),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _head(plan: Plan, subject: Subject, machines: Sequence[Fate]) -> list[str]:
    counts = plan.counts
    parts = [f"{count} {subject.words[kind]}" for kind, count in counts.items() if count and kind != "same"]
    for number, kind in enumerate(("replace", "delete")):
        if counts[kind]:
            at = min(number, 1 if counts["replace"] else 0)
            parts[at] = f"**{parts[at]}**"
    same = f"{counts['same']} unchanged"
    lines = [subject.marker, f"## {subject.title}", ""]
    refused = sum(one.mandatory for one in plan.violations)
    if not plan.finished:
        lines += ["**The output ends before the engine did**: what follows is a part.", ""]
    elif refused:
        lines += [f"**Refused by policies**: {refused} {_plural(refused, 'violation')}.", ""]
    elif plan.failed:
        lines += [f"**The {'refresh' if subject.drift else 'preview'} failed**; what follows is a part.", ""]
    lines.append(f"{', '.join([*parts, same])}." if parts else f"No changes; {same}.")
    # A disk that is erased must not stand below hundreds of replaced resources.
    if not subject.drift and (lost := [_lost_machines(machines, what) for what in LOST if _of(machines, what)]):
        lines += ["", " ".join(lost)]
    return lines


def _of(machines: Sequence[Fate], what: str) -> list[Fate]:
    return [fate for fate in machines if fate.what == what]


def _lost_machines(machines: Sequence[Fate], what: str) -> str:
    found = _of(machines, what)
    names = ", ".join(code(fate.host) for fate in found[:HEAD_NAMES])
    more = f" and {len(found) - HEAD_NAMES} more" if len(found) > HEAD_NAMES else ""
    return f"**{LOST[what]} ({len(found)})**: {names}{more}."


def _errors(plan: Plan, rows: int) -> list[str]:
    if not plan.errors:
        return []
    lines = [f"### Errors ({len(plan.errors)})"]
    for one in plan.errors[:rows]:
        if one.urn:
            lines += ["", f"{code(name_of(one.urn))} {code(kind_of(one.urn))}"]
        lines += ["", *_fence(one.text)]
    return lines + _more(len(plan.errors), rows)


def _lost(plan: Plan, subject: Subject, groups: Mapping[str, str], rows: int) -> list[str]:
    lost = [*plan.of("replace"), *plan.of("delete")]
    if not lost:
        return []
    title = "Gone" if subject.drift else "Replaced and deleted"
    lines = [f"### {title} ({len(lost)})", "", "| what | resource | type | component | why |", "| --- " * 5 + "|"]
    for step in lost[:rows]:
        why = ", ".join(step.changed) if step.kind == "replace" else ""
        protected = " (protected: the update will refuse)" if step.protected else ""
        cells = (code(step.name), code(step.type), code(groups[step.urn]), code(why) + protected)
        lines.append(f"| **{subject.words[step.kind]}** | {' | '.join(cells)} |")
    return lines + _more(len(lost), rows)


def _machines(machines: Sequence[Fate], rows: int) -> list[str]:
    if not machines:
        return []
    moved = [fate for fate in machines if fate.what != "unchanged"]
    still = len(machines) - len(moved)
    lines = [f"### Machines ({len(machines)})", ""]
    if not moved:
        return [*lines, f"Nothing happens to {'the one' if still == 1 else 'any of the'} {_plural(still, 'machine')}."]
    lines += ["| machine | what happens | |", "| --- | --- | --- |"]
    for fate in moved[:rows]:
        what = f"**{fate.what}**" if fate.what in ("reinstalled", "removed") else fate.what
        lines.append(f"| {code(fate.host)} | {what} | {fate.detail.replace('|', ' ')} |")
    lines += _more(len(moved), rows)
    return [*lines, "", f"Nothing happens to {still} more."] if still else lines


def _policies(plan: Plan, rows: int) -> list[str]:
    lines = ["### Policies", ""]
    if plan.packs is None:
        text = "Not told by this output: `PULUMI_ENABLE_STREAMING_JSON_PREVIEW=true` makes the engine tell."
        return [*lines, text]
    if not plan.packs and not plan.violations:
        return [*lines, "**No policy pack judged this preview.**"]
    packs = ", ".join(f"{code(name)} {code(version)}".strip() for name, version in sorted(plan.packs.items()))
    if not plan.violations:
        return [*lines, f"{packs}: no violation."]
    refused = sum(one.mandatory for one in plan.violations)
    lines.append(f"{packs or 'Policies'}: {refused} refused, {len(plan.violations) - refused} to look at.")
    for one in plan.violations[:rows]:
        word = "**refused**" if one.mandatory else "look at"
        where = code(name_of(one.urn))
        lines.append(
            f"- {word} {code(one.policy)}{f' on {where}' if where else ''}: {code(mask(one.text[:LONGEST]), TEXT)}"
        )
    return lines + _more(len(plan.violations), rows)


def _costs(plan: Plan, rows: int) -> list[str]:
    found = costs(plan)
    if not found:
        return []
    lines = [f"### What changes a bill ({len(found)})", "", "| what | resource | type | |", "| --- " * 4 + "|"]
    lines += [f"| {WORDS[o.kind]} | {code(o.name)} | {code(o.type)} | {code(o.what)} |" for o in found[:rows]]
    return lines + _more(len(found), rows)


def _components(plan: Plan, subject: Subject, groups: Mapping[str, str], rows: int) -> list[str]:
    if not plan.of("replace", "delete", "update", "create"):
        return []
    table: dict[str, dict[str, int]] = {}
    for step in plan.steps:
        counted = table.setdefault(groups[step.urn], dict.fromkeys(WORDS, 0))
        counted[step.kind] += 1
    moved = {name: row for name, row in table.items() if any(row[kind] for kind in WORDS if kind != "same")}
    order = sorted(moved, key=lambda name: (-moved[name]["replace"], -moved[name]["delete"], name))
    lines = ["### By component", ""]
    lines += [f"| component | {' | '.join(subject.words.values())} |", "| --- |" + " ---: |" * len(WORDS)]
    for name in order[:rows]:
        lines.append(f"| {code(name)} | {' | '.join(str(moved[name][kind] or '') for kind in WORDS)} |")
    lines += _more(len(order), rows)
    still = len(table) - len(moved) if plan.unchanged is None else 0  # a digest does not name them
    return [*lines, "", f"{still} {_plural(still, 'component')} unchanged."] if still else lines


def _folded(steps: Sequence[Step], word: str, rows: int, *, changed: bool) -> list[str]:
    if not steps:
        return []

    def row(step: Step) -> str:
        paths = ", ".join(step.changed)
        return f"- {code(step.name)} {code(step.type)}{f': {code(paths)}' if changed and paths else ''}"

    return _details(f"{word.capitalize()} ({len(steps)})", map(row, steps[:rows]), _more(len(steps), rows))


def _warnings(plan: Plan, rows: int) -> list[str]:
    def row(number: int) -> str:
        one = plan.warnings[number]
        return f"- {code(name_of(one.urn))} {code(mask(one.text[:LONGEST]), TEXT)}"

    if not plan.warnings:
        return []
    count = len(plan.warnings)
    return _details(f"Warnings ({count})", map(row, range(min(rows, count))), _more(count, rows))


def _details(title: str, lines: Iterable[str], more: Iterable[str]) -> list[str]:
    return ["<details>", f"<summary>{title}</summary>", "", *lines, *more, "", "</details>"]


def _foot(subject: Subject) -> list[str]:
    commit = f" Commit {code(subject.commit[:12])}." if subject.commit else ""
    return [f"<sub>Properties by name; their values are not shown.{commit}</sub>"]


def _more(count: int, rows: int) -> list[str]:
    return ["", f"... and {count - rows} more."] if count > rows else []


def _plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"


def _groups(plan: Plan) -> dict[str, str]:
    """URN -> the component right below the stack that it belongs to, itself included."""
    parents = {step.urn: step.parent for step in plan.steps}
    found: dict[str, str] = {}
    for step in plan.steps:
        top = step.urn
        # A parent that the plan does not hold ends the way; 100 is deeper than any program, and ends a circle.
        for _ in range(100):
            above = parents.get(top, "")
            if not above or kind_of(above) == STACK_TYPE:
                break
            top = above
        found[step.urn] = _label(top, component=top != step.urn or _is_component(step))
    return found


def _is_component(step: Step) -> bool:
    return ":components:" in step.type


def _label(urn: str, *, component: bool) -> str:
    if kind_of(urn).startswith(PROVIDER):
        return "providers"
    return f"{kind_of(urn).rsplit(':', 1)[-1]} {name_of(urn)}" if component else "the program itself"
