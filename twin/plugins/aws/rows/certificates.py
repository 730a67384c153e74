"""Certificates of ACM, the wait for one, and records of Route 53."""

from __future__ import annotations

from typing import Any

from twin.plugins.aws.kinds import Call, Kind
from twin.plugins.aws.values import Props, compact, tag_list, tags_of
from twin.plugins.base import ProviderError

GONE = ("ResourceNotFoundException",)
NO_ZONE = ("NoSuchHostedZone",)
ISSUE_SECONDS = 4500.0
OPTIONS_SECONDS = 60.0


def _create(call: Call) -> str:
    others = [name for name in call.inputs.get("subjectAlternativeNames") or [] if name != call.inputs["domainName"]]
    options = call.inputs.get("options") or {}
    logged = {
        "CertificateTransparencyLoggingPreference": options.get("certificateTransparencyLoggingPreference", "ENABLED")
    }
    given = compact(
        DomainName=call.inputs["domainName"],
        ValidationMethod=call.inputs.get("validationMethod"),
        SubjectAlternativeNames=others or None,
        KeyAlgorithm=call.inputs.get("keyAlgorithm"),
        Options=logged if options else None,
        Tags=tag_list(call.tags) if call.tags else None,
    )
    return call("acm", "request_certificate", **given)["CertificateArn"]


def _update(call: Call) -> None:
    if not call.state:
        # ACM makes the validation records a moment after the request.
        def has_records() -> bool:
            return all("ResourceRecord" in one for one in _options(call))

        if call.inputs.get("validationMethod") == "DNS":
            call.wait(f"certificate {call.id} has its validation records", has_records, OPTIONS_SECONDS)
        return
    have = call.state.get("tagsAll") or {}
    if gone := sorted(set(have) - set(call.tags)):
        call("acm", "remove_tags_from_certificate", CertificateArn=call.id, Tags=[{"Key": name} for name in gone])
    if have != call.tags and call.tags:
        call("acm", "add_tags_to_certificate", CertificateArn=call.id, Tags=tag_list(call.tags))


def _options(call: Call) -> list[dict[str, Any]]:
    return (
        call("acm", "describe_certificate", CertificateArn=call.id)["Certificate"].get("DomainValidationOptions") or []
    )


def _read(call: Call) -> Props | None:
    answer = call.find(GONE, "acm", "describe_certificate", CertificateArn=call.id)
    if answer is None:
        return None
    held = answer["Certificate"]
    options = [one for one in held.get("DomainValidationOptions") or [] if "ResourceRecord" in one]
    names = held.get("SubjectAlternativeNames") or []
    return {
        "arn": call.id,
        "domainName": held["DomainName"],
        "subjectAlternativeNames": sorted({*names, held["DomainName"]}),
        "status": held["Status"],
        "type": held.get("Type"),
        "keyAlgorithm": held.get("KeyAlgorithm"),
        "validationMethod": next((one.get("ValidationMethod") for one in options), call.get("validationMethod")),
        "domainValidationOptions": [
            {
                "domainName": one["DomainName"],
                "resourceRecordName": one["ResourceRecord"]["Name"],
                "resourceRecordType": one["ResourceRecord"]["Type"],
                "resourceRecordValue": one["ResourceRecord"]["Value"],
            }
            for one in options
        ],
        "notAfter": _date(held.get("NotAfter")),
        "notBefore": _date(held.get("NotBefore")),
        "tagsAll": tags_of(call("acm", "list_tags_for_certificate", CertificateArn=call.id)["Tags"]),
    }


def _date(moment: Any) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None


def _delete(call: Call) -> None:
    call.find(GONE, "acm", "delete_certificate", CertificateArn=call.id)


def _same_names(name: str, have: Any, want: Any) -> bool:
    # ACM counts the first name among the alternatives; the program need not.
    return name == "subjectAlternativeNames" and set(want) <= set(have) and len(have) - len(set(want)) <= 1


def _check(inputs: Any) -> list[tuple[str, str]]:
    if inputs.get("privateKey") or inputs.get("privateKeyWo") or inputs.get("certificateAuthorityArn"):
        return [("privateKey", "the twin's ACM takes requests for certificates only, no imported ones")]
    return [] if inputs.get("domainName") else [("domainName", "Missing required property 'domainName'")]


# --- the wait ---


