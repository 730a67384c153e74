"""components/secure_parameter.py"""

from collections.abc import Callable

import pytest
from pulumi_aws import ssm

from keystone.identities import Identities
from tests.aws.programs import CI, only, the_account, the_identity
from tests.aws.sites import site
from tests.recording import ROOT_SECRET, Engine, is_secret, plain

Deploy = Callable[..., Engine]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_the_agent_token_is_written_and_never_stored(deploy: Deploy) -> None:
    engine = deploy(the_account(site()))
    token = only(engine, ssm.Parameter, "pool-spot-agent-token").inputs
    assert is_secret(token["valueWo"])
    assert plain(token["valueWo"]) == Identities(ROOT_SECRET, "site").agent_token()
    assert (token["name"], token["type"]) == ("/keystone/site/pools/spot/agent-token", "SecureString")
    assert "value" not in token


def test_mesh_keys_of_pipelines_lie_in_encrypted_parameters_that_the_timer_fills(deploy: Deploy) -> None:
    parameters = {one.inputs["name"]: one.inputs for one in deploy(the_identity(site(ci=CI))).of(ssm.Parameter)}
    assert set(parameters) == {"/keystone/site/ci/mesh-key", "/keystone/site/ci-up/mesh-key"}
    for inputs in parameters.values():
        assert inputs["type"] == "SecureString"
        assert inputs["keyId"] == "alias/keystone-site", "another name than the timer's would be drift"
        assert is_secret(inputs["valueWo"])
        assert plain(inputs["valueWoVersion"]) == 1
        assert "value" not in inputs
