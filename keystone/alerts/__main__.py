"""Print the reference page of the alerts: `python -m keystone.alerts > docs/reference/alerts.md`."""

import sys

from keystone.alerts import page

if __name__ == "__main__":
    sys.stdout.write(page())
