"""Each mend of moto is still needed: when moto does right by itself, the mend goes."""

import importlib
import inspect
from pathlib import Path

import pytest

from twin.clouds.aws import mends


def source(path: str) -> str:
    """The source of a method of moto as it is installed, whatever was mended in this process."""
    module, _, name = path.partition(":")
    text = Path(importlib.import_module(module).__file__ or "").read_text()
    start = text.index(f"class {name}(") if f"class {name}(" in text else text.index(f"class {name}:")
    end = text.find("\nclass ", start + 1)
    return text[start : end if end > 0 else None]


@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        ("moto.ec2.models.launch_templates:LaunchTemplateVersion", "isinstance(user_data, Base64EncodedString)"),
        ("moto.autoscaling.models:FakeAutoScalingGroup", 'self.vpc_zone_identifier.split(",")[0]'),
        ("moto.s3.models:S3Backend", "raise BucketNeedsToBeNew"),
        ("moto.sqs.models:Queue", 'self.policy = attributes.get("Policy")'),
    ],
    ids=lambda item: item.rpartition(":")[2],
)
def test_moto_still_has_what_is_mended(where: str, wrong: str) -> None:
    assert wrong in source(where)


def test_an_origin_of_moto_still_forgets_its_access_control() -> None:
    assert "OriginAccessControlId" not in source("moto.cloudfront.models:Origin")


def test_mending_twice_changes_nothing() -> None:
    from moto.sqs.models import Queue

    mends.apply()
    once = inspect.getattr_static(Queue, "_set_attributes")
    mends.apply()
    assert inspect.getattr_static(Queue, "_set_attributes") is once
