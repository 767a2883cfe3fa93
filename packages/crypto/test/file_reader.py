"""Second reader of sealed files (docs/formats/file-v1.md), sharing nothing with the TypeScript code.

  file_reader.py vectors VECTORS.json               checks every vector and every refusal, prints the counts
  file_reader.py open KEY_HEX ORG TABLE COLUMN ROW  decrypts standard input to standard output
"""
import hashlib
import hmac
import json
import struct
import sys
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
try:  # A third implementation, in `cryptography` since version 50.
    from cryptography.cobblestone import Cobblestone256Decryptor
except ImportError:
    Cobblestone256Decryptor = None

LABEL = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"
CHUNK, SEALED_CHUNK, TAG, HEADER, PREFIX = 16384, 16400, 16, 22, 78
CELL = ("org", "table", "column", "row")

class Refused(Exception):
    """Its text is the error code."""

def context_of(header, cell):
    parts = [part.encode() for part in (*cell, "file")]
    return header + b"".join(struct.pack(">H", len(part)) + part for part in parts)

def derive(key, salt, context):
    info = LABEL + salt + context
    block1 = hmac.digest(key, info + b"\x01", "sha512")
    derived = block1 + hmac.digest(key, block1 + info + b"\x02", "sha512")
    return derived[:32], derived[32:44], derived[44:76]

def nonce_of(base, chunk):
    return (int.from_bytes(base, "big") ^ chunk).to_bytes(12, "big")

def open_file(keys, cell, sealed):
    if sealed[:4] != b"RFNC" or len(sealed) < HEADER:
        raise Refused("crypto.malformed_message")
    if sealed[4:6] != b"\x01\x02":
        raise Refused("crypto.unsupported_version")
    if len(sealed) < PREFIX + TAG or (len(sealed) - PREFIX) % SEALED_CHUNK < TAG:
        raise Refused("crypto.malformed_message")
    if sealed[6:HEADER] not in keys:
        raise Refused("crypto.unknown_key_version")
    key, base, commitment = derive(keys[sealed[6:HEADER]], sealed[HEADER:46], context_of(sealed[:HEADER], cell))
    if not hmac.compare_digest(commitment, sealed[46:PREFIX]):
        raise Refused("crypto.decrypt_failed")
    chunks = [sealed[at:at + SEALED_CHUNK] for at in range(PREFIX, len(sealed), SEALED_CHUNK)]
    try:
        return b"".join(AESGCM(key).decrypt(nonce_of(base, n), chunk, None) for n, chunk in enumerate(chunks))
    except InvalidTag:
        raise Refused("crypto.decrypt_failed") from None

def rebuild(case):
    """Seals the vector's plaintext anew and compares every intermediate value on the way."""
    key_id, file_key, salt = (bytes.fromhex(case[name]) for name in ("keyId", "fileKey", "salt"))
    header = b"RFNC\x01\x02" + key_id
    context = context_of(header, [case[name] for name in CELL])
    key, base, commitment = derive(file_key, salt, context)
    found = [value.hex() for value in (context, key, base, commitment)]
    assert found == [case[name] for name in ("context", "derivedKey", "baseNonce", "commitment")], case["name"]
    plain = bytes(i % 251 for i in range(case["plaintextLength"]))
    sealed = header + salt + commitment
    for n, nonce in enumerate(case["chunkNonces"]):
        assert nonce_of(base, n).hex() == nonce, case["name"]
        sealed += AESGCM(key).encrypt(bytes.fromhex(nonce), plain[n * CHUNK:(n + 1) * CHUNK], None)
    assert hashlib.sha256(sealed).hexdigest() == case["sealedSha256"] and len(sealed) == case["sealedLength"]
    if Cobblestone256Decryptor:
        other = Cobblestone256Decryptor(file_key, context=context)
        assert other.update(sealed[HEADER:]) + other.finalize() == plain, case["name"]
    return plain, sealed, {key_id: file_key}

def altered(sealed, change):
    data = bytearray(sealed[:change.get("truncate", len(sealed))] + bytes.fromhex(change.get("append", "")))
    if "flip" in change:
        data[change["flip"]] ^= 1
    a, b = (slice(PREFIX + n * SEALED_CHUNK, PREFIX + (n + 1) * SEALED_CHUNK) for n in change.get("swap", (0, 0)))
    data[a], data[b] = data[b], data[a]
    return bytes(data)

def check(vectors):
    for case in vectors["cases"]:
        plain, sealed, keys = rebuild(case)
        assert open_file(keys, [case[name] for name in CELL], sealed) == plain, case["name"]
        for change in (change for change in vectors["refused"] if change["case"] == case["name"]):
            try:
                open_file(keys, [change.get(name, case[name]) for name in CELL], altered(sealed, change))
                raise AssertionError("accepted: " + change["name"])
            except Refused as refusal:
                assert str(refusal) == change["code"], change["name"]
    print(len(vectors["cases"]), "cases,", len(vectors["refused"]), "refusals")

if __name__ == "__main__" and sys.argv[1] == "vectors":
    check(json.load(open(sys.argv[2], encoding="utf-8")))
elif __name__ == "__main__":
    data = sys.stdin.buffer.read()
    sys.stdout.buffer.write(open_file({data[6:HEADER]: bytes.fromhex(sys.argv[2])}, sys.argv[3:7], data))
