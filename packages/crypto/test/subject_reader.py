"""A second reader of subject keys (docs/formats/subject-key-v1.md), independent of the package.

usage: python3 subject_reader.py vectors/subject-key-v1.json
Opens every vector, checks every intermediate value, and must refuse every message and wrap listed as refused.
"""
import hmac
import json
import struct
import sys
from hashlib import sha512

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Refused(Exception):
    pass


def prefixed(*texts):
    parts = [text.encode() for text in texts]
    return b"".join(struct.pack(">H", len(part)) + part for part in parts)


def hkdf(key, salt, *texts):
    return HKDF(algorithm=SHA512(), length=32, salt=salt, info=prefixed(*texts)).derive(key)


def open_message(suite, key, key_id, names, message):
    if not 90 <= len(message) <= 90 + 1048576:
        raise Refused("crypto.malformed_message")
    if message[:2] != bytes([1, suite]):
        raise Refused("crypto.unsupported_version")
    if message[2:18] != key_id:
        raise Refused("crypto.unknown_key_version")
    info = message[:42] + names
    derived = hmac.digest(key, info + b"\x01", sha512)
    if not hmac.compare_digest(derived[32:], message[42:74]):
        raise Refused("crypto.decrypt_failed")
    try:
        return info, derived, AESGCM(derived[:32]).decrypt(message[30:42], message[74:], None)
    except InvalidTag:
        raise Refused("crypto.decrypt_failed") from None


def unwrap(vector, wrapped):
    org, subject, key_id, dek_key_id = (vector[name] for name in ("org", "subject", "keyId", "dekKeyId"))
    salt = bytes.fromhex(dek_key_id)
    key = hkdf(bytes.fromhex(vector["dek"]), salt, "ringfence/purpose-key/v1", "subject", vector["app"], org)
    assert key.hex() == vector["wrapKey"]
    names = prefixed(org, "ringfence.subject_key", subject, key_id, "subject-key")
    try:
        info, _, subject_key = open_message(1, key, salt, names, wrapped)
    except Refused:
        raise Refused("crypto.wrap_tampered") from None
    if len(subject_key) != 32:
        raise Refused("crypto.wrap_tampered")
    return info, subject_key


def open_field(vector, subject_key, message):
    org, subject, key_id = vector["org"], vector["subject"], bytes.fromhex(vector["keyId"])
    field, file = (
        hkdf(subject_key, key_id, "ringfence/subject-purpose-key/v1", use, org, subject) for use in ("field", "file")
    )
    assert (field.hex(), file.hex()) == (vector["fieldKey"], vector["fileKey"])
    names = prefixed(org, subject, *(vector[name] for name in ("table", "column", "row", "purpose")))
    return open_message(3, field, key_id, names, message)


def main(path):
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    for vector in vectors["opens"]:
        wrap_info, subject_key = unwrap(vector, bytes.fromhex(vector["wrapped"]))
        assert (wrap_info.hex(), subject_key.hex()) == (vector["wrapInfo"], vector["subjectKey"]), vector["comment"]
        info, derived, plaintext = open_field(vector, subject_key, bytes.fromhex(vector["message"]))
        assert (info.hex(), derived.hex()) == (vector["info"], vector["derived"]), vector["comment"]
        assert plaintext.hex() == vector["plaintext"], vector["comment"]
    first = vectors["opens"][0]
    for vector in vectors["refused"]:
        try:
            if "wrapped" in vector:
                unwrap(first, bytes.fromhex(vector["wrapped"]))
            else:
                open_field(first, bytes.fromhex(first["subjectKey"]), bytes.fromhex(vector["message"]))
        except Refused as refused:
            assert str(refused) == vector["code"], vector["comment"]
        else:
            raise AssertionError("opened: " + vector["comment"])
    print(f'{len(vectors["opens"])} opened, {len(vectors["refused"])} refused')


if __name__ == "__main__":
    main(sys.argv[1])
