"""An auditor in Python: a producer's whole log, read and hashed anew."""

from unefois.ledger.v1 import ledger_pb2 as pb
from unefois.ledger.v1.ledger_pb2_grpc import LedgerServiceStub

import ledger

PAGE = 1_000


def audit(channel, log, entries, deadline_s):
    """The log of the directory's row `log` has the root that it signs, and holds `entries`, each once."""
    request = pb.ListEntriesRequest(origin=log["origin"], limit=PAGE)
    page = LedgerServiceStub(channel).ListEntries(request, timeout=deadline_s)
    origin, size, root = ledger.checkpoint(page.checkpoint, log["vkey"])
    assert origin == log["origin"] and size == len(page.entries)
    assert ledger.root_hash([ledger.leaf_hash(entry) for entry in page.entries]) == root
    for entry in entries:
        assert list(page.entries).count(entry) == 1
    everything = b"".join(page.entries).lower()
    assert not any(name in everything for name in (b"dubois", b"angela", b"1962"))
