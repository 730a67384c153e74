"""A double of Cloudflare's API v4: the calls that the cloudflare provider makes for a tunnel, records and Access.

Its contract was recorded from the official provider plugin (tests/clouds/official-plugin.jsonl), which must be able to
work against it as it stands: envelope, statuses, fields, merging and replacing of objects. What it does not do: serve
any traffic. Nothing connects to its tunnels.

Below `/_twin/` it takes orders from tests: faults to answer with, tokens that expire, a look at requests and objects.
"""

TOKEN = "keystone-twin-cloudflare-token-published"
"""The API token that it accepts, published like the passphrase of twin stacks: it guards nothing."""
API = "/client/v4"
CONTROL = "/_twin"
"""Where orders go; no part of Cloudflare's API."""
