"""Receipts: C2SP tlog-proof and signed note, RFC 9162 inclusion, with the primitives of `cryptography` alone."""

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

NOTE_ED25519 = 1
EVENTS = {1: "released", 2: "released_again"}


def leaf_hash(entry):
    """The hash of a leaf (RFC 9162, 2.1.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left, right):
    """The hash of an inner node (RFC 9162, 2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_hash(leaves):
    """The root over these leaf hashes, straight from its definition (RFC 9162, 2.1.1)."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(root_hash(leaves[:half]), root_hash(leaves[half:]))


def verify(entry, proof, log):
    """Index of `entry` in the log of the directory's row `log`, and the log's size and root, if `proof` proves it."""
    head, note = proof.split("\n\n", 1)
    version, index, *hashes = head.split("\n")
    assert version == "c2sp.org/tlog-proof@v1"
    index = int(index.removeprefix("index "))
    origin, size, root = checkpoint(note, log["vkey"])
    assert origin == log["origin"]
    path = [base64.b64decode(text, validate=True) for text in hashes]
    assert include(index, size, leaf_hash(entry), path) == root, "the proof does not lead to the signed root"
    return index, size, root


def checkpoint(note, vkey):
    """Origin, size and root of the checkpoint `note`, once the signature of `vkey` on it is verified."""
    name, key_id, key = vkey.split("+", 2)
    key = base64.b64decode(key)
    assert key[0] == NOTE_ED25519
    assert hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex() == key_id
    text, signatures = note.rsplit("\n\n", 1)
    text += "\n"
    lines = [line.removeprefix("— ").rsplit(" ", 1) for line in signatures.splitlines()]
    (signature,) = [base64.b64decode(value) for signer, value in lines if signer == name]
    assert signature[:4].hex() == key_id
    Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature[4:], text.encode())
    origin, size, root = text.splitlines()[:3]
    return origin, int(size), base64.b64decode(root, validate=True)


def include(index, size, leaf, path):
    """The root to which the inclusion proof `path` leads (RFC 9162, 2.1.3.2)."""
    assert index < size
    node, last, root = index, size - 1, leaf
    for sibling in path:
        assert last > 0, "the proof is too long"
        if node & 1 or node == last:
            root = node_hash(sibling, root)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        node, last = node >> 1, last >> 1
    assert last == 0, "the proof is too short"
    return root


def extends(old, old_root, new, new_root, path):
    """Whether `path` proves that the tree of size `new` starts with that of size `old` (RFC 9162, 2.1.4.2)."""
    assert 0 < old < new and path
    path = list(path)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and (first, second) == (old_root, new_root)


def event(entry):
    """What an entry of version 1 says happened: its first field, one length byte and one code."""
    assert entry[:2] == b"\x01\x01"
    return EVENTS[entry[2]]


def request_hash(entry):
    """The entry's fourth digest from the end: the hash of the canonical request."""
    fields, rest = [], entry[1:]
    while rest:
        fields.append(rest[1 : 1 + rest[0]])
        rest = rest[1 + rest[0] :]
    return fields[-4].hex()
