"""Verifies ledgers from outside, with Python's standard library and `cryptography` alone.

C2SP signed-note, tlog-checkpoint, tlog-tiles, tlog-cosignature, tlog-proof; RFC 9162. It shares no code with others.

    verify_ledger.py tiles URL VKEY [FILE [WITNESS_VKEY...]]    hash tiles, without a certificate
    verify_ledger.py bundles URL VKEY CERT KEY CA               entries, with an auditor's
    verify_ledger.py receipt PROOF [ENTRY] VKEY                 one entry, which its proof may hold
    verify_ledger.py export FOLDER VKEY                         what `audit export` wrote

FILE keeps the last head seen, which the next one must continue. Prints on how many proofs it agrees and exits 0; where
something does not verify, says what and exits 1.
"""

import base64
import hashlib
import http.client
import inspect
import json
import os
import ssl
import sys
import time
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

WIDTH, MAX_NOTE, MAX_HASHES, MAX_SIGNATURES = 256, 128 * 1024, 64, 32
LOG, WITNESS, BYTES = 1, 4, "application/octet-stream"


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


class Refused(Exception):
    """What does not verify."""


def need(holds, why):
    if not holds:
        raise Refused(why)


def decoded(text, length=None):
    """The bytes of canonical base64; what is not base64 is a ValueError."""
    raw = base64.b64decode(text, validate=True)
    need(base64.b64encode(raw).decode() == text, "base64 is not canonical")
    need(length in (None, len(raw)), "a hash, a key or a signature has another length")
    return raw


def decimal(text):
    need(text.isascii() and text.isdigit() and str(int(text)) == text and int(text) < 1 << 63, "a number is malformed")
    return int(text)


def read(*path):
    with open(os.path.join(*path), "rb") as file:
        return file.read()


class Key:
    """A verifier key, `name+id+base64`, of one signature type."""

    def __init__(self, vkey, kind):
        parts = vkey.strip().split("+", 2)
        need(len(parts) == 3 and parts[0], "a key is malformed")
        self.name, key = parts[0], decoded(parts[2], 33)
        need(key[0] == kind, "a key is of another kind")
        self.id = sha256(self.name.encode(), b"\n", key)[:4]
        need(self.id.hex() == parts[1], "a key's id is not its own")
        self.public = Ed25519PublicKey.from_public_bytes(key[1:])


class Head:
    """What a log says of itself, verified with its key."""

    def __init__(self, raw, key):
        need(len(raw) <= MAX_NOTE, "a note is too large")
        whole = raw.decode(errors="replace")
        need(not any(c < " " and c != "\n" or c == "\ufffd" for c in whole), "a note is not plain UTF-8")
        text, separator, lines = whole.rpartition("\n\n")
        need(separator and lines.endswith("\n"), "a note has no signatures")
        self.raw, self.text, self.signatures = raw, text + "\n", []
        for line in lines[:-1].split("\n"):
            parts = line.split(" ")
            need(len(parts) == 3 and parts[0] == "—" and parts[1], "a signature line is malformed")
            self.signatures.append((parts[1], decoded(parts[2])))
        need(len(self.signatures) <= MAX_SIGNATURES, "a note has too many signatures")
        for signature in self.of(key):
            key.public.verify(signature, self.text.encode())
        lines = self.text.split("\n")
        need(len(lines) >= 4, "a checkpoint has fewer than three lines")
        need(lines[0] == key.name, "a checkpoint is of another log than its key")
        self.size, self.root = decimal(lines[1]), decoded(lines[2], 32)

    def of(self, key):
        found = [raw[4:] for name, raw in self.signatures if name == key.name and raw[:4] == key.id]
        need(found, f"{key.name} has not signed")
        return found

    def cosigned(self, key):
        for signature in self.of(key):
            need(len(signature) == 72, "a cosignature has another length")
            at = int.from_bytes(signature[:8], "big")
            need(at <= time.time() + 300, "a cosignature is from the future")
            key.public.verify(signature[8:], f"cosignature/v1\ntime {at}\n{self.text}".encode())


def node(left, right):
    return sha256(b"\x01", left, right)


