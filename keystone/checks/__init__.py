"""Static checks of a stack: combinations of network settings, owners of Kubernetes objects, secrets that leaked.

Each check returns findings and changes nothing. `keystone check` runs one alone,
`keystone up` runs them around an update.
"""

from keystone.checks.findings import ChecksFailed, Finding, require

__all__ = ["ChecksFailed", "Finding", "require"]
