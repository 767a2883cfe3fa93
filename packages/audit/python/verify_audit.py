"""A second verifier of audit exports (docs/formats/audit-export-v1.md), by another hand: standard library only.

usage: python3 verify_audit.py export.ndjson [seq:hash ...]     exit code 0 when nothing was found, else 1
       python3 verify_audit.py --batch cases.ndjson             one line per case: its verdict classes, sorted
Invariant: no input raises; what is not the format is the finding "malformed".
"""
import base64
import hashlib
import json
import re
import sys
from itertools import product

H, N, U = rb"([0-9a-f]{64})", rb"(0|[1-9][0-9]{0,15})", rb"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
STR = rb'"((?:[^"\\\x00-\x1f]|\\["\\bfnrt]|\\u00[01][0-9a-f])*)"'
HEADER = re.compile(rb'\{"format":"ringfence-audit-export","from":\{"hash":"' + H + rb'","seq":' + N
                    + rb'\},"org":"' + U + rb'","v":1\}')
LINK = re.compile(rb'\{"canon":(?:null|' + STR + rb'|(\{.*)),"hash":"' + H + rb'","id":"' + U
                  + rb'"(?:,"leaf":"' + H + rb'")?,"seq":([1-9][0-9]{0,15})\}')
NOTE = re.compile(rb'\{"note":' + STR + rb"\}")
END = re.compile(rb'\{"end":\{"hash":"' + H + rb'","seq":' + N + rb"\}\}")
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
ESCAPE = re.compile(rb"\\(?:u00([01][0-9a-f])|(.))")
SHORT = {b'"': b'"', b"\\": b"\\", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
SAFE, LONGEST, SHORT_LINE = 2**53 - 1, 1 << 20, 300


def unescape(text):
    """The bytes that a canonical JSON string stands for; None for one that has a shorter spelling, and for NUL."""
    if re.search(rb"(?<!\\)(?:\\\\)*\\u00(?:0[089acd])", text):
        return None
    return ESCAPE.sub(lambda m: bytes([int(m[1], 16)]) if m[1] else SHORT[m[2]], text)


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def unique(pairs):
    keys = [key for key, _ in pairs]
    if keys != sorted(set(keys), key=lambda key: key.encode("utf-16-be")):
        raise ValueError("order")
    return dict(pairs)


def refuse(_):
    raise ValueError("number")


def deep(value, depth):
    """False for what the profile leaves out."""
    if isinstance(value, str):
        return "\0" not in value
    if isinstance(value, int) and not isinstance(value, bool):
        return -SAFE <= value <= SAFE
    if isinstance(value, (dict, list)):
        inner = value if isinstance(value, list) else list(value.values()) + list(value)
        return depth < 32 and all(deep(one, depth + 1) for one in inner)
    return True


def record_class(canon, org, event_id):
    """What is wrong with a record of this organisation and event: a verdict class, or None."""
    try:
        text = canon.decode("utf-8")
        record = json.loads(text, object_pairs_hook=unique, parse_float=refuse, parse_constant=refuse)
        same = json.dumps(record, ensure_ascii=False, separators=(",", ":")) == text
        right = (same and list(record) == ["actor", "at", "event", "id", "org", "request", "v"]
                 and deep(record, -1) and isinstance(record["actor"], str) and record["actor"] != ""
                 and TIME.fullmatch(record["at"]) and isinstance(record["event"], dict)
                 and re.fullmatch(U.decode(), record["id"]) and re.fullmatch(U.decode(), record["org"])
                 and (record["request"] is None or isinstance(record["request"], str))
                 and record["v"] == 1 and record["v"] is not True)
    except (ValueError, TypeError, AttributeError, RecursionError):
        right = False
    if not right:
        return "malformed"
    return None if record["org"] == org and record["id"] == event_id else "edited"


class Chain:
    def __init__(self, org, seq, last, heads):
        self.org, self.seq, self.last, self.previous = org, seq, last, last
        self.org_bytes = bytes.fromhex(org.replace("-", ""))
        self.found, self.broken, self.heads = set(), [], heads
        self.last_broken, self.inserted, self.shift = None, None, 0
        self.gone, self.gone_hash, self.said, self.record_seen = 0, b"", 0, False
        if len({head[0] for head in heads}) < len(set(heads)):
            self.found.add("forked")
        self.compare()

    def compare(self):
        if any(seq == self.seq and kept != self.last for seq, kept in self.heads):
            self.found.add("rewritten")

    def link(self, seq, previous, leaf):
        return sha(b"\2", self.org_bytes, seq.to_bytes(8, "big"), previous, leaf) if seq > 0 else b""

    def malformed(self):
        self.seq, self.previous, self.last_broken = self.seq + 1, None, None
        self.found.add("malformed")

    def step(self, seq, event_id, stored, canon, leaf=None):
        if seq <= self.seq:
            self.found.add("forked" if seq == self.seq else "reordered")
            return
        if seq > self.seq + 1:
            self.found.add("deleted")
            self.previous = self.last_broken = None
        if canon is None and (leaf is None or self.record_seen):
            self.found.add("deleted")
            self.last_broken = None
        else:
            self.record_seen = self.record_seen or canon is not None
            self.check(seq, event_id, stored, leaf if canon is None else sha(b"\0", canon), canon)
        self.seq, self.last, self.previous = seq, stored, stored
        self.compare()

    def check(self, seq, event_id, stored, leaf, canon):
        if self.previous is not None and not self.holds(seq, stored, leaf):
            self.last_broken = dict(seq=seq, before=self.previous, leaf=leaf, stored=stored, verdict=None)
            self.broken.append(self.last_broken)
            return
        self.last_broken = None
        if canon is None:
            self.gone, self.gone_hash = seq, stored
        else:
            self.found |= {record_class(canon, self.org, event_id) or self.hear(seq, canon)} - {None}

    def hear(self, seq, canon):
        """What is wrong with a record behind others that are gone, as the record of their pruning."""
        event = json.loads(canon)["event"]
        if self.gone <= self.said or event.get("type") != "log.pruned":
            return None
        data = event.get("data")
        through, kept = (data.get("through"), data.get("hash")) if isinstance(data, dict) else (None, None)
        if (not isinstance(through, int) or isinstance(through, bool) or through >= seq
                or not isinstance(kept, str) or not re.fullmatch(H.decode(), kept)):
            return "malformed"
        if through == self.gone and kept != self.gone_hash.hex():
            return "edited"
        self.said = max(self.said, through)
        return None

    def holds(self, seq, stored, leaf):
        place, inserted = seq + self.shift, self.inserted
        self.inserted = None
        if self.link(place, self.previous, leaf) == stored:
            return True
        if inserted and self.link(place + 1, inserted["stored"], leaf) == stored:
            inserted["verdict"] = "reordered"
            self.shift += 1
            return True
        broken = self.last_broken
        if broken is None:
            return False
        if self.link(place - 1, broken["before"], leaf) == stored:
            broken["verdict"], self.inserted = "inserted", broken
            self.shift -= 1
            return True
        if self.link(place - 1, self.previous, leaf) == stored:
            broken["verdict"] = "inserted"
            self.shift -= 1
            return True
        for shift in range(1, 9):
            if self.link(place + shift, self.previous, leaf) == stored:
                broken["verdict"] = "deleted"
                self.shift += shift
                return True
        return False

    def finish(self):
        origins, explained = {}, set()
        if len(self.broken) <= 24:
            befores = [b for one in self.broken
                       for b in (one["before"], one["stored"], self.link(one["seq"], one["before"], one["leaf"]))]
            seqs, leaves = [one["seq"] for one in self.broken], [one["leaf"] for one in self.broken]
            for before, seq, leaf in product(befores, seqs, leaves):
                origins[self.link(seq, before, leaf)] = (seq, leaf)
        for one in self.broken:
            origin = origins.get(one["stored"])
            if one["verdict"] is None and origin == (one["seq"], one["leaf"]):
                continue
            explained.add(one["verdict"] or ("edited" if origin is None else "reordered"))
        self.found |= explained or ({"edited"} if self.broken else set())
        if any(seq > self.seq for seq, _ in self.heads):
            self.found.add("cut")
        if self.gone > self.said:
            self.found.add("deleted")
        return self.found


def verify(data, heads):
    """The verdict classes of an export; heads are (seq, 32 bytes) that somebody kept."""
    *lines, rest = data.split(b"\n")
    header = HEADER.fullmatch(lines[0]) if lines and len(lines[0]) <= SHORT_LINE else None
    if header is None or int(header[2]) > SAFE:
        return {"malformed"}
    start, last = int(header[2]), bytes.fromhex(header[1].decode())
    chain, end, links, notes = Chain(header[3].decode(), start, last, heads), None, False, 0
    if start == 0 and last != bytes(32):
        chain.found.add("malformed")
    if start > 0 and all(seq != start for seq, _ in heads):
        chain.found.add("deleted")
    for line in lines[1:]:
        if end:
            chain.found.add("malformed")
            break
        short, link = line if len(line) <= LONGEST else b"", None
        match = LINK.fullmatch(short)
        text = unescape(match[1]) if match and match[1] is not None else None
        canon = match[2] if match and match[2] is not None else text
        note = NOTE.fullmatch(short) if not links and notes < 1000 else None
        leaf = bytes.fromhex(match[5].decode()) if match and match[5] else None
        if (match and int(match[6]) <= SAFE and (match[1] is None or is_odd(text))
                and (leaf is None or (match[1] is None and match[2] is None))):
            links = True
            chain.step(int(match[6]), match[4].decode(), bytes.fromhex(match[3].decode()), canon, leaf)
        elif note and is_text(unescape(note[1])):
            notes += 1
        else:
            end = END.fullmatch(short) if len(short) <= SHORT_LINE else None
            end = end if end and int(end[2]) <= SAFE else None
            if end is None:
                chain.malformed()
    if rest:
        chain.found.add("malformed")
    if end is None or int(end[2]) > chain.seq:
        chain.found.add("cut")
    elif int(end[2]) < chain.seq:
        chain.found.add("inserted")
    elif bytes.fromhex(end[1].decode()) != chain.last:
        chain.found.add("rewritten")
    return chain.finish()


def is_odd(raw):
    """Whether a record has to be a string in its line: there is one spelling of each."""
    return raw is not None and (raw[:1] != b"{" or b"\n" in raw)


def is_text(raw):
    try:
        return raw is not None and raw.decode("utf-8") is not None
    except ValueError:
        return False


def main(args):
    if args[:1] == ["--batch"]:
        for line in open(args[1], "rb"):
            case = json.loads(line)
            heads = [(head["seq"], bytes.fromhex(head["hash"])) for head in case["heads"]]
            print(",".join(sorted(verify(base64.b64decode(case["data"]), heads))))
        return 0
    heads = [(int(seq), bytes.fromhex(kept)) for seq, kept in (head.split(":") for head in args[1:])]
    found = verify(open(args[0], "rb").read(), heads)
    print("findings: " + ", ".join(sorted(found)) if found else "ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
