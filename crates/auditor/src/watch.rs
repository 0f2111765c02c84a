//! A log as it grows: rows shown as they are committed, each proved, under heads that continue each other.

use std::ops::ControlFlow;

use tonic::transport::Channel;
use unefois_proto::pb::ledger::v1 as pb;
use unefois_proto::pb::ledger::v1::ledger_service_client::LedgerServiceClient;

use crate::head::{check_growth, head_of};
use crate::rows::{MAX_ANSWER_BYTES, proved};
use crate::{Error, KnownHead, Row, Search};

/// Shows the rows of `search` as they are committed, from place `from` on, or from now on. It ends when `show` says so,
/// or with an error: the one with which the log ended the watch, or the first thing that does not hold.
///
/// `seen` is told each head, once it is seen to continue the one before. The order and the limit of `search` do not
/// matter here.
///
/// # Errors
/// As said.
pub async fn watch(
    channel: Channel,
    search: &Search<'_>,
    from: Option<u64>,
    mut show: impl FnMut(Row) -> ControlFlow<()>,
    mut seen: impl FnMut(KnownHead, u64),
) -> Result<(), Error> {
    let mut client = LedgerServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
    let asked = pb::WatchRequest {
        origin: search.origin.as_str().to_owned(),
        filter: Some(search.filter.into()),
        from,
        known_size: search.known.map_or(0, |known| known.size),
        purpose: search.purpose.to_owned(),
    };
    let mut told = client.watch(asked).await?.into_inner();
    let (mut known, mut last) = (search.known, None);
    while let Some(message) = told.message().await? {
        let (_, head) = head_of(&message.checkpoint, search.origin, search.key)?;
        if let Some(known) = known {
            check_growth(&message.consistency, known, &head)?;
        }
        known = Some(KnownHead::from(&head));
        for row in proved(message.rows, &message.proof, &head)? {
            if !search.filter.matches(row.index, &row.entry) || from.is_some_and(|from| row.index < from) {
                return Err(Error::NotAskedFor { index: row.index });
            }
            if last.is_some_and(|last| last >= row.index) {
                return Err(Error::OutOfOrder { index: row.index });
            }
            last = Some(row.index);
            if show(row).is_break() {
                return Ok(());
            }
        }
        seen(KnownHead::from(&head), message.looked_end);
    }
    Err(Error::NoProgress)
}
