"""A log that is shown as its owner likes: honest, and forged in each way that a verifier must see."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import ledger

HERE = os.path.dirname(os.path.abspath(__file__))
ORIGIN, WITNESS = "example.com/log", "witness.example/1"
WIDTH = 256


def b64(raw):
    return base64.b64encode(raw).decode()


class Signer:
    """A key that signs notes under a name."""

    def __init__(self, name, kind):
        self.name, self.private = name, Ed25519PrivateKey.generate()
        key = bytes([kind]) + self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
        self.vkey = f"{name}+{self.id.hex()}+{b64(key)}"

    def line(self, text):
        return f"— {self.name} {b64(self.id + self.private.sign(text.encode()))}\n"

    def cosignature(self, text):
        at = int(time.time())
        signed = self.private.sign(f"cosignature/v1\ntime {at}\n{text}".encode())
        return f"— {self.name} {b64(self.id + at.to_bytes(8, 'big') + signed)}\n"


class Log:
    """Some entries, and every resource that shows them."""

    def __init__(self, entries, signer, witness, origin=ORIGIN):
        self.entries, self.signer = entries, signer
        self.leaves = [ledger.leaf_hash(entry) for entry in entries]
        self.text = f"{origin}\n{len(entries)}\n{b64(ledger.root_hash(self.leaves))}\n"
        self.checkpoint = f"{self.text}\n{signer.line(self.text)}{witness.cosignature(self.text)}"
        self.shown = {"checkpoint": self.checkpoint.encode()}
        level, hashes = 0, self.leaves
        while hashes:
            for name, tile in cut(hashes):
                self.shown[f"tile/{level}/{name}"] = b"".join(tile)
            full = [tile for _, tile in cut(hashes) if len(tile) == WIDTH]
            level, hashes = level + 1, [ledger.root_hash(tile) for tile in full]
        for name, bundle in cut(entries):
            self.shown[f"tile/entries/{name}"] = b"".join(len(e).to_bytes(2, "big") + e for e in bundle)

    def proof(self, index, leaves=None):
        """The inclusion proof of an entry (RFC 9162, 2.1.3.1)."""
        leaves = leaves or self.leaves
        if len(leaves) == 1:
            return []
        half = 1 << (len(leaves) - 1).bit_length() - 1
        left, right = leaves[:half], leaves[half:]
        if index < half:
            return self.proof(index, left) + [ledger.root_hash(right)]
        return self.proof(index - half, right) + [ledger.root_hash(left)]

    def receipt(self, index, hashes, held=None):
        extra = [] if held is None else [f"extra {b64(held)}"]
        lines = ["c2sp.org/tlog-proof@v1", *extra, f"index {index}", *map(b64, hashes), "", self.checkpoint]
        return "\n".join(lines).encode()

    def export(self, folder):
        """The whole log, as a folder that verifies alone."""
        files = {name.removeprefix("tile/"): raw for name, raw in self.shown.items() if "/entries/" in name}
        files |= {"checkpoint": self.shown["checkpoint"], "vkey": self.signer.vkey.encode()}
        size = len(self.entries)
        manifest = {"format": "unefois/export/v1", "kind": "whole", "origin": ORIGIN, "size": size, "entries": size}
        manifest |= {"root": b64(ledger.root_hash(self.leaves)), "range": {"first": 0, "end": size}}
        write_export(folder, manifest, files)


def write_export(folder, manifest, files):
    manifest["files"] = {name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()}
    raw = json.dumps(manifest).encode()
    own = {"manifest.json": raw, "manifest.sha256": f"{hashlib.sha256(raw).hexdigest()}  manifest.json\n".encode()}
    for name, raw in (files | own).items():
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        write(os.path.join(folder, name), raw)


def cut(things):
    """In pieces of a tile's width, each with its place; this log has fewer than a thousand of them."""
    for index in range(0, len(things), WIDTH):
        piece = things[index : index + WIDTH]
        yield f"{index // WIDTH:03}" + ("" if len(piece) == WIDTH else f".p/{len(piece)}"), piece


def write(path, raw):
    with open(path, "wb") as file:
        file.write(raw)


