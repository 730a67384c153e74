"""Distributions of CloudFront and their access to buckets."""

from __future__ import annotations

import uuid
from typing import Any

from twin.plugins.aws.kinds import Call, Kind
from twin.plugins.aws.values import Props, compact, covers, tag_list, tags_of, whole

NO_DISTRIBUTION = ("NoSuchDistribution",)
NO_CONTROL = ("NoSuchOriginAccessControl",)
ZONE = "Z2FDTNDATAQYW2"
"""The hosted zone of all distributions, for alias records."""
DEPLOY_SECONDS = 1800.0


def _items(values: Any) -> dict[str, Any]:
    """A list as CloudFront has them."""
    values = list(values or [])
    return {"Quantity": len(values), **({"Items": values} if values else {})}


def _list(value: Any) -> list[Any]:
    return list((value or {}).get("Items") or [])


# --- to CloudFront ---


def _behavior(given: Props) -> dict[str, Any]:
    forwarded = given.get("forwardedValues")
    functions = [
        {"FunctionARN": one["functionArn"], "EventType": one["eventType"]}
        for one in given.get("functionAssociations") or []
    ]
    return compact(
        PathPattern=given.get("pathPattern"),
        TargetOriginId=given["targetOriginId"],
        ViewerProtocolPolicy=given["viewerProtocolPolicy"],
        AllowedMethods={**_items(given["allowedMethods"]), "CachedMethods": _items(given["cachedMethods"])},
        Compress=bool(given.get("compress")),
        SmoothStreaming=bool(given.get("smoothStreaming")),
        CachePolicyId=given.get("cachePolicyId") or None,
        OriginRequestPolicyId=given.get("originRequestPolicyId") or None,
        ResponseHeadersPolicyId=given.get("responseHeadersPolicyId") or None,
        FieldLevelEncryptionId=given.get("fieldLevelEncryptionId") or "",
        FunctionAssociations=_items(functions),
        LambdaFunctionAssociations=_items([]),
        TrustedSigners={"Enabled": False, "Quantity": 0},
        TrustedKeyGroups={"Enabled": False, "Quantity": 0},
        **(_forwarded(given, forwarded) if forwarded else {}),
    )


def _forwarded(given: Props, forwarded: Props) -> dict[str, Any]:
    cookies = forwarded["cookies"]
    names = {"WhitelistedNames": _items(cookies["whitelistedNames"])} if cookies.get("whitelistedNames") else {}
    values = {"QueryString": forwarded["queryString"], "Cookies": {"Forward": cookies["forward"], **names}}
    values |= {"Headers": _items(forwarded.get("headers"))}
    ttls = compact(MinTTL=given.get("minTtl") or 0, DefaultTTL=given.get("defaultTtl"), MaxTTL=given.get("maxTtl"))
    return {"ForwardedValues": values, **ttls}


def _origin(given: Props) -> dict[str, Any]:
    custom, bucket = given.get("customOriginConfig"), given.get("s3OriginConfig")
    headers = [{"HeaderName": one["name"], "HeaderValue": one["value"]} for one in given.get("customHeaders") or []]
    found: dict[str, Any] = compact(
        Id=given["originId"],
        DomainName=given["domainName"],
        OriginPath=given.get("originPath") or "",
        OriginAccessControlId=given.get("originAccessControlId") or "",
        ConnectionAttempts=given.get("connectionAttempts"),
        ConnectionTimeout=given.get("connectionTimeout"),
        CustomHeaders=_items(headers),
    )
    if custom:
        found["CustomOriginConfig"] = compact(
            HTTPPort=custom["httpPort"],
            HTTPSPort=custom["httpsPort"],
            OriginProtocolPolicy=custom["originProtocolPolicy"],
            OriginSslProtocols=_items(custom["originSslProtocols"]),
            OriginReadTimeout=custom.get("originReadTimeout"),
            OriginKeepaliveTimeout=custom.get("originKeepaliveTimeout"),
        )
    else:
        found["S3OriginConfig"] = {"OriginAccessIdentity": (bucket or {}).get("originAccessIdentity") or ""}
    return found


