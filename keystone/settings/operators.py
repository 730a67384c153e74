"""Section `operators`: controllers that make things at clouds from objects of the cluster. Left out: none."""

from typing import Annotated, Literal

from pydantic import Field

from keystone.settings.model import Model

AwsService = Literal["ec2", "eks", "iam", "rds", "s3"]
"""Services of AWS that an operator may be given. What it makes is called CLUSTER-managed-..., or has its tag."""
Services = Annotated[tuple[AwsService, ...], Field(min_length=1)]


class Ack(Model):
    """AWS' own controllers, one per service."""

    services: Services = Field(description="services with a controller, such as [s3, rds]")
    on_deletion: Literal["retain", "delete"] = Field(
        default="retain", description="what becomes of a thing at AWS when its object is removed"
    )


class Crossplane(Model):
    """Crossplane with the providers that are named, and those that pools of other clouds need."""

    aws: tuple[AwsService, ...] = Field(default=(), description="services of AWS with a provider, such as [s3, rds]")


class Operators(Model):
    """The choices. Two owners of one thing are one too many: a service is given to one operator alone."""

    ack: Ack | None = Field(default=None, description="AWS Controllers for Kubernetes: {services}")
    crossplane: Crossplane | None = Field(default=None, description="Crossplane: {aws}")

    @property
    def aws_services(self) -> tuple[AwsService, ...]:
        """The services of AWS that any operator is given."""
        return (*(self.ack.services if self.ack else ()), *(self.crossplane.aws if self.crossplane else ()))
