"""components/public_record.py"""

from collections.abc import Callable

import pytest
from pulumi_aws import acm

from tests.aws.programs import the_identity
from tests.aws.sites import site
from tests.recording import Engine

Deploy = Callable[..., Engine]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_names_are_made_in_the_tunnels_zone_unproxied(deploy: Deploy) -> None:
    engine = deploy(the_identity(site(tunnel=True)))
    name, proof = (engine.named(f"identity-issuer-{what}").inputs for what in ("name", "proof"))
    assert (name["name"], name["content"]) == ("oidc.example.org", "d111111abcdef8.cloudfront.net")
    assert (proof["name"], proof["content"]) == ("_0123.oidc.example.org", "_4567.acm-validations.aws")
    assert {name["proxied"], proof["proxied"]} == {False}
    [validation] = engine.of(acm.CertificateValidation)
    assert "identity-issuer-proof" in validation.dependencies
    assert validation.inputs["region"] == "us-east-1"


def test_names_are_made_in_route_53_where_its_zone_is_given(deploy: Deploy) -> None:
    name = deploy(the_identity(site(tunnel=True, hostedZoneId="Z123"))).named("identity-issuer-name").inputs
    assert (name["zoneId"], name["type"], name["records"]) == ("Z123", "CNAME", ["d111111abcdef8.cloudfront.net"])


def test_who_keeps_the_zone_elsewhere_is_told_which_records_to_make(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", lambda text, *_: said.append(text))
    deploy(the_identity(site()))
    assert sorted(said) == [
        "Make this DNS record, or the update waits for it in vain: _0123.oidc.example.org. CNAME "
        "_4567.acm-validations.aws.",
        "Make this DNS record, or the update waits for it in vain: oidc.example.org CNAME "
        "d111111abcdef8.cloudfront.net",
    ]
