"""Rules about controllers that make things at clouds."""

from collections.abc import Iterator

from keystone.settings.aws import Aws
from keystone.settings.faults import Fault
from keystone.settings.operators import Operators
from keystone.settings.storage import Storage


def operators_have_an_account(operators: Operators | None, aws: Aws | None) -> Iterator[Fault]:
    if operators and operators.aws_services and aws is None:
        yield Fault(
            "operators",
            f"{', '.join(operators.aws_services)} lie at AWS, and there is no section aws",
            "Add aws, or remove them",
        )


def services_have_one_operator(operators: Operators | None) -> Iterator[Fault]:
    given = operators.aws_services if operators else ()
    for service in sorted({one for one in given if given.count(one) > 1}):
        yield Fault(
            "operators",
            f"{service} is given to two operators, or twice to one; each would undo what the other does",
            "Name it once",
        )


def drivers_have_roles(storage: Storage | None, aws: Aws | None) -> Iterator[Fault]:
    if storage is None or aws is not None:
        return
    if storage.ebs and not storage.ebs.complete:
        yield Fault("storage.ebs", "lacks what there is no section aws to make", "Give roleArn, kmsKeyArn and region")
    if storage.efs and not storage.efs.role_arn:
        yield Fault("storage.efs.roleArn", "is missing, and there is no section aws to make it", "Give it, or add aws")


RULES = (operators_have_an_account, services_have_one_operator, drivers_have_roles)