def _certificate(given: Props) -> dict[str, Any]:
    if given.get("cloudfrontDefaultCertificate"):
        return {"CloudFrontDefaultCertificate": True, "MinimumProtocolVersion": "TLSv1"}
    return compact(
        CloudFrontDefaultCertificate=False,
        ACMCertificateArn=given.get("acmCertificateArn"),
        IAMCertificateId=given.get("iamCertificateId"),
        SSLSupportMethod=given.get("sslSupportMethod"),
        MinimumProtocolVersion=given.get("minimumProtocolVersion"),
    )


def _error(given: Props) -> dict[str, Any]:
    return compact(
        ErrorCode=given["errorCode"],
        ErrorCachingMinTTL=given.get("errorCachingMinTtl"),
        ResponseCode=str(whole(given["responseCode"])) if given.get("responseCode") else None,
        ResponsePagePath=given.get("responsePagePath"),
    )


def _config(inputs: Props, reference: str) -> dict[str, Any]:
    logging, geo = inputs.get("loggingConfig") or {}, inputs["restrictions"]["geoRestriction"]
    return {
        "CallerReference": reference,
        "Aliases": _items(inputs.get("aliases")),
        "Comment": inputs.get("comment") or "",
        "Enabled": inputs["enabled"],
        "DefaultRootObject": inputs.get("defaultRootObject") or "",
        "HttpVersion": inputs["httpVersion"],
        "IsIPV6Enabled": bool(inputs.get("isIpv6Enabled")),
        "PriceClass": inputs["priceClass"],
        "WebACLId": inputs.get("webAclId") or "",
        "Origins": _items(_origin(one) for one in inputs["origins"]),
        "DefaultCacheBehavior": _behavior(inputs["defaultCacheBehavior"]),
        "CacheBehaviors": _items(_behavior(one) for one in inputs.get("orderedCacheBehaviors") or []),
        "CustomErrorResponses": _items(_error(one) for one in inputs.get("customErrorResponses") or []),
        "Logging": {
            "Enabled": bool(logging.get("bucket")),
            "IncludeCookies": bool(logging.get("includeCookies")),
            "Bucket": logging.get("bucket") or "",
            "Prefix": logging.get("prefix") or "",
        },
        "Restrictions": {"GeoRestriction": {"RestrictionType": geo["restrictionType"], **_items(geo.get("locations"))}},
        "ViewerCertificate": _certificate(inputs["viewerCertificate"]),
    }


# --- from CloudFront ---


def _from_behavior(held: dict[str, Any]) -> Props:
    methods = held.get("AllowedMethods") or {}
    found = compact(
        pathPattern=held.get("PathPattern") or None,
        targetOriginId=held["TargetOriginId"],
        viewerProtocolPolicy=held["ViewerProtocolPolicy"],
        allowedMethods=_list(methods),
        cachedMethods=_list(methods.get("CachedMethods")),
        compress=held.get("Compress"),
        smoothStreaming=held.get("SmoothStreaming"),
        cachePolicyId=held.get("CachePolicyId") or None,
        originRequestPolicyId=held.get("OriginRequestPolicyId") or None,
        responseHeadersPolicyId=held.get("ResponseHeadersPolicyId") or None,
    )
    if "ForwardedValues" in held and not found.get("cachePolicyId"):
        values = held["ForwardedValues"]
        cookies = values.get("Cookies") or {}
        names = _list(cookies.get("WhitelistedNames"))
        found["forwardedValues"] = {
            "queryString": values["QueryString"],
            "headers": _list(values.get("Headers")),
            "cookies": {"forward": cookies.get("Forward"), **({"whitelistedNames": names} if names else {})},
        }
        ttls = {"minTtl": "MinTTL", "defaultTtl": "DefaultTTL", "maxTtl": "MaxTTL"}
        found |= {name: held[api] for name, api in ttls.items() if held.get(api) is not None}
    return found


