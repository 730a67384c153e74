"""Objects in buckets of S3."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from twin.plugins import wire
from twin.plugins.aws.kinds import Call, Kind
from twin.plugins.aws.values import Props, compact, tag_list, tags_of
from twin.plugins.base import ProviderError

GONE = ("NoSuchBucket", "NoSuchKey", "404")
HEADERS = {
    "cacheControl": "CacheControl",
    "contentDisposition": "ContentDisposition",
    "contentEncoding": "ContentEncoding",
    "contentLanguage": "ContentLanguage",
    "contentType": "ContentType",
}
TYPE = "application/octet-stream"
CONTENT = ("content", "contentBase64", "source")


def _content(inputs: Props) -> bytes:
    """What the object shall hold."""
    if (text := inputs.get("content")) is not None:
        return text.encode()
    if (text := inputs.get("contentBase64")) is not None:
        return base64.b64decode(text)
    source: Any = inputs.get("source")
    if isinstance(source, str):
        return Path(source).read_bytes()
    if wire.signature(source) == wire.ASSET:
        if "text" in source:
            return source["text"].encode()
        if "path" in source:
            return Path(source["path"]).read_bytes()
    if source is None:
        return b""
    raise ProviderError("source: the twin takes files and strings, no archives and no addresses")


def _put(call: Call) -> str:
    inputs, bucket, key = call.inputs, call.inputs["bucket"], call.inputs["key"]
    given: dict[str, Any] = {api: inputs[name] for name, api in HEADERS.items() if inputs.get(name)}
    given |= compact(
        ServerSideEncryption=inputs.get("serverSideEncryption") or ("aws:kms" if inputs.get("kmsKeyId") else None),
        SSEKMSKeyId=inputs.get("kmsKeyId"),
        BucketKeyEnabled=inputs.get("bucketKeyEnabled"),
        StorageClass=inputs.get("storageClass"),
        ACL=inputs.get("acl"),
        WebsiteRedirectLocation=inputs.get("websiteRedirect"),
        Metadata=inputs.get("metadata"),
    )
    call("s3", "put_object", Bucket=bucket, Key=key, Body=_content(inputs), **{"ContentType": TYPE, **given})
    if call.tags:
        call("s3", "put_object_tagging", Bucket=bucket, Key=key, Tagging={"TagSet": tag_list(call.tags)})
    return key


def _update(call: Call) -> None:
    if call.state:
        _put(call)


def _place(call: Call) -> tuple[str, str]:
    """Bucket and key; an import gives both in one, with or without `s3://`."""
    if call.get("bucket"):
        return call.get("bucket"), call.get("key") or call.id
    bucket, _, key = call.id.removeprefix("s3://").partition("/")
    return bucket, key


def _read(call: Call) -> Props | None:
    bucket, key = _place(call)
    answer = call.find(GONE, "s3", "get_object", Bucket=bucket, Key=key)
    if answer is None:
        return None
    body = answer["Body"].read()
    tagging = call.find(GONE, "s3", "get_object_tagging", Bucket=bucket, Key=key) or {}
    found: Props = {
        "__id": key,
        "bucket": bucket,
        "key": key,
        "arn": call.arn("s3", f"{bucket}/{key}", region=False, account=False),
        "etag": answer["ETag"].strip('"'),
        "versionId": answer.get("VersionId"),
        "storageClass": answer.get("StorageClass") or "STANDARD",
        "serverSideEncryption": answer.get("ServerSideEncryption"),
        "kmsKeyId": answer.get("SSEKMSKeyId"),
        "metadata": answer.get("Metadata") or {},
        "tagsAll": tags_of(tagging.get("TagSet")),
        **{name: answer.get(api) for name, api in HEADERS.items()},
    }
    wanted = call.get("content"), call.get("contentBase64")
    if wanted[0] is not None:
        found["content"] = body.decode(errors="replace")
    elif wanted[1] is not None:
        found["contentBase64"] = base64.b64encode(body).decode()
    elif (source := call.get("source")) is not None and _digest(source) != hashlib.sha256(body).hexdigest():
        found["source"] = None
    return found


def _digest(source: Any) -> str:
    try:
        return hashlib.sha256(_content({"source": source})).hexdigest()
    except OSError:
        # The file may be gone from this computer; the object is not thereby another one.
        return source.get("hash", "") if isinstance(source, dict) else ""


def _delete(call: Call) -> None:
    bucket, key = _place(call)
    if call.find(GONE, "s3", "head_bucket", Bucket=bucket) is None:
        return
    s3 = call.aws.client("s3", call.region)
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key):
        for one in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            if one["Key"] == key:
                force = {"BypassGovernanceRetention": True} if call.state.get("forceDestroy") else {}
                call("s3", "delete_object", Bucket=bucket, Key=key, VersionId=one["VersionId"], **force)


def _check(inputs: Any) -> list[tuple[str, str]]:
    given = [name for name in CONTENT if inputs.get(name) is not None]
    return [("content", f"only one of {', '.join(CONTENT)} may be given, not {', '.join(given)}")] if given[1:] else []


ROWS = (
    Kind(
        token="aws:s3/bucketObjectv2:BucketObjectv2",
        create=_put,
        read=_read,
        update=_update,
        delete=_delete,
        fixed=frozenset({"bucket", "key"}),
        named="key",
        prefix="",
        longest=1024,
        defaults={"forceDestroy": False},
        here_only=frozenset({"forceDestroy", "etag", "sourceHash", "overrideProvider", "checksumAlgorithm"}),
        moving=frozenset({"versionId", "etag"}),
        check=_check,
    ),
)
