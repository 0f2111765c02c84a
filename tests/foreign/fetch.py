"""Python `grpcio` fetches as « lyon »: stubs made from proto/, its certificate, the tokens that openid-client got."""

import json
import os
import sys
import time
import uuid

import grpc
import yaml
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from unefois.exchange.v1 import exchange_pb2 as pb
from unefois.exchange.v1.exchange_pb2_grpc import ExchangeServiceStub

import attestation
import audit
import describe
import directory
import ledger

CNAF = "urn:unefois:participant:18003506500010"
MESR = "urn:unefois:participant:11004401300016"
LYON = "urn:unefois:participant:21690123100011"
DEADLINE_S = 60
# What the fund's own system answers of the one person that it knows, its unit `valeur` alone.
QUOTIENT = {"fournisseur": "CNAF", "valeur": 612, "annee": 2026, "mois": 11, "annee_calcul": 2026, "mois_calcul": 11}


def ok(what):
    """Says that `what` holds."""
    print("ok", what, flush=True)


def uuid7():
    """A UUID of version 7 (RFC 9562, 5.7)."""
    value = int(time.time() * 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76
    return str(uuid.UUID(int=value & ~(3 << 62) | 2 << 62))


def channel(folder, address, member):
    """A channel that shows the certificate of `member`, or none."""

    def file(*path):
        with open(os.path.join(folder, *path), "rb") as opened:
            return opened.read()

    own = {"private_key": file(member, "tls.key"), "certificate_chain": file(member, "tls.pem")} if member else {}
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(file("ca", "ca.pem"), **own))


def request(held):
    """A first request for what `held` was granted."""
    element = held["element"]
    return pb.FetchRequest(
        request_id=uuid7(),
        access_token=held["access_token"],
        pivot_jwe=held["pivot_jwe"],
        datatype=element["datatypes"][0],
        units=[unit["unit"] for unit in element["units"]],
        demarche=element["demarche"],
        dossier_ref=element["dossier_ref"],
        nonce=os.urandom(32),
    )


def fetch(stub, asked):
    """The attestation and the receipt of one call."""
    answers = list(stub.Fetch(asked, timeout=DEADLINE_S))
    assert [answer.WhichOneof("answer") for answer in answers] == ["attestation", "receipt"]
    return answers[0].attestation, answers[1].receipt


def refused(stub, asked, reason):
    """The call must be refused for `reason`, in a google.rpc.ErrorInfo of our domain."""
    try:
        fetch(stub, asked)
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)
        assert status is not None, f"{error.code()} without details: {error.details()}"
        info = error_details_pb2.ErrorInfo()
        (packed,) = [detail for detail in status.details if detail.Is(info.DESCRIPTOR)]
        packed.Unpack(info)
        assert (info.domain, info.reason) == ("unefois", reason), f"refused: {info}"
        return
    raise AssertionError(f"let through, not refused with {reason}")


def changed(asked, **fields):
    """The same request with other `fields`."""
    copy = pb.FetchRequest()
    copy.CopyFrom(asked)
    for name, value in fields.items():
        setattr(copy, name, value)
    return copy


def judge(document, producer, held, asked, answer, event):
    """Attestation and receipt of one answer: who signed, for whom, which units, and where it is logged."""
    signed, receipt = answer
    claims = attestation.verified(document, signed.sd_jwt, producer)
    assert claims["vct"] == f"urn:unefois:{asked.datatype}"
    assert claims["aud"] == LYON
    assert claims["outcome"] == "document" and signed.form == pb.ANSWER_FORM_DOCUMENT
    assert claims["exchange_id"] == asked.request_id
    days = held["element"]["data_life_days"]
    assert claims["exp"] - claims["iat"] == days * 86_400
    texts = attestation.disclosed(signed.sd_jwt)
    assert list(texts) == list(asked.units), f"disclosed: {list(texts)}"
    (log,) = directory.participant(document, producer)["logs"]
    ledger.verify(receipt.entry, receipt.proof, log)
    assert ledger.event(receipt.entry) == event
    assert ledger.request_hash(receipt.entry) == claims["request_hash"]
    return claims, texts


def head(document, producer, receipt):
    """Size and root of the producer's log, as the receipt's checkpoint has it."""
    (log,) = directory.participant(document, producer)["logs"]
    return ledger.verify(receipt.entry, receipt.proof, log)[1:]


def enrolment(folder):
    """What the ministry's own file says of the enrolment, and nothing else of it."""
    with open(os.path.join(folder, "mesr", "cases", "etudiant_dubois.yaml"), encoding="utf-8") as file:
        (admission,) = json.loads(yaml.safe_load(file)["payload"])["data"]["admissions"]
    return {name: admission[name] for name in ("date_debut", "date_fin", "est_inscrit")}


