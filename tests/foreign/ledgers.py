"""What anybody, and what an auditor, may check of every ledger: verify_ledger.py against the running demonstration."""

import json
import os
import subprocess
import sys
import time

import directory
from forged import forgeries, verify

# The first head is published with a log's first entry, the next one ten seconds later.
PUBLISHED_WITHIN_S = 15


def ok(what):
    """Says that `what` holds."""
    print("ok", what, flush=True)


def agreed(*args):
    """On how many proofs the verifier agrees."""
    agrees, said = verify(*args)
    assert agrees, f"{args[0]}: {said}"
    return int(said.split()[2])


def export(world, participant, name, form):
    """The folder of an export that the program made."""
    folder = world["dir"]
    out = os.path.join(folder, "auditor", f"{name}.export")
    files = {"cert": "auditor/tls.pem", "key": "auditor/tls.key", "authorities": "ca/ca.pem", "crls": "ca/ca.crl"}
    files |= {"directory": "auditor/directory.jws", "catalogue": "auditor/catalogue.bin"}
    own = [part for option, path in files.items() for part in (f"--{option}", os.path.join(folder, path))]
    command = [os.environ["UNEFOIS"], "audit", "export", participant, "--format", "bundle", "--out", out]
    done = subprocess.run(
        [*command, "--pin", world["pin"], *own, *form], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return out


def main():
    """Every check; prints one line for each."""
    world = json.load(sys.stdin)
    folder = world["dir"]
    document = directory.read(os.path.join(folder, "auditor", "directory.jws"), world["pin"])
    keys = {row["id"]: row["logs"][0]["vkey"] for row in document["participants"]}
    tls = tuple(os.path.join(folder, *name.split("/")) for name in ("auditor/tls.pem", "auditor/tls.key", "ca/ca.pem"))
    members = world["members"]

    def tiles(name):
        member = members[name]
        seen = os.path.join(folder, "auditor", f"{name}.head")
        return agreed("tiles", world["public"][name], keys[member["id"]], seen, *member["witnesses"])

    def size(name):
        with open(os.path.join(folder, "auditor", f"{name}.head"), encoding="utf-8") as file:
            return int(file.read().split("\n")[1])

    logs = ("authority", "cnaf", "mesr")
    proofs = sum(tiles(name) for name in logs)
    ok(f"without a certificate: {len(logs)} public ledgers, each cosigned by two others, agreed on {proofs} proofs")

    proofs = 0
    for name in logs:
        address = world[name] if name == "authority" else f"https://{world[name]}"
        proofs += agreed("bundles", address, keys[members[name]["id"]], *tls)
    ok(f"with an auditor's: the entries of each hash to its tiles and its signed root, agreed on {proofs} proofs")
    lyon = tuple(os.path.join(folder, "lyon", name) for name in ("tls.pem", "tls.key"))
    agrees, said = verify("bundles", f"https://{world['cnaf']}", keys[members["cnaf"]["id"]], *lyon, tls[2])
    assert not agrees and "403 NOT_ENTITLED" in said, said
    ok("a participant's certificate reads no entry")

    for name in ("cnaf", "mesr"):
        receipt = os.path.join(folder, "lyon", name)
        agreed("receipt", f"{receipt}.tlog-proof", f"{receipt}.entry", keys[members[name]["id"]])
    ok("the receipts of both fetches prove their entries, agreed on 2 proofs")

    proofs = 0
    for name, form in (("cnaf", []), ("mesr", ["--event", "released"])):
        proofs += agreed("export", export(world, members[name]["id"], name, form), keys[members[name]["id"]])
    ok(f"a whole export and a filtered one verify alone, agreed on {proofs} proofs")

    before, until = size("authority"), time.monotonic() + PUBLISHED_WITHIN_S
    while True:
        proofs = tiles("authority")
        if size("authority") > before:
            break
        assert time.monotonic() < until, "no later head is published"
        time.sleep(0.2)
    ok(f"the next head published continues the one before, agreed on {proofs} proofs")

    forgeries(tls, ok)


if __name__ == "__main__":
    main()