def _from_origin(held: dict[str, Any]) -> Props:
    custom, bucket = held.get("CustomOriginConfig"), held.get("S3OriginConfig")
    found = compact(
        originId=held["Id"],
        domainName=held["DomainName"],
        originPath=held.get("OriginPath") or None,
        originAccessControlId=held.get("OriginAccessControlId") or None,
        connectionAttempts=held.get("ConnectionAttempts"),
        connectionTimeout=held.get("ConnectionTimeout"),
    )
    if headers := _list(held.get("CustomHeaders")):
        found["customHeaders"] = [{"name": one["HeaderName"], "value": one["HeaderValue"]} for one in headers]
    if custom:
        found["customOriginConfig"] = compact(
            httpPort=custom["HTTPPort"],
            httpsPort=custom["HTTPSPort"],
            originProtocolPolicy=custom["OriginProtocolPolicy"],
            originSslProtocols=_list(custom.get("OriginSslProtocols")),
            originReadTimeout=custom.get("OriginReadTimeout"),
            originKeepaliveTimeout=custom.get("OriginKeepaliveTimeout"),
        )
    elif bucket and bucket.get("OriginAccessIdentity"):
        found["s3OriginConfig"] = {"originAccessIdentity": bucket["OriginAccessIdentity"]}
    return found


def _from_certificate(held: dict[str, Any]) -> Props:
    names = {
        "ACMCertificateArn": "acmCertificateArn",
        "IAMCertificateId": "iamCertificateId",
        "SSLSupportMethod": "sslSupportMethod",
        "MinimumProtocolVersion": "minimumProtocolVersion",
    }
    if held.get("CloudFrontDefaultCertificate") and not held.get("ACMCertificateArn"):
        return {"cloudfrontDefaultCertificate": True}
    return {name: held[api] for api, name in names.items() if held.get(api)}


def _read(call: Call) -> Props | None:
    answer = call.find(NO_DISTRIBUTION, "cloudfront", "get_distribution", Id=call.id)
    if answer is None:
        return None
    one = answer["Distribution"]
    held = one["DistributionConfig"]
    geo = held.get("Restrictions", {}).get("GeoRestriction", {})
    arn = one["ARN"]
    behaviors = [_from_behavior(part) for part in _list(held.get("CacheBehaviors"))]
    return {
        "arn": arn,
        "etag": answer["ETag"],
        "domainName": one["DomainName"],
        "hostedZoneId": ZONE,
        "status": one["Status"],
        "callerReference": held["CallerReference"],
        "aliases": _list(held.get("Aliases")) or None,
        "comment": held.get("Comment") or None,
        "enabled": held["Enabled"],
        "defaultRootObject": held.get("DefaultRootObject") or None,
        "httpVersion": held.get("HttpVersion"),
        "isIpv6Enabled": held.get("IsIPV6Enabled"),
        "priceClass": held.get("PriceClass"),
        "webAclId": held.get("WebACLId") or None,
        "origins": [_from_origin(part) for part in _list(held["Origins"])],
        "defaultCacheBehavior": _from_behavior(held["DefaultCacheBehavior"]),
        "orderedCacheBehaviors": behaviors or None,
        "restrictions": {
            "geoRestriction": {"restrictionType": geo.get("RestrictionType", "none"), "locations": _list(geo)}
        },
        "viewerCertificate": _from_certificate(held.get("ViewerCertificate") or {}),
        "tagsAll": tags_of(call("cloudfront", "list_tags_for_resource", Resource=arn)["Tags"].get("Items")),
    }


def _create(call: Call) -> str:
    config = _config(call.inputs, f"pulumi-{uuid.uuid4()}")
    both = {"DistributionConfig": config, "Tags": {"Items": tag_list(call.tags)}}
    return call("cloudfront", "create_distribution_with_tags", DistributionConfigWithTags=both)["Distribution"]["Id"]


def _update(call: Call) -> None:
    if call.state:
        answer = call("cloudfront", "get_distribution_config", Id=call.id)
        config = {
            **answer["DistributionConfig"],
            **_config(call.inputs, answer["DistributionConfig"]["CallerReference"]),
        }
        call("cloudfront", "update_distribution", Id=call.id, IfMatch=answer["ETag"], DistributionConfig=config)
        _retag(call)
    if call.inputs.get("waitForDeployment") is not False:
        _deployed(call)


def _retag(call: Call) -> None:
    arn, have = call.state["arn"], call.state.get("tagsAll") or {}
    if gone := sorted(set(have) - set(call.tags)):
        call("cloudfront", "untag_resource", Resource=arn, TagKeys={"Items": gone})
    if have != call.tags and call.tags:
        call("cloudfront", "tag_resource", Resource=arn, Tags={"Items": tag_list(call.tags)})