def changed(raw, at):
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def serve(shown):
    """A server of `shown`, whatever it holds at the moment."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            raw = shown.get(self.path[1:])
            kind = "text/plain; charset=utf-8" if self.path == "/checkpoint" else "application/octet-stream"
            self.send_response(200 if raw is not None else 404)
            self.send_header("content-type", kind)
            self.end_headers()
            self.wfile.write(raw or b"")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def verify(*args):
    """Runs the verifier; whether it agrees, and what it says."""
    command = [sys.executable, os.path.join(HERE, "verify_ledger.py"), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0, (done.stdout or done.stderr).strip()


def forgeries(tls, ok):
    """Every forgery is refused for its reason, where the honest log is agreed on; `tls` is an auditor's CERT KEY CA."""
    signer, witness, other = Signer(ORIGIN, 1), Signer(WITNESS, 4), Signer(WITNESS, 4)
    entries = [f"entry {n}".encode() * (1 + n % 3) for n in range(300)]
    honest, longer = Log(entries, signer, witness), Log(entries + [b"one more"], signer, witness)
    fork = Log(entries[:299] + [b"another", b"one more"], signer, witness)
    shown, text = dict(honest.shown), honest.text
    server = serve(shown)
    url = f"http://127.0.0.1:{server.server_address[1]}"

    with tempfile.TemporaryDirectory() as folder:
        seen = os.path.join(folder, "seen")
        write(seen, longer.shown["checkpoint"])
        tiles = ("tiles", url, signer.vkey, "", witness.vkey)
        bundles = ("bundles", url, signer.vkey, *tls)
        signed = lambda text, line=signer.line: f"{text}\n{line(text)}{witness.cosignature(text)}".encode()
        cosigned = lambda line: f"{text}\n{signer.line(text)}{line}".encode()
        bundle = honest.shown["tile/entries/000"]
        first, second = (len(entries[n]) + 2 for n in (0, 1))
        swapped = bundle[first : first + second] + bundle[:first] + bundle[first + second :]
        with_tile = lambda name, change: {name: change(honest.shown[name])}
        served = {
            "one byte of a tile changed": (tiles, with_tile("tile/0/000", lambda t: changed(t, 77)), "level 1"),
            "one byte of the last tile changed": (tiles, with_tile("tile/0/001.p/44", lambda t: changed(t, 77)), "root"),
            "one byte of a tile above changed": (tiles, with_tile("tile/1/000.p/1", lambda t: changed(t, 0)), "level 1"),
            "a tile cut short": (tiles, with_tile("tile/0/001.p/44", lambda t: t[:-32]), "width"),
            "a tile one byte short": (tiles, with_tile("tile/0/000", lambda t: t[:-1]), "width"),
            "a tile one hash too wide": (tiles, with_tile("tile/0/001.p/44", lambda t: t + t[:32]), "width"),
            "a tile that is away": (tiles, {"tile/0/000": None}, "404"),
            "a head that another key signed": (tiles, {"checkpoint": signed(text, Signer(ORIGIN, 1).line)}, "not signed"),
            "a head with a byte of its root changed": (
                tiles,
                {"checkpoint": honest.checkpoint.replace(text[-9:], text[-9:].swapcase(), 1).encode()},
                "valid",
            ),
            "a head of another log": (tiles, {"checkpoint": signed("example.com/other" + text[len(ORIGIN) :])}, "another log"),
            "a head of a larger size": (tiles, {"checkpoint": signed(text.replace("\n300\n", "\n301\n"))}, "404"),
            "a head of a smaller size": (tiles, {"checkpoint": signed(text.replace("\n300\n", "\n256\n"))}, "root"),
            "a size of two spellings": (tiles, {"checkpoint": signed(text.replace("\n300\n", "\n0300\n"))}, "number"),
            "no cosignature": (tiles, {"checkpoint": cosigned("")}, "not signed"),
            "another witness's cosignature": (tiles, {"checkpoint": cosigned(other.cosignature(text))}, "not signed"),
            "a cosignature of another head": (tiles, {"checkpoint": cosigned(witness.cosignature(longer.text))}, "valid"),
            "a head that goes back": ((*tiles[:3], seen, witness.vkey), {}, "went back"),
            "another history of one key": ((*tiles[:3], seen, witness.vkey), fork.shown, "continue"),
            "two entries of a bundle swapped": (bundles, {"tile/entries/000": swapped}, "entries"),
            "one byte of an entry changed": (bundles, {"tile/entries/000": changed(bundle, 3)}, "entries"),
            "an entry left out": (bundles, {"tile/entries/000": bundle[first:]}, "width"),
            "a bundle cut short": (bundles, {"tile/entries/000": bundle[:-1]}, "cut short"),
        }
        for honestly in (tiles, bundles):
            agrees, said = verify(*honestly)
            assert agrees, said
        for what, (args, forged, reason) in served.items():
            shown.clear()
            shown.update(honest.shown | forged)
            refused(what, args, reason)

        hashes = honest.proof(7)
        entry = os.path.join(folder, "entry")
        write(entry, entries[7])
        receipts = {
            "": (honest.receipt(7, hashes), ""),
            "a receipt of another place": (honest.receipt(6, hashes), "root"),
            "a receipt beyond its tree": (honest.receipt(300, hashes), "another tree"),
            "a receipt with a hash changed": (honest.receipt(7, [changed(hashes[0], 5), *hashes[1:]]), "root"),
            "a proof with a hash too many": (honest.receipt(7, [*hashes, hashes[0]]), "too long"),
            "a proof with a hash too few": (honest.receipt(7, hashes[:-1]), "too short"),
            "a proof longer than any": (honest.receipt(7, hashes * 20), "too long"),
            "a receipt under another head": (longer.receipt(7, hashes), "root"),
        }
        for what, (raw, reason) in receipts.items():
            proof = os.path.join(folder, "proof")
            write(proof, raw)
            refused(what, ("receipt", proof, entry, signer.vkey), reason)
        write(proof, receipts[""][0])
        write(entry, changed(entries[7], 2))
        refused("a receipt beside another entry", ("receipt", proof, entry, signer.vkey), "root")
        alone = {
            "": (entries[7], ""),
            "a receipt that holds another entry": (entries[6], "root"),
            "a receipt that holds nothing": (b"", "holds no entry"),
            "a receipt alone that holds no entry": (None, "holds no entry"),
        }
        for what, (held, reason) in alone.items():
            write(proof, honest.receipt(7, hashes, held))
            refused(what, ("receipt", proof, signer.vkey), reason)

        exports = exported(folder, honest, bundle, first)
        for what, (path, reason) in exports.items():
            refused(what, ("export", path, signer.vkey), reason)
        refused("an export under another key", ("export", os.path.join(folder, "honest"), other.vkey), "another kind")
    server.shutdown()
    count = len(served) + len(receipts) + len(alone) + len(exports)
    ok(f"verify_ledger.py refuses each of {count} forgeries, and agrees on the honest log")