def keep(path, receipt):
    """The entry and its proof, as files."""
    with open(f"{path}.entry", "wb") as file:
        file.write(receipt.entry)
    with open(f"{path}.tlog-proof", "w", encoding="utf-8") as file:
        file.write(receipt.proof)


def main():
    """Every check; prints the attestations at the end."""
    world = json.load(sys.stdin)
    folder, producers = world["dir"], world["producers"]
    document = directory.read(os.path.join(folder, "auditor", "directory.jws"), world["pin"])
    ok("jwcrypto verifies the directory by the pinned key")

    channels = {name: channel(folder, held["address"], "lyon") for name, held in producers.items()}
    for name, one in channels.items():
        assert describe.describe(one, DEADLINE_S) == producers[name]["element"]["datatypes"]
        assert describe.serving(one, "", DEADLINE_S)
    ok("reflection alone is enough to call Describe, and both nodes say that they serve")
    stubs = {name: ExchangeServiceStub(one) for name, one in channels.items()}
    anonymous = ExchangeServiceStub(channel(folder, producers[CNAF]["address"], None))
    asked = {name: request(held) for name, held in producers.items()}
    qf = asked[CNAF]

    try:
        fetch(anonymous, qf)
        raise AssertionError("a call without a client certificate was answered")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAVAILABLE
    ok("grpcio without a client certificate gets no answer")
    stolen = ExchangeServiceStub(channel(folder, producers[CNAF]["address"], "clamart"))
    refused(stolen, qf, "TOKEN_BINDING")
    ok("a token shown with another certificate is refused (RFC 8705, 3)")
    refused(stubs[CNAF], changed(qf, access_token=producers[MESR]["access_token"]), "TOKEN_INVALID")
    ok("a token for another producer is refused")
    refused(stubs[CNAF], changed(qf, pivot_jwe=producers[MESR]["pivot_jwe"]), "TOKEN_INVALID")
    ok("another pivot than the token's is refused")
    wider = changed(qf)
    wider.units.append("composition")
    refused(stubs[CNAF], wider, "UNIT_NOT_GRANTED")
    ok("a unit that the person did not tick is refused")

    answers = {name: fetch(stub, asked[name]) for name, stub in stubs.items()}
    ok("grpcio fetches from both producers")
    judged = {
        name: judge(document, name, producers[name], asked[name], answer, "released")
        for name, answer in answers.items()
    }
    ok("sd-jwt verifies both attestations by the seal keys of the directory")
    assert judged[CNAF][0]["valeur"] == {"quotient_familial": QUOTIENT}
    assert judged[MESR][0]["inscription"] == {"admissions": [enrolment(folder)]}
    ok("what is disclosed is the source's, in the units of the token and no further")
    ok("both receipts prove, under the logs' keys of the directory, that the exchange is logged")

    refused(stubs[CNAF], request(world["ended"]), "GRANT_REVOKED")
    ok("a token minted before its grant was given back is refused")
    refused(stubs[CNAF], changed(qf, request_id=uuid7(), nonce=os.urandom(32)), "TOKEN_CONSUMED")
    ok("a one-shot handle serves one request")
    refused(stubs[CNAF], changed(qf, nonce=os.urandom(32)), "RETRY_MISMATCH")
    ok("the same request id with another content is refused")
    (log,) = directory.participant(document, CNAF)["logs"]
    size, root = head(document, CNAF, answers[CNAF][1])
    again = fetch(stubs[CNAF], changed(qf, known_origin=log["origin"], known_size=size))
    claims, texts = judge(document, CNAF, producers[CNAF], qf, again, "released_again")
    assert texts == judged[CNAF][1] and claims["request_hash"] == judged[CNAF][0]["request_hash"]
    ok("the same request is answered again, with the same content, and logged so")
    assert ledger.extends(size, root, *head(document, CNAF, again[1]), again[1].consistency)
    ok("the second receipt proves that the log only grew since the first")

    entries = [receipt.entry for _, receipt in (answers[CNAF], again)]
    audit.audit(channel(folder, producers[CNAF]["address"], "auditor"), log, entries, DEADLINE_S)
    ok("an auditor reads the producer's whole log, whose root is the signed one, and nobody's name is in it")

    for name, (_, receipt) in answers.items():
        keep(os.path.join(folder, "lyon", "cnaf" if name == CNAF else "mesr"), receipt)
    print(json.dumps({name: signed.sd_jwt for name, (signed, _) in answers.items()}))


if __name__ == "__main__":
    main()
