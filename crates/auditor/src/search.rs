//! A search of a log, page by page, of which a row is shown only once it is proved.

use std::ops::{ControlFlow, Range};

use tonic::transport::Channel;
use unefois_core::EntryFilter;
use unefois_proto::pb::ledger::v1 as pb;
use unefois_proto::pb::ledger::v1::ledger_service_client::LedgerServiceClient;
use unefois_tlog::{Origin, SignedCheckpoint, VerifierKey};

use crate::head::{check_growth, head_of, present_head};
use crate::rows::{MAX_ANSWER_BYTES, MAX_ROWS, proved};
use crate::{Error, KnownHead, Row};

/// What is looked for, and in which log.
#[derive(Clone, Debug)]
pub struct Search<'a> {
    /// The log.
    pub origin: &'a Origin,
    /// The key that must have signed its head.
    pub key: &'a VerifierKey,
    /// A head that it must continue.
    pub known: Option<KnownHead>,
    /// Which entries.
    pub filter: &'a EntryFilter,
    /// Whether the latest come first.
    pub newest_first: bool,
    /// How many rows at most.
    pub limit: u64,
    /// The size of the log that is searched; `None` for the present head.
    pub size: Option<u64>,
    /// Why, as the log records it; may be empty.
    pub purpose: &'a str,
}

/// What a search came to.
///
/// It proves that the rows shown are in the log. Whether the log left one out, only a reading of every entry tells.
#[derive(Clone, Debug)]
pub struct Searched {
    /// The head of every page.
    pub head: KnownHead,
    /// The same as the log signed it.
    pub checkpoint: SignedCheckpoint,
    /// How many rows were shown.
    pub rows: u64,
    /// The places that the log says it looked at.
    pub looked: Range<u64>,
    /// Whether the log says that there is no more.
    pub ended: bool,
}

/// Searches a log and shows each row once it is seen to be under the signed head, to be what was asked for, and to come
/// in its order and once.
///
/// `show` may end it early; `looked` is told after each page with the places looked at so far.
///
/// # Errors
/// The first thing that does not hold; the rows shown before it hold.
pub async fn search(
    channel: Channel,
    search: &Search<'_>,
    mut show: impl FnMut(Row) -> ControlFlow<()>,
    mut looked: impl FnMut(&Range<u64>),
) -> Result<Searched, Error> {
    let mut client = LedgerServiceClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
    let mut page = match client.search(first_page(search)).await {
        Ok(page) => page.into_inner(),
        Err(refused) => {
            // A log that was rolled back refuses a size that it does not reach any more.
            if search.known.is_some() {
                present_head(channel, search.origin, search.key, search.known).await?;
            }
            return Err(refused.into());
        }
    };
    let (checkpoint, head) = head_of(&page.checkpoint, search.origin, search.key)?;
    if search.size.is_some_and(|size| size != head.size) {
        return Err(Error::MovingHead {
            wanted: search.size.unwrap_or_default(),
            got: head.size,
        });
    }
    if let Some(known) = search.known {
        check_growth(&page.consistency, known, &head)?;
    }
    let mut done = Searched {
        head: KnownHead::from(&head),
        checkpoint,
        rows: 0,
        looked: page.looked_first..page.looked_end,
        ended: false,
    };
    let mut last = None;
    loop {
        let (_, again) = head_of(&page.checkpoint, search.origin, search.key)?;
        if again.size != head.size || again.root != head.root {
            return Err(Error::MovingHead {
                wanted: head.size,
                got: again.size,
            });
        }
        for row in proved(page.rows, &page.proof, &head)? {
            let told_peer = search
                .filter
                .peer
                .is_none_or(|peer| peer.matches(row.entry.event, row.acknowledged == Some(true)));
            if !told_peer || !search.filter.matches(row.index, &row.entry) {
                return Err(Error::NotAskedFor { index: row.index });
            }
            let follows = last.is_none_or(|last| match search.newest_first {
                true => row.index < last,
                false => row.index > last,
            });
            if !follows {
                return Err(Error::OutOfOrder { index: row.index });
            }
            last = Some(row.index);
            done.rows += 1;
            let enough = done.rows == search.limit;
            if show(row).is_break() || enough {
                done.looked = page.looked_first..page.looked_end;
                done.ended = enough && page.cursor.is_empty();
                return Ok(done);
            }
        }
        done.looked = page.looked_first..page.looked_end;
        looked(&done.looked);
        done.ended = page.cursor.is_empty();
        if done.ended {
            return Ok(done);
        }
        let next = pb::SearchRequest {
            limit: rows_wanted(search.limit - done.rows),
            cursor: page.cursor,
            ..pb::SearchRequest::default()
        };
        page = client.search(next).await?.into_inner();
        // A page that looked at nothing more would be asked for again for ever.
        if page.looked_end.abs_diff(page.looked_first) <= done.looked.end.abs_diff(done.looked.start) {
            return Err(Error::NoProgress);
        }
    }
}

fn first_page(search: &Search<'_>) -> pb::SearchRequest {
    let order = match search.newest_first {
        true => pb::Order::NewestFirst,
        false => pb::Order::OldestFirst,
    };
    pb::SearchRequest {
        origin: search.origin.as_str().to_owned(),
        filter: Some(search.filter.into()),
        order: order.into(),
        limit: rows_wanted(search.limit),
        size: search.size.unwrap_or_default(),
        known_size: search.known.map_or(0, |known| known.size),
        purpose: search.purpose.to_owned(),
        cursor: Vec::new(),
    }
}

fn rows_wanted(left: u64) -> u32 {
    let most = MAX_ROWS as u64;
    u32::try_from(left.clamp(1, most)).unwrap_or(u32::MAX)
}

/// Entries by their places, each seen to be under the signed head.
///
/// # Errors
/// The first thing that does not hold.
pub async fn entries_at(
    channel: Channel,
    search: &Search<'_>,
    places: &[u64],
) -> Result<(Vec<Row>, SignedCheckpoint, Option<String>), Error> {
    let mut client = LedgerServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
    let asked = pb::GetProofRequest {
        origin: search.origin.as_str().to_owned(),
        indexes: places.to_vec(),
        size: search.size.unwrap_or_default(),
        known_size: search.known.map_or(0, |known| known.size),
        purpose: search.purpose.to_owned(),
    };
    let answer = client.get_proof(asked).await?.into_inner();
    let (checkpoint, head) = head_of(&answer.checkpoint, search.origin, search.key)?;
    if search.size.is_some_and(|size| size != head.size) {
        return Err(Error::MovingHead {
            wanted: search.size.unwrap_or_default(),
            got: head.size,
        });
    }
    if let Some(known) = search.known {
        check_growth(&answer.consistency, known, &head)?;
    }
    let rows = proved(answer.rows, &answer.proof, &head)?;
    if !rows.iter().map(|row| row.index).eq(places.iter().copied()) {
        return Err(Error::Count {
            wanted: places.len() as u64,
            got: rows.len() as u64,
        });
    }
    let receipt = (!answer.receipt.is_empty()).then_some(answer.receipt);
    Ok((rows, checkpoint, receipt))
}