def _validate(call: Call) -> str:
    arn = call.inputs["certificateArn"]
    seen = ["nothing"]

    def issued() -> str | None:
        held = call("acm", "describe_certificate", CertificateArn=arn)["Certificate"]
        seen[0] = held["Status"]
        if seen[0] in ("FAILED", "REVOKED", "VALIDATION_TIMED_OUT"):
            raise ProviderError(f"certificate {arn} is {seen[0]}: {held.get('FailureReason', 'no reason given')}")
        if seen[0] == "ISSUED":
            return held["IssuedAt"].isoformat() if held.get("IssuedAt") else "issued"
        return None

    try:
        return str(call.wait(f"certificate {arn} is issued", issued, ISSUE_SECONDS))
    except ProviderError as error:
        if seen[0] == "PENDING_VALIDATION":
            raise ProviderError(f"{error} (last: {seen[0]}). Are its validation records in the DNS zone?") from None
        raise


def _read_validation(call: Call) -> Props | None:
    arn = call.get("certificateArn")
    answer = call.find(GONE, "acm", "describe_certificate", CertificateArn=arn) if arn else None
    if answer is None or answer["Certificate"]["Status"] != "ISSUED":
        return None
    return {"certificateArn": arn}


def _nothing(call: Call) -> None:
    del call


# --- records ---


def _record(props: Props) -> dict[str, Any]:
    name = props["name"].rstrip(".") + "."
    return compact(
        Name=name,
        Type=props["type"],
        TTL=props.get("ttl"),
        ResourceRecords=[{"Value": value} for value in props["records"]] if props.get("records") else None,
        AliasTarget={
            "HostedZoneId": props["aliases"][0]["zoneId"],
            "DNSName": props["aliases"][0]["name"],
            "EvaluateTargetHealth": props["aliases"][0]["evaluateTargetHealth"],
        }
        if props.get("aliases")
        else None,
        SetIdentifier=props.get("setIdentifier"),
    )


def _change(call: Call, action: str, props: Props) -> None:
    change = {"Action": action, "ResourceRecordSet": _record(props)}
    batch = {"Changes": [change]}
    call("route53", "change_resource_record_sets", HostedZoneId=props["zoneId"], ChangeBatch=batch)


def _create_record(call: Call) -> str:
    action = "UPSERT" if call.inputs.get("allowOverwrite") else "CREATE"
    _change(call, action, call.inputs)
    return f"{call.inputs['zoneId']}_{call.inputs['name'].rstrip('.')}_{call.inputs['type']}"


def _update_record(call: Call) -> None:
    if call.state:
        _change(call, "UPSERT", call.inputs)


def _place(call: Call) -> tuple[str, str, str]:
    if call.get("zoneId"):
        return call.get("zoneId"), call.get("name").rstrip("."), call.get("type")
    zone, _, rest = call.id.partition("_")
    name, _, kind = rest.rpartition("_")
    return zone, name, kind


def _read_record(call: Call) -> Props | None:
    zone, name, kind = _place(call)
    first = {"StartRecordName": name, "StartRecordType": kind, "MaxItems": "1"}
    answer = call.find(NO_ZONE, "route53", "list_resource_record_sets", HostedZoneId=zone, **first)
    for one in (answer or {}).get("ResourceRecordSets", []):
        if one["Name"].rstrip(".") == name.lower() and one["Type"] == kind:
            alias = one.get("AliasTarget")
            target = alias and {
                "zoneId": alias["HostedZoneId"],
                "name": alias["DNSName"].rstrip("."),
                "evaluateTargetHealth": alias["EvaluateTargetHealth"],
            }
            return {
                "zoneId": zone,
                "name": name,
                "fqdn": name,
                "type": kind,
                "ttl": one.get("TTL"),
                "records": [value["Value"] for value in one.get("ResourceRecords", [])] or None,
                "aliases": [target] if target else None,
            }
    return None


def _delete_record(call: Call) -> None:
    if _read_record(call) is not None:
        _change(call, "DELETE", call.state)


def _same_record(name: str, have: Any, want: Any) -> bool:
    if name == "name":
        return str(have).rstrip(".").lower() == str(want).rstrip(".").lower()
    return False


ROWS = (
    Kind(
        token="aws:acm/certificate:Certificate",
        create=_create,
        read=_read,
        update=_update,
        delete=_delete,
        fixed=frozenset({"domainName", "subjectAlternativeNames", "validationMethod", "keyAlgorithm", "options"}),
        here_only=frozenset({"earlyRenewalDuration", "validationOptions"}),
        check=_check,
        same=_same_names,
    ),
    Kind(
        token="aws:acm/certificateValidation:CertificateValidation",
        create=_validate,
        read=_read_validation,
        delete=_nothing,
        fixed=None,
    ),
    Kind(
        token="aws:route53/record:Record",
        create=_create_record,
        read=_read_record,
        update=_update_record,
        delete=_delete_record,
        fixed=frozenset({"zoneId", "name", "type", "setIdentifier"}),
        here_only=frozenset({"allowOverwrite"}),
        same=_same_record,
    ),
)
