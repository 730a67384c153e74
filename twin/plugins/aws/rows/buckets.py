"""Buckets of S3, and what belongs to a bucket as a resource of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twin.plugins.aws.client import AwsError
from twin.plugins.aws.kinds import Call, Kind
from twin.plugins.aws.values import Props, compact, covers, pascal, tag_list, tags_of, whole

GONE = ("NoSuchBucket", "404")
NO_REGION = "us-east-1"
"""The one region that CreateBucket must not be told."""
PAGE = 1000
API_NAMES = {"id": "ID", "sseAlgorithm": "SSEAlgorithm", "kmsMasterKeyId": "KMSMasterKeyID"}
BACK = {"SSEAlgorithm": "sseAlgorithm", "KMSMasterKeyID": "kmsMasterKeyId"}


def _create(call: Call) -> str:
    name = call.inputs["bucket"]
    # In one region S3 says yes to a name that is ours already, as if it had made the bucket.
    if call.find(GONE, "s3", "head_bucket", Bucket=name) is not None:
        raise AwsError(f"operation error S3: CreateBucket, BucketAlreadyOwnedByYou: {name}", "BucketAlreadyOwnedByYou")
    where = {} if call.region == NO_REGION else {"CreateBucketConfiguration": {"LocationConstraint": call.region}}
    locked = compact(ObjectLockEnabledForBucket=call.inputs.get("objectLockEnabled"))
    call("s3", "create_bucket", Bucket=name, **where, **locked)
    return name


def _update(call: Call) -> None:
    if call.tags:
        call("s3", "put_bucket_tagging", Bucket=call.id, Tagging={"TagSet": tag_list(call.tags)})
    elif call.state.get("tagsAll"):
        call("s3", "delete_bucket_tagging", Bucket=call.id)


def _read(call: Call) -> Props | None:
    answer = call.find(GONE, "s3", "head_bucket", Bucket=call.id)
    if answer is None:
        return None
    region = call("s3", "get_bucket_location", Bucket=call.id).get("LocationConstraint") or NO_REGION
    tagging = call.find(("NoSuchTagSet",), "s3", "get_bucket_tagging", Bucket=call.id)
    missing = ("ObjectLockConfigurationNotFoundError", "404")
    lock = call.find(missing, "s3", "get_object_lock_configuration", Bucket=call.id)
    return {
        "bucket": call.id,
        "arn": call.arn("s3", call.id, region=False, account=False),
        "region": region,
        "bucketRegion": region,
        "bucketDomainName": f"{call.id}.s3.amazonaws.com",
        "bucketRegionalDomainName": f"{call.id}.s3.{region}.amazonaws.com",
        "objectLockEnabled": bool(lock),
        "tagsAll": tags_of((tagging or {}).get("TagSet")),
    }


def _empty(call: Call) -> None:
    """Delete every version of every object, also those that a governance lock holds, as forceDestroy promises."""
    s3 = call.aws.client("s3", call.region)
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=call.id):
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        keys = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
        for start in range(0, len(keys), PAGE):
            some = {"Objects": keys[start : start + PAGE], "Quiet": True}
            call("s3", "delete_objects", Bucket=call.id, Delete=some, BypassGovernanceRetention=True)


def _delete(call: Call) -> None:
    if call.find(GONE, "s3", "head_bucket", Bucket=call.id) is None:
        return
    if call.state.get("forceDestroy"):
        _empty(call)
    call("s3", "delete_bucket", Bucket=call.id)


# --- the parts of a bucket: put, get, delete ---


def _part(
    token: str,
    what: str,
    absent: tuple[str, ...],
    to_api: Any,
    from_api: Any,
    *,
    delete: str | None = "",
    fixed: frozenset[str] = frozenset(),
    **more: Any,
) -> Kind:
    """A row for a part of a bucket.

    `to_api` gives a request's parameters from the inputs, `from_api` the properties from an answer (None: there is
    nothing). `delete` is the request that deletes it, None when there is none.
    """

    def put(call: Call) -> str:
        call("s3", f"put_{what}", Bucket=call.inputs["bucket"], **to_api(call.inputs))
        return call.inputs["bucket"]

    def update(call: Call) -> None:
        if call.state:
            put(call)

    def read(call: Call) -> Props | None:
        answer = call.find((*absent, *GONE), "s3", f"get_{what}", Bucket=call.id)
        found = None if answer is None else from_api(answer)
        return None if found is None else {"bucket": call.id, **found}

    def remove(call: Call) -> None:
        if delete is not None and not call.state.get("skipDestroy"):
            call.find((*absent, *GONE), "s3", delete or f"delete_{what}", Bucket=call.id)

    fixed = fixed | {"bucket", "expectedBucketOwner"}
    return Kind(token=token, create=put, read=read, update=update, delete=remove, fixed=fixed, **more)


BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")


def _blocks(inputs: Props) -> Props:
    return {
        "PublicAccessBlockConfiguration": {pascal({name: 0}).popitem()[0]: bool(inputs.get(name)) for name in BLOCKS}
    }


def _from_blocks(answer: Props) -> Props:
    found = answer["PublicAccessBlockConfiguration"]
    return {name: found.get(name[0].upper() + name[1:], False) for name in BLOCKS}


def _versioning(inputs: Props) -> Props:
    given = inputs["versioningConfiguration"]
    # A bucket that never had versions has no status at all.
    status = {} if given["status"] == "Disabled" else {"Status": given["status"]}
    return {"VersioningConfiguration": {**status, **compact(MFADelete=given.get("mfaDelete"))}}


def _from_versioning(answer: Props) -> Props | None:
    found = compact(status=answer.get("Status") or "Disabled", mfaDelete=answer.get("MFADelete"))
    return {"versioningConfiguration": found}


def _encryption(inputs: Props) -> Props:
    return {"ServerSideEncryptionConfiguration": {"Rules": pascal(inputs["rules"], API_NAMES)}}


def _from_encryption(answer: Props) -> Props:
    found = []
    for rule in answer["ServerSideEncryptionConfiguration"]["Rules"]:
        default = rule.get("ApplyServerSideEncryptionByDefault", {})
        found.append(
            {
                "applyServerSideEncryptionByDefault": {BACK[key]: item for key, item in default.items() if item},
                "bucketKeyEnabled": bool(rule.get("BucketKeyEnabled")),
            }
        )
    return {"rules": found}


def _lock(inputs: Props) -> Props:
    rule = {"Rule": pascal(inputs["rule"])} if inputs.get("rule") else {}
    return {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled", **rule}, **compact(Token=inputs.get("token"))}


def _from_lock(answer: Props) -> Props:
    found = answer["ObjectLockConfiguration"]
    kept = found.get("Rule", {}).get("DefaultRetention", {})
    # moto tells zero years of a retention in days, and the other way round.
    retention = compact(mode=kept.get("Mode"), days=kept.get("Days") or None, years=kept.get("Years") or None)
    rule = {"rule": {"defaultRetention": retention}} if retention else {"rule": None}
    return {"objectLockEnabled": found.get("ObjectLockEnabled", "Enabled"), **rule}


def _ownership(inputs: Props) -> Props:
    return {"OwnershipControls": {"Rules": [{"ObjectOwnership": inputs["rule"]["objectOwnership"]}]}}


def _from_ownership(answer: Props) -> Props:
    return {"rule": {"objectOwnership": answer["OwnershipControls"]["Rules"][0]["ObjectOwnership"]}}


# --- lifecycle ---

RENAMED = {"id": "ID", "noncurrentVersionTransitions": "NoncurrentVersionTransitions"}


def _lifecycle(inputs: Props) -> Props:
    rules = []
    for given in inputs["rules"]:
        rule = pascal({name: item for name, item in given.items() if name != "filter"}, RENAMED)
        rule["Filter"] = _filter(given.get("filter") or {})
        if "prefix" in given and "filter" not in given:
            del rule["Filter"]
        rules.append(rule)
    size = {"TransitionDefaultMinimumObjectSize": inputs.get("transitionDefaultMinimumObjectSize")}
    return {"LifecycleConfiguration": {"Rules": rules}, **compact(**size)}


def _filter(given: Mapping[str, Any]) -> Props:
    both = given.get("and")
    found = pascal({name: item for name, item in given.items() if name != "and"})
    if both:
        found["And"] = pascal({name: item for name, item in both.items() if name != "tags"})
        if both.get("tags"):
            found["And"]["Tags"] = tag_list(both["tags"])
    return found or {"Prefix": ""}


def _from_lifecycle(answer: Props) -> Props | None:
    rules = []
    for one in answer.get("Rules", []):
        rule: Props = {"id": one.get("ID"), "status": one["Status"], "prefix": one.get("Prefix")}
        for api, name in (("Expiration", "expiration"), ("NoncurrentVersionExpiration", "noncurrentVersionExpiration")):
            if one.get(api):
                rule[name] = {key[0].lower() + key[1:]: _date(item) for key, item in one[api].items()}
        if one.get("AbortIncompleteMultipartUpload"):
            days = one["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
            rule["abortIncompleteMultipartUpload"] = {"daysAfterInitiation": days}
        for api in ("Transitions", "NoncurrentVersionTransitions"):
            if one.get(api):
                name = api[0].lower() + api[1:]
                rule[name] = [
                    {key[0].lower() + key[1:]: _date(item) for key, item in part.items()} for part in one[api]
                ]
        rule["filter"] = _from_filter(one.get("Filter") or {})
        rules.append({name: item for name, item in rule.items() if item is not None})
    return {"rules": rules} if rules else None


def _from_filter(found: Mapping[str, Any]) -> Props:
    result: Props = {}
    for api, item in found.items():
        if api == "And":
            both = {key[0].lower() + key[1:]: part for key, part in item.items() if key != "Tags"}
            result["and"] = {**both, **({"tags": tags_of(item["Tags"])} if item.get("Tags") else {})}
        elif api == "Tag":
            result["tag"] = {"key": item["Key"], "value": item["Value"]}
        else:
            result[api[0].lower() + api[1:]] = item
    return result


def _date(item: Any) -> Any:
    return item.isoformat().replace("+00:00", "Z") if hasattr(item, "isoformat") else whole(item)


UNKNOWN_TO_MOTO = ("newerNoncurrentVersions", "objectSizeGreaterThan", "objectSizeLessThan")


def _same_lifecycle(name: str, have: Any, want: Any) -> bool:
    """moto drops three settings of a rule: of these nothing is known, so they never differ."""
    return name == "rules" and covers(have, _without(want))


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(item) for key, item in value.items() if key not in UNKNOWN_TO_MOTO}
    return [_without(item) for item in value] if isinstance(value, list) else value


ROWS = (
    Kind(
        token="aws:s3/bucket:Bucket",
        create=_create,
        read=_read,
        update=_update,
        delete=_delete,
        fixed=frozenset({"bucket", "bucketPrefix", "objectLockEnabled", "bucketNamespace"}),
        named="bucket",
        prefix="bucketPrefix",
        longest=63,
        lower=True,
        defaults={"forceDestroy": False},
        here_only=frozenset({"forceDestroy"}),
    ),
    _part(
        "aws:s3/bucketPolicy:BucketPolicy",
        "bucket_policy",
        ("NoSuchBucketPolicy",),
        lambda inputs: {"Policy": inputs["policy"]},
        lambda answer: {"policy": answer["Policy"]},
    ),
    _part(
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "public_access_block",
        ("NoSuchPublicAccessBlockConfiguration",),
        _blocks,
        _from_blocks,
        defaults=dict.fromkeys(BLOCKS, False),
        here_only=frozenset({"skipDestroy"}),
    ),
    _part(
        "aws:s3/bucketVersioning:BucketVersioning", "bucket_versioning", (), _versioning, _from_versioning, delete=None
    ),
    _part(
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        "bucket_encryption",
        ("ServerSideEncryptionConfigurationNotFoundError",),
        _encryption,
        _from_encryption,
    ),
    _part(
        "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration",
        "object_lock_configuration",
        ("ObjectLockConfigurationNotFoundError",),
        _lock,
        _from_lock,
        delete=None,
        fixed=frozenset({"objectLockEnabled"}),
        defaults={"objectLockEnabled": "Enabled"},
        here_only=frozenset({"token"}),
    ),
    _part(
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        "bucket_ownership_controls",
        ("OwnershipControlsNotFoundError",),
        _ownership,
        _from_ownership,
    ),
    _part(
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "bucket_lifecycle_configuration",
        ("NoSuchLifecycleConfiguration",),
        _lifecycle,
        _from_lifecycle,
        delete="delete_bucket_lifecycle",
        same=_same_lifecycle,
        here_only=frozenset({"timeouts"}),
    ),
)
