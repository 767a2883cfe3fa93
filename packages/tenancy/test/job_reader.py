"""A second reader of the job envelope v1 (docs/formats/job-envelope-v1.md), independent of the package.

usage: python3 job_reader.py vectors/job-envelope-v1.json
Verifies every vector and each intermediate value, and must refuse every job listed as refused.
"""
import hashlib
import hmac
import json
import re
import struct
import sys

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
FIELDS = [
    ("keyId", "[a-z0-9_]{1,32}"),
    ("org", UUID),
    ("queue", "[A-Za-z0-9._:/-]{1,128}"),
    ("jobId", UUID),
    ("issued", "[1-9][0-9]{0,14}"),
    ("expires", "[1-9][0-9]{0,14}"),
    ("kind", "[a-z][a-z0-9_]{0,31}"),
    ("actor", "[A-Za-z0-9._:@/+=-]{1,200}"),
    ("requestId", "[A-Za-z0-9._:@/+=-]{0,200}"),
]


class Refused(Exception):
    pass


def prefixed(part):
    return struct.pack(">H", len(part)) + part


def read(envelope, payload, keys):
    body = payload.encode("utf-8")
    if len(body) > 262144:
        raise Refused("tenancy.job_payload_too_large")
    head, *fields = envelope.split("|")
    if head != "rfjob1":
        known = fields and re.fullmatch("rfjob[0-9]+", head)
        raise Refused("tenancy.job_unsupported_version" if known else "tenancy.job_malformed")
    mac = fields.pop() if fields else ""
    if len(fields) != len(FIELDS) or not re.fullmatch("[0-9a-f]{64}", mac):
        raise Refused("tenancy.job_malformed")
    for text, (_, grammar) in zip(fields, FIELDS):
        if not re.fullmatch(grammar, text):
            raise Refused("tenancy.job_malformed")
    if fields[0] not in keys:
        raise Refused("tenancy.job_unknown_key")
    digest = hashlib.sha256(body).digest()
    parts = [b"ringfence/job-envelope/v1"] + [text.encode("ascii") for text in fields] + [digest]
    mac_input = b"".join(prefixed(part) for part in parts)
    computed = hmac.new(keys[fields[0]], mac_input, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(computed, mac):
        raise Refused("tenancy.job_altered")
    return dict(zip([name for name, _ in FIELDS], fields)), digest, mac_input, computed


def main(path):
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    for vector in vectors["accepted"]:
        keys = {vector["keyId"]: bytes.fromhex(vector["secret"])}
        claims, digest, mac_input, mac = read(vector["envelope"], vector["payload"], keys)
        for name, text in claims.items():
            assert vector[name] == text, vector["comment"]
        assert digest.hex() == vector["payloadDigest"], vector["comment"]
        assert mac_input.hex() == vector["macInput"] and mac == vector["mac"], vector["comment"]
    first = vectors["accepted"][0]
    keys = {first["keyId"]: bytes.fromhex(first["secret"])}
    for vector in vectors["refused"]:
        try:
            read(vector["envelope"], vector["payload"], keys)
        except Refused as refused:
            assert str(refused) == vector["code"], vector["comment"]
        else:
            raise AssertionError("accepted: " + vector["comment"])
    print(f'{len(vectors["accepted"])} accepted, {len(vectors["refused"])} refused')


main(sys.argv[1])