def exported(folder, log, bundle, first):
    """The folder of an honest export, and forged ones whose digests are those of their files."""
    made = {}

    def make(name, what, reason, change):
        path = os.path.join(folder, name)
        log.export(path)
        manifest = json.loads(open(os.path.join(path, "manifest.json"), encoding="utf-8").read())
        files = {name: open(os.path.join(path, name), "rb").read() for name in manifest["files"]}
        before = set(files)
        change(manifest, files)
        for name in before - set(files):
            os.remove(os.path.join(path, name))
        write_export(path, manifest, files)
        made[what] = (path, reason)

    def narrowed(manifest, _):
        manifest.update(kind="range", range={"first": WIDTH, "end": 300}, entries=44)

    def truncated(manifest, files):
        """The last rows left out, under the tile that proves the others: of them all the manifest tells."""
        manifest.update(range={"first": 0, "end": WIDTH}, entries=WIDTH)
        del files["entries/001.p/44"]
        files["tile/0/001.p/44"] = log.shown["tile/0/001.p/44"]

    make("honest", "", "", lambda manifest, files: None)
    shorter = bundle[first:]
    make("removed", "an export without one row", "width", lambda m, f: f.update({"entries/000": shorter}))
    make("altered", "an export with a row altered", "root", lambda m, f: f.update({"entries/000": changed(bundle, 3)}))
    make("resized", "an export that tells another size", "another head", lambda m, f: m.update(size=299))
    make("narrowed", "an export of fewer rows than it tells", "tile", narrowed)
    make("truncated", "a whole export without its last rows", "every entry", truncated)
    make("stranger", "an export with a file too many", "too many", lambda m, f: None)
    write(os.path.join(folder, "stranger", "more"), b"")
    make("digest", "an export with a file changed", "was changed", lambda m, f: None)
    write(os.path.join(folder, "digest", "entries", "000"), changed(bundle, 3))
    return made


def refused(what, args, reason):
    """The verifier must refuse for `reason`; where nothing is forged it must agree."""
    agrees, said = verify(*args)
    assert agrees == (what == ""), f"{what or 'the honest one'}: {said}"
    assert reason in said, f"{what}: {said}"
