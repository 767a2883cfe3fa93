"""AWS KMS on a loopback port: moto's key store with the rules of use that moto leaves out.

moto 5 keeps keys, states, replicas and policies, but lets a disabled key encrypt, cannot decrypt under multi-Region
keys, and does not read key policies. Encrypt and Decrypt are therefore done here, as the AWS KMS API Reference and the
AWS KMS Developer Guide ("Key states", "Encryption context", "Key policies") describe them:

  state    a key that is not enabled refuses use: DisabledException or KMSInvalidStateException
  key      Decrypt under another key than the one that encrypted: IncorrectKeyException
  context  AES-256-GCM binds the encryption context: InvalidCiphertextException under another one
  policy   the calling role needs an Allow of the key policy whose StringEquals conditions hold, and no such Deny

A rule named in KMS_RULES_OFF (comma separated) is left out, to prove that a test notices.
Usage: python3 kms_strict_server.py CALLER_ROLE_ARN; prints "ready PORT" and serves until its standard input is closed.
"""

import json
import os
import re
import struct
import sys
import uuid
from fnmatch import fnmatchcase

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from moto.core.exceptions import JsonRESTError
from moto.kms import models
from moto.kms.models import KmsBackend
from moto.kms.responses import KmsResponse
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

RULES_OFF = set(os.environ.get("KMS_RULES_OFF", "").split(","))
CALLER = sys.argv[1] if len(sys.argv) > 1 else ""


def refuse(name, message=""):
    error = JsonRESTError(name, message)
    error.code = 400
    raise error


def as_list(value):
    return value if isinstance(value, list) else [value]


def names_caller(principal):
    if principal == "*":
        return True
    return isinstance(principal, dict) and CALLER in as_list(principal.get("AWS", []))


def conditions_hold(statement, context):
    for operator, tests in statement.get("Condition", {}).items():
        if operator != "StringEquals":
            refuse("UnsupportedOperationException", f"condition operator {operator} is not known here")
        for name, wanted in tests.items():
            prefix, _, key = name.rpartition(":")
            if prefix != "kms:EncryptionContext" or context.get(key) not in as_list(wanted):
                return False
    return True


def check_policy(key, action, context):
    policy = json.loads(key.policy) if isinstance(key.policy, str) else key.policy
    statements = as_list(policy.get("Statement", []))
    untouched = len(statements) == 1 and statements[0].get("Action") == "kms:*"
    if "policy" in RULES_OFF or untouched:
        return
    effects = {
        statement["Effect"]
        for statement in statements
        if any(fnmatchcase(action, pattern) for pattern in as_list(statement["Action"]))
        and names_caller(statement["Principal"])
        and conditions_hold(statement, context)
    }
    if effects != {"Allow"}:
        refuse("AccessDeniedException", f"User: {CALLER} is not authorized to perform: {action} on resource: {key.arn}")


def usable_key(backend, key_id, action, context):
    key = backend.keys[backend.any_id_to_key_id(key_id)]
    check_policy(key, action, context)
    if "state" not in RULES_OFF:
        if key.key_state == "Disabled":
            refuse("DisabledException", f"{key.arn} is disabled.")
        if key.key_state != "Enabled":
            words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key.key_state).lower()
            refuse("KMSInvalidStateException", f"{key.arn} is {words}.")
    return key


def associated_data(context):
    return b"" if "context" in RULES_OFF else json.dumps(sorted(context.items())).encode()


def encrypt(self, key_id, plaintext, encryption_context):
    context = encryption_context or {}
    key = usable_key(self, key_id, "kms:Encrypt", context)
    nonce = os.urandom(12)
    name = key.id.encode()
    sealed = AESGCM(key.key_material).encrypt(nonce, plaintext, associated_data(context))
    return struct.pack(">H", len(name)) + name + nonce + sealed, key.arn


def decrypt(self, ciphertext_blob, encryption_context, key_id=None):
    context = encryption_context or {}
    if len(ciphertext_blob) < 2:
        refuse("InvalidCiphertextException")
    (length,) = struct.unpack(">H", ciphertext_blob[:2])
    name = ciphertext_blob[2 : 2 + length].decode("ascii", "replace")
    if name not in self.keys or len(ciphertext_blob) < 2 + length + 28:
        refuse("InvalidCiphertextException")
    key = usable_key(self, key_id or name, "kms:Decrypt", context)
    if key.id != name:
        if "key" not in RULES_OFF:
            refuse("IncorrectKeyException", "The key ID in the request does not identify a CMK that can decrypt this.")
        key = self.keys[name]
    body = ciphertext_blob[2 + length :]
    try:
        return AESGCM(key.key_material).decrypt(body[:12], body[12:], associated_data(context)), key.arn
    except InvalidTag:
        refuse("InvalidCiphertextException")


def key_id_as_on_aws(multi_region=False):
    """moto gives multi-Region keys an id with hyphens; on AWS it is mrk- and 32 hex digits."""
    return "mrk-" + os.urandom(16).hex() if multi_region else str(uuid.uuid4())


def validate_cmk_id(self, key_id):
    """moto's own check does not know that form of id."""
    if self.kms_backend.get_key_id(key_id) not in self.kms_backend.keys:
        refuse("NotFoundException", f"Key '{key_id}' does not exist")


models.generate_key_id = key_id_as_on_aws
KmsResponse._validate_cmk_id = validate_cmk_id
KmsBackend.encrypt = encrypt
KmsBackend.decrypt = decrypt

if __name__ == "__main__":
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print("ready", server.get_host_and_port()[1], flush=True)
    sys.stdin.read()  # serve as long as the one who started us lives
    os._exit(0)
