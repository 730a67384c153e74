"""The policy pack `keystone`: one list of rules. docs/reference/policies.md shows them."""

import threading

from judging import credentials as detector
from judging.server import serve
from rules import (
    clouds,
    credentials,
    encryption_aws,
    encryption_cluster,
    exposure_aws,
    exposure_cloudflare,
    exposure_cluster,
    safety,
    stack,
    static_keys,
    supply,
)

RULES = [
    *encryption_aws.RULES,
    *encryption_cluster.RULES,
    *static_keys.RULES,
    *credentials.RULES,
    *exposure_aws.RULES,
    *exposure_cloudflare.RULES,
    *exposure_cluster.RULES,
    *clouds.RULES,
    *supply.RULES,
    *safety.RULES,
    *stack.RULES,
]

if __name__ == "__main__":
    # The detectors are loaded while the engine still starts the program.
    serve(RULES, then=threading.Thread(target=detector.warm, daemon=True).start)