def _deployed(call: Call) -> None:
    def done() -> bool:
        return call("cloudfront", "get_distribution", Id=call.id)["Distribution"]["Status"] == "Deployed"

    call.wait(f"distribution {call.id} is deployed", done, DEPLOY_SECONDS)


def _delete(call: Call) -> None:
    answer = call.find(NO_DISTRIBUTION, "cloudfront", "get_distribution_config", Id=call.id)
    if answer is None:
        return
    config, tag = answer["DistributionConfig"], answer["ETag"]
    if config["Enabled"]:
        # CloudFront deletes only what is switched off everywhere.
        off = {**config, "Enabled": False}
        tag = call("cloudfront", "update_distribution", Id=call.id, IfMatch=tag, DistributionConfig=off)["ETag"]
        if call.state.get("retainOnDelete"):
            return
        _deployed(call)
    call("cloudfront", "delete_distribution", Id=call.id, IfMatch=tag)


def _same(name: str, have: Any, want: Any) -> bool:
    """moto keeps no error pages and no geography: of these nothing is known."""
    if name == "customErrorResponses":
        return True
    return (
        name == "restrictions" and covers(have, {"geoRestriction": {"restrictionType": "none"}}) and covers(want, have)
    )


def _reference(inputs: Any) -> list[tuple[str, str]]:
    certificate = inputs.get("viewerCertificate")
    kinds = ("acmCertificateArn", "cloudfrontDefaultCertificate", "iamCertificateId")
    if isinstance(certificate, dict) and not any(certificate.get(name) for name in kinds):
        return [("viewerCertificate", f"one of {', '.join(kinds)} is needed")]
    return []


# --- origin access control ---


def _control(inputs: Props) -> dict[str, Any]:
    return {
        "Name": inputs["name"],
        "Description": inputs.get("description") or "",
        "SigningProtocol": inputs["signingProtocol"],
        "SigningBehavior": inputs["signingBehavior"],
        "OriginAccessControlOriginType": inputs["originAccessControlOriginType"],
    }


def _create_control(call: Call) -> str:
    answer = call("cloudfront", "create_origin_access_control", OriginAccessControlConfig=_control(call.inputs))
    return answer["OriginAccessControl"]["Id"]


def _update_control(call: Call) -> None:
    if call.state:
        tag = call("cloudfront", "get_origin_access_control", Id=call.id)["ETag"]
        config = _control(call.inputs)
        call("cloudfront", "update_origin_access_control", Id=call.id, IfMatch=tag, OriginAccessControlConfig=config)


def _read_control(call: Call) -> Props | None:
    answer = call.find(NO_CONTROL, "cloudfront", "get_origin_access_control", Id=call.id)
    if answer is None:
        return None
    held = answer["OriginAccessControl"]["OriginAccessControlConfig"]
    return {
        "arn": call.arn("cloudfront", f"origin-access-control/{call.id}", region=False),
        "etag": answer["ETag"],
        "name": held["Name"],
        "description": held.get("Description") or None,
        "signingProtocol": held["SigningProtocol"],
        "signingBehavior": held["SigningBehavior"],
        "originAccessControlOriginType": held["OriginAccessControlOriginType"],
    }


def _delete_control(call: Call) -> None:
    answer = call.find(NO_CONTROL, "cloudfront", "get_origin_access_control", Id=call.id)
    if answer is not None:
        call("cloudfront", "delete_origin_access_control", Id=call.id, IfMatch=answer["ETag"])


ROWS = (
    Kind(
        token="aws:cloudfront/distribution:Distribution",
        create=_create,
        read=_read,
        update=_update,
        delete=_delete,
        fixed=frozenset({"staging"}),
        defaults={
            "httpVersion": "http2",
            "priceClass": "PriceClass_All",
            "retainOnDelete": False,
            "waitForDeployment": True,
        },
        here_only=frozenset({"retainOnDelete", "waitForDeployment"}),
        moving=frozenset({"etag", "status"}),
        check=_reference,
        same=_same,
    ),
    Kind(
        token="aws:cloudfront/originAccessControl:OriginAccessControl",
        create=_create_control,
        read=_read_control,
        update=_update_control,
        delete=_delete_control,
        named="name",
        prefix="",
        moving=frozenset({"etag"}),
    ),
)
