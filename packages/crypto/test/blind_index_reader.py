"""Second reader of blind index values (docs/formats/blind-index-v1.md): Python standard library, no shared code."""
import hashlib
import hmac
import json
import struct
import sys


def part(data):
    return struct.pack(">H", len(data)) + data


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def index_value(case):
    texts = ["ringfence/blind-index/v1", case["org"], case["table"], case["column"]]
    info = b"".join(part(text.encode()) for text in texts) + part(struct.pack(">I", case["version"]))
    prk = mac(bytes(32), bytes.fromhex(case["purposeKey"]))
    index_key = mac(prk, info + b"\x01")
    digest = mac(index_key, case["normalised"].encode())
    size = (case["bits"] + 7) // 8
    kept = int.from_bytes(digest[:size], "big") >> (size * 8 - case["bits"]) << (size * 8 - case["bits"])
    tag = case["keyId"][:16]
    steps = {"info": info, "prk": prk, "indexKey": index_key, "mac": digest}
    value = "v%d.%s.%s" % (case["version"], tag, kept.to_bytes(size, "big").hex())
    return {**{name: step.hex() for name, step in steps.items()}, "value": value}


cases = json.load(open(sys.argv[1], encoding="utf-8"))["cases"]
for case in cases:
    if case["normaliser"] == "exact":
        assert case["normalised"] == case["text"], case["name"]
    for name, expected in index_value(case).items():
        assert case[name] == expected, (case["name"], name)
print(len(cases), "vectors agree")
