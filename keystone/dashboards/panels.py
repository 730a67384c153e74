"""The few kinds of panels that our dashboards are made of, on Grafana's own SDK."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from grafana_foundation_sdk.builders import dashboard, loki, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import logs as logs_panel
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    GridPos,
    Threshold,
    ThresholdsMode,
)

METRICS = DataSourceRef(type_val="prometheus", uid="prometheus")
LOGS = DataSourceRef(type_val="loki", uid="loki")
TAG = "keystone"
RATE = "[$__rate_interval]"
"""Grafana puts in a range that fits the time shown, and holds at least four readings."""

Unit = Literal["none", "short", "percentunit", "bytes", "Bps", "s", "dtdurations", "reqps", "cps", "bool_on_off"]


@dataclass(frozen=True)
class Bad:
    """From which value on a number is bad; `below` turns it round."""

    value: float
    below: bool = False


@dataclass(frozen=True, kw_only=True)
class Number:
    """One value, coloured when it is bad."""

    title: str
    expr: str
    says: str
    unit: Unit = "none"
    bad: Bad | None = None


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Values over time: (expression, legend) each."""

    title: str
    queries: Sequence[tuple[str, str]]
    says: str
    unit: Unit = "short"
    top: float | None = None


@dataclass(frozen=True, kw_only=True)
class Logs:
    """Lines of Loki."""

    title: str
    expr: str
    says: str


Panel = Number | Lines | Logs
WIDTH = 24
"""Columns of Grafana's grid."""
SIZES: dict[type[Panel], tuple[int, int]] = {Number: (4, 4), Lines: (12, 8), Logs: (24, 8)}


@dataclass(frozen=True, kw_only=True)
class Row:
    """Panels below one heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, kw_only=True)
class Page:
    """One dashboard. Its uid is part of every link to it, so it never changes."""

    name: str
    title: str
    says: str
    rows: Sequence[Row]

    @property
    def uid(self) -> str:
        return f"{TAG}-{self.name}"


def build(page: Page) -> dashboard.Dashboard:
    """The page as the SDK's builder."""
    made = (
        dashboard.Dashboard(page.title)
        .uid(page.uid)
        .description(page.says)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .refresh("1m")
        .time("now-6h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(dashboard.DashboardLink("Keystone").type(DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(True))
    )
    number, top = 0, 0
    for row in page.rows:
        made = made.with_row(dashboard.Row(row.title).id(number := number + 1).grid_pos(_place(0, top, (WIDTH, 1))))
        left, top, lowest = 0, top + 1, top + 1
        for panel in row.panels:
            width, height = SIZES[type(panel)]
            # The SDK's own layout does not break a line before a panel that is too wide for the rest of it.
            if left + width > WIDTH:
                left, top = 0, lowest
            made = made.with_panel(_panel(panel).id(number := number + 1).grid_pos(_place(left, top, (width, height))))
            left, lowest = left + width, max(lowest, top + height)
        top = lowest
    return made


def _place(x: int, y: int, size: tuple[int, int]) -> GridPos:
    return GridPos(x=x, y=y, w=size[0], h=size[1])


def _panel(panel: Panel) -> stat.Panel | timeseries.Panel | logs_panel.Panel:
    if isinstance(panel, Number):
        return _number(panel)
    return _lines(panel) if isinstance(panel, Lines) else _logs(panel)


def _number(panel: Number) -> stat.Panel:
    query = prometheus.Dataquery().expr(panel.expr).instant().ref_id("A")
    made = stat.Panel().title(panel.title).description(panel.says).datasource(METRICS).unit(panel.unit)
    made = made.with_target(query).no_value("none")
    steps = [Threshold(value=None, color="green")]
    if panel.bad:
        worse, start = ("green", "red") if panel.bad.below else ("red", "green")
        steps = [Threshold(value=None, color=start), Threshold(value=panel.bad.value, color=worse)]
    return made.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))


def _lines(panel: Lines) -> timeseries.Panel:
    made = timeseries.Panel().title(panel.title).description(panel.says).datasource(METRICS).unit(panel.unit)
    for index, (expr, legend) in enumerate(panel.queries):
        made = made.with_target(
            prometheus.Dataquery().expr(expr).legend_format(legend).range().ref_id(chr(ord("A") + index))
        )
    if panel.top is not None:
        made = made.max(panel.top)
    return made.min(0).fill_opacity(10)


def _logs(panel: Logs) -> logs_panel.Panel:
    query = loki.Dataquery().expr(panel.expr).ref_id("A")
    made = logs_panel.Panel().title(panel.title).description(panel.says).datasource(LOGS).with_target(query)
    return made.show_time(True).wrap_log_message(True)


def queries(page: Page) -> list[tuple[str, str]]:
    """(panel's title, expression) of everything that the page asks of Prometheus."""
    found: list[tuple[str, str]] = []
    for row in page.rows:
        for panel in row.panels:
            if isinstance(panel, Number):
                found.append((panel.title, panel.expr))
            elif isinstance(panel, Lines):
                found += [(panel.title, expr) for expr, _ in panel.queries]
    return found


def log_queries(page: Page) -> list[tuple[str, str]]:
    """(panel's title, expression) of everything that the page asks of Loki."""
    return [(panel.title, panel.expr) for row in page.rows for panel in row.panels if isinstance(panel, Logs)]
