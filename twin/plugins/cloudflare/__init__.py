"""A stand-in for the cloudflare provider 6.17.0: the resources and functions that Keystone uses.

It sends what the official plugin was recorded to send (tests/clouds/official-plugin.jsonl), through Cloudflare's own
Python client. Required inputs, types and choices are those of the SDK's annotations, kept in fields.json.

Where it differs from the official plugin, on purpose:
- Types and functions that Keystone does not use are missing.
- An error is one line.
- A name that is taken fails at once if the server says not to try again; there it is tried ten times.
- Waits between attempts are those of the Python client: up to 8 s instead of up to 30 s.
- Deleting what is gone succeeds; there it fails until a refresh.
"""
