"""Custom resources from values."""

from components.thing import thing, things
from keystone.charts.objects import Thing
from tests.components.platforms import Anything
from tests.recording import run

POOL = Thing(
    api="metallb.io/v1beta1", kind="IPAddressPool", name="one", namespace="there", spec={"a": 1}, after="metallb"
)


def test_an_object_carries_kind_place_and_what_it_waits_for() -> None:
    waits = Thing(api="a/v1", kind="A", name="n", spec={}, wait="condition=Ready", annotations={"x": "y"})
    made = run(lambda: thing("it", waits, parent=Anything()) and None).named("it").inputs
    assert (made["apiVersion"], made["kind"]) == ("a/v1", "A")
    assert made["metadata"] == {"name": "n", "annotations": {"x": "y", "pulumi.com/waitFor": "condition=Ready"}}


def test_objects_come_one_after_another_and_each_after_the_chart_of_its_kind() -> None:
    def build() -> None:
        parent = Anything()
        other = Thing(api="a/v1", kind="A", name="two", spec={})
        chart = Anything("chart")
        things("x", [POOL, other], parent=parent, namespaces={"there": "made"}, releases={"metallb": chart})

    engine = run(build)
    assert engine.named("x-one").inputs["metadata"]["namespace"] == "made"
    assert "chart" in engine.named("x-one").dependencies
    assert "x-one" in engine.named("x-two").dependencies