def root(hashes):
    """The root over `hashes` (RFC 9162, 2.1.1): neighbours join level by level, a last one alone goes up as it is."""
    level = list(hashes)
    while len(level) > 1:
        alone = level[-1:] if len(level) % 2 else []
        level = [node(level[n], level[n + 1]) for n in range(0, len(level) - 1, 2)] + alone
    return level[0] if level else sha256()


def place(index, width=WIDTH):
    """Where a tile or bundle is in its level: x001/x234/067.p/3."""
    digits = str(index).zfill(-(-len(str(index)) // 3) * 3)
    groups = [digits[n : n + 3] for n in range(0, len(digits), 3)]
    return "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:]) + (f".p/{width}" if width < WIDTH else "")


def places(size):
    return [(place(n, size - n * WIDTH), min(WIDTH, size - n * WIDTH)) for n in range(-(-size // WIDTH))]


def split(raw, width, name):
    need(len(raw) == width * 32, f"{name} has another width")
    return [raw[n : n + 32] for n in range(0, len(raw), 32)]


def leaves_of(bundle, width, name):
    hashes = []
    while bundle:
        end = 2 + int.from_bytes(bundle[:2], "big")
        need(2 < end <= len(bundle), f"{name} is cut short")
        hashes.append(sha256(b"\x00", bundle[2:end]))
        bundle = bundle[end:]
    need(len(hashes) == width, f"{name} has another width")
    return hashes


class Server:
    """A log's address."""

    def __init__(self, url, context=None):
        parts = urlsplit(url)
        need(parts.scheme in ("http", "https") and not parts.query, "the address is no http or https one")
        secure = {"context": context or ssl.create_default_context()} if parts.scheme == "https" else {}
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self.connection, self.prefix = kind(parts.netloc, timeout=60, **secure), parts.path.rstrip("/")

    def get(self, name, kind, most):
        try:
            self.connection.request("GET", f"{self.prefix}/{name}")
            answer = self.connection.getresponse()
            body = answer.read(most + 1)
        except (OSError, http.client.HTTPException) as error:
            raise Refused(f"{name} cannot be read: {error}") from None
        need(answer.status == 200, f"{name}: {answer.status} {body[:200].decode(errors='replace').strip()}")
        need(len(body) <= most and answer.headers.get_content_type() == kind, f"{name} is not what it should be")
        return body

    def log(self, key):
        """The head shown here, every leaf hash under it, and how many tiles agreed: each is made again from below."""
        head = Head(self.get("checkpoint", "text/plain", MAX_NOTE), key)
        level, size, lowest, below, agreed = 0, head.size, [], None, 1
        while size:
            shown = []
            for name, width in places(size):
                name = f"tile/{level}/{name}"
                shown += split(self.get(name, BYTES, WIDTH * 32), width, name)
                agreed += 1
            need(below in (None, shown), f"the tiles of level {level} are not made of those below")
            lowest = lowest or shown
            below = [root(shown[n : n + WIDTH]) for n in range(0, len(shown) - WIDTH + 1, WIDTH)]
            level, size = level + 1, size // WIDTH
        need(root(lowest) == head.root, "the tiles do not make the signed root")
        return head, lowest, agreed


def tiles(url, vkey, file=None, *witnesses):
    key = Key(vkey, LOG)
    head, leaves, agreed = Server(url).log(key)
    for witness in witnesses:
        head.cosigned(Key(witness, WITNESS))
    if file and os.path.exists(file):
        before = Head(read(file), key)
        need(before.size <= head.size, f"the head went back from {before.size} to {head.size}")
        need(root(leaves[: before.size]) == before.root, "the log does not continue the head seen before")
        agreed += 1
    if file:
        with open(file, "wb") as kept:
            kept.write(head.raw)
    return agreed + len(witnesses)


def bundles(url, vkey, cert, key, ca):
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(cert, key)
    server = Server(url, context)
    head, leaves, agreed = server.log(Key(vkey, LOG))
    hashed = []
    for name, width in places(head.size):
        hashed += leaves_of(server.get(f"tile/entries/{name}", BYTES, WIDTH * 0x10001), width, name)
    need(hashed == leaves, "the entries are not those of the tiles")
    return agreed + len(hashed)


def receipt(proof, entry, vkey=None):
    prove(read(proof), read(entry) if vkey else None, Key(vkey or entry, LOG))
    return 1


def prove(proof, entry, key):
    """The index of `entry` (of the proof's extra data where None) and the head that it is under."""
    lines, _, checkpoint = proof.partition(b"\n\n")
    lines = lines.decode(errors="replace").split("\n")
    need(lines.pop(0) == "c2sp.org/tlog-proof@v1" and lines, "a receipt does not have its form")
    extra = decoded(lines.pop(0)[6:]) if lines[0].startswith("extra ") else b""
    need(extra or entry is not None, "a receipt holds no entry, and none is beside it")
    need(lines and lines[0].startswith("index "), "a receipt has no index")
    index, head = decimal(lines.pop(0)[6:]), Head(checkpoint, key)
    need(index < head.size and len(lines) <= MAX_HASHES, "a proof is too long, or for another tree")
    hashed, at, last = sha256(b"\x00", extra if entry is None else entry), index, head.size - 1
    while last:
        if at & 1 or at < last:  # it has a neighbour (RFC 9162, 2.1.3.2)
            need(lines, "a proof is too short")
            sibling = decoded(lines.pop(0), 32)
            hashed = node(sibling, hashed) if at & 1 else node(hashed, sibling)
        at, last = at >> 1, last >> 1
    need(not lines, "a proof is too long")
    need(hashed == head.root, "the proof does not lead to the signed root")
    return index, head


def export(folder, vkey):
    raw = read(folder, "manifest.json")
    need(read(folder, "manifest.sha256").split()[0].decode() == sha256(raw).hex(), "the manifest was changed")
    manifest = json.loads(raw)
    need(manifest["format"] == "unefois/export/v1", "the folder is of another format")
    found = {os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names}
    need(found - {"manifest.json", "manifest.sha256"} == set(manifest["files"]), "a file is missing, or too many")
    for name, digest in manifest["files"].items():
        need(sha256(read(folder, name)).hex() == digest, f"{name} was changed")
    head, size = Head(read(folder, "checkpoint"), Key(vkey, LOG)), manifest["size"]
    need((size, decoded(manifest["root"])) == (head.size, head.root), "the manifest tells another head")
    if manifest["kind"] == "filtered":
        proofs = [name for name in manifest["files"] if name.startswith("proofs/")]
        for name in proofs:
            index, under = prove(read(folder, name), None, Key(vkey, LOG))
            need(name == f"proofs/{place(index)}.tlog-proof" and under.raw == head.raw, f"{name} is of another place")
        need(len(proofs) == manifest["entries"], "an entry is missing")
        return 1 + len(proofs)
    first, end = manifest["range"]["first"], manifest["range"]["end"]
    need(manifest["kind"] != "whole" or (first, end, manifest["entries"]) == (0, size, size), "a whole export has every entry")

    def subtree(at, count):
        """The root over `count` leaves from `at` on: from entries where they are there, else from one tile."""
        known = at < end and first < at + count
        if count <= WIDTH and known:
            name = f"entries/{place(at // WIDTH, count)}"
            return root(leaves_of(read(folder, name), count, name))
        if not known and (count < WIDTH or count & (count - 1) == 0):
            level, row = divmod(count.bit_length() - 1, 8) if count >= WIDTH else (0, 0)
            start, hashes = (at // count << row, 1 << row) if count >= WIDTH else (at, count)
            width = min(WIDTH, (size >> 8 * level) - start // WIDTH * WIDTH)
            name = f"tile/{level}/{place(start // WIDTH, width)}"
            return root(split(read(folder, name), width, name)[start % WIDTH :][:hashes])
        cut = 1 << (count - 1).bit_length() - 1
        return node(subtree(at, cut), subtree(at + cut, count - cut))

    need(0 <= first < end <= size and subtree(0, size) == head.root, "the entries do not make the signed root")
    return 1 + end - first


def main(name="", *args):
    command = {"tiles": tiles, "bundles": bundles, "receipt": receipt, "export": export}.get(name)
    try:
        inspect.signature(command).bind(*args)
    except TypeError:
        print(__doc__, file=sys.stderr)
        return 64
    try:
        print(f"agreed on {command(*args)} proofs")
    except (Refused, InvalidSignature, OSError, ValueError, KeyError, TypeError) as refusal:
        print(f"refused: {str(refusal) or 'a signature is not valid'}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
