"""The whole program with a tunnel and metrics: Prometheus reads the tunnel too, or its alert would call it down."""

import json
import runpy
from pathlib import Path

import pulumi
import pytest
import yaml

from keystone import facts
from keystone.settings import read
from tests.observability.queries import TUNNEL
from tests.recording import ROOT_SECRET, run

PROJECT = Path(__file__).resolve().parents[2]
SECRETS = {"keystone:rootSecret": ROOT_SECRET, "keystone:cloudflareToken": "x" * 40}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # one of the SDK, about a property that we leave out
def test_the_tunnels_monitor_comes_after_prometheus_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = yaml.safe_load((PROJECT / "Pulumi.dev.yaml").read_text())
    stack["config"] |= {
        "keystone:storage": {"localPath": {}},
        "keystone:observability": {},
        "keystone:tunnel": TUNNEL,
        "keystone:cloudflareToken": {"secure": "v1:bm9uY2Vub25jZQ==:c2VjcmV0"},
    }
    (tmp_path / "Pulumi.dev.yaml").write_text(yaml.safe_dump(stack))
    values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in stack["config"].items()}
    pulumi.runtime.set_all_config({**values, **SECRETS}, list(SECRETS))
    facts.write(read("dev", tmp_path), "dev", tmp_path)
    monkeypatch.chdir(tmp_path)
    engine = run(lambda: runpy.run_path(str(PROJECT / "__main__.py")) and None, stack="dev")
    assert "chart-kube-prometheus-stack-release" in engine.named("tunnel-monitor").dependencies
