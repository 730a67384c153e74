"""The twin's AWS: moto behind a front that checks what moto takes on trust.

moto (https://docs.getmoto.org) keeps the objects and answers the calls. The front, one process with it, adds:
- credentials: an unknown access key is refused, and so is a session that has expired;
- web identity (sts.py): a token must verify against the keys that the issuer publishes through the stack's own
  distribution and bucket, and the role's trust policy must name it;
- rights (access.py): a session of a role reads and writes only the SSM parameters that its policies allow, and not
  beyond its boundary; other services ask nobody;
- instances: what the metadata service of EC2 would tell a machine, for the twin's machines;
- errors as AWS words them where moto has none, faults on order of tests, objects that outlive a restart (memory.py).

Below `/_twin/` it takes orders. mends.py corrects moto itself.
"""

ACCESS_KEY = "AKIAKEYSTONETWIN0001"
SECRET_KEY = "keystone-twin-aws-secret-published"
"""The credentials of a twin's deployer, published like the passphrase of twin stacks: they guard nothing."""
CONTROL = "/_twin"
