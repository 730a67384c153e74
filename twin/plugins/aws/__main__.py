"""The plugin's process. The launcher runs this file by its path, isolated from the caller's Python settings."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from twin.plugins.aws.provider import AwsProvider
from twin.plugins.base import serve

if __name__ == "__main__":
    # The official plugin takes an empty variable for none; the Python client takes it for a name.
    for name in [name for name, value in os.environ.items() if name.startswith("AWS_") and not value]:
        del os.environ[name]
    serve(AwsProvider(dict(os.environ)), sys.argv[1:])
