"""A stand-in for the aws provider 7.51.1: the resources and functions that Keystone uses, over boto3.

One row per type (rows/) says how it is made, read, changed and deleted, what replaces it and what is secret. Required
inputs, types and choices are those of the SDK's annotations, kept in fields.json.

Where it differs from the official plugin, on purpose:
- Types and functions that Keystone does not use are missing; so are inputs that no row sends (an import shows them).
- An error is one line.
- Names that AWS would give to anybody who asks twice (buckets in us-east-1, queues, rules) are looked up first.
- Deleting what is gone succeeds. An object that could not be finished is deleted again.

What moto 5.2.5 does not do as AWS does, and what is done about it here (twin/clouds/aws/mends.py mends more, in moto):

| moto | here |
| --- | --- |
| drops three settings of lifecycle rules (NewerNoncurrentVersions, ObjectSizeGreaterThan/LessThan) | no difference |
| keeps no error pages and no geography of a distribution | never a difference |
| tells a year as the rotation period of every key | a period is taken from the program |
| tells `Years: 0` beside a retention in days | left out |
| drops a group's warm-up, life time and rebalancing | read only where told |
| tells a launch template's tags as they were at first | asked for by DescribeTags |
| cannot change a file system's throughput | refused in one line |
| issues every certificate by itself | CertificateValidation waits for nothing else |
| knows no AWS-managed policies | name your own |
| checks no rights, no quotas and no trust | twin/clouds/aws checks trust, and rights on parameters |
"""
