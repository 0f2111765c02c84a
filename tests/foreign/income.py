"""Python `grpcio` fetches the reference tax income under a token of a login at eidas2."""

import base64
import json
import os
import sys

from unefois.exchange.v1.exchange_pb2_grpc import ExchangeServiceStub

import directory
import fetch

DGFIP = "urn:unefois:participant:13000495500014"


def claims(token):
    """The claims of a token, unverified."""
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def main():
    """Every check."""
    world = json.load(sys.stdin)
    folder, held = world["dir"], world["held"]
    document = directory.read(os.path.join(folder, "auditor", "directory.jws"), world["pin"])
    token = claims(held["access_token"])
    assert (token["acr"], token["idp_iss"]) == ("eidas2", world["issuer"]), token["acr"]
    fetch.ok("the token says eidas2, and that the foreign FranceConnect+ said so")

    stub = ExchangeServiceStub(fetch.channel(folder, world["address"], "lyon"))
    asked = fetch.request(held)
    wider = fetch.changed(asked)
    wider.units.append("foyer")
    fetch.refused(stub, wider, "UNIT_NOT_GRANTED")
    fetch.ok("the household's other data, which nobody ticked, is refused")
    judged, _ = fetch.judge(document, DGFIP, held, asked, fetch.fetch(stub, asked), "released")
    (situation,) = judged["revenu"]["situations"]
    assert situation["rfr"] == 21450 and not {"nbPart", "sitFam", "pac", "impotNet"} & set(situation), situation
    fetch.ok("grpcio fetches the reference tax income, and nothing of the household but it")


if __name__ == "__main__":
    main()
