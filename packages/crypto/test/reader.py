"""A second reader of field message format v1 (docs/formats/field-v1.md), independent of the package.

usage: python3 reader.py vectors/field-v1.json
Opens every vector, checks every intermediate value, and must refuse every message listed as refused.
"""
import base64
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


def prefixed(*parts):
    return b"".join(struct.pack(">H", len(part)) + part for part in parts)


def field_key(dek, key_id, app, org):
    info = prefixed(b"ringfence/purpose-key/v1", b"field", app.encode(), org.encode())
    return HKDF(algorithm=SHA512(), length=32, salt=key_id, info=info).derive(dek)


def open_message(key, key_id, org, table, column, row, purpose, message):
    if not 90 <= len(message) <= 90 + 1048576:
        raise Refused("crypto.malformed_message")
    if message[:2] != b"\x01\x01":
        raise Refused("crypto.unsupported_version")
    if message[2:18] != key_id:
        raise Refused("crypto.unknown_key_version")
    info = message[:42] + prefixed(*(part.encode() for part in (org, table, column, row, purpose)))
    derived = hmac.digest(key, info + b"\x01", sha512)
    if not hmac.compare_digest(derived[32:], message[42:74]):
        raise Refused("crypto.decrypt_failed")
    try:
        return info, derived, AESGCM(derived[:32]).decrypt(message[30:42], message[74:], None)
    except InvalidTag:
        raise Refused("crypto.decrypt_failed") from None


def text_form(message):
    return "rf1." + base64.urlsafe_b64encode(message).decode().rstrip("=")


def cell_of(vector):
    return [vector[name] for name in ("org", "table", "column", "row", "purpose")]


def main(path):
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    for vector in vectors["opens"]:
        key_id = bytes.fromhex(vector["keyId"])
        message = bytes.fromhex(vector["message"])
        key = field_key(bytes.fromhex(vector["dek"]), key_id, vector["app"], vector["org"])
        assert key.hex() == vector["fieldKey"], vector["comment"]
        info, derived, plaintext = open_message(key, key_id, *cell_of(vector), message)
        assert info.hex() == vector["info"] and derived.hex() == vector["derived"], vector["comment"]
        assert plaintext.hex() == vector["plaintext"], vector["comment"]
        assert text_form(message) == vector["text"], vector["comment"]
    first = vectors["opens"][0]
    key_id, key = bytes.fromhex(first["keyId"]), bytes.fromhex(first["fieldKey"])
    for vector in vectors["refused"]:
        try:
            open_message(key, key_id, *cell_of(first), bytes.fromhex(vector["message"]))
        except Refused as refused:
            assert str(refused) == vector["code"], vector["comment"]
        else:
            raise AssertionError("opened: " + vector["comment"])
    print(f'{len(vectors["opens"])} opened, {len(vectors["refused"])} refused')


if __name__ == "__main__":
    main(sys.argv[1])
