//! How far a consumer was told of withdrawals.

use unefois_core::{ParticipantId, RevocationView};

use crate::{Db, Error, Tx, on, read, to_i64, to_u64};

/// The place in this authority's withdrawal log up to which the node was told all that concerns it.
///
/// # Errors
/// [`Error::Database`], [`Error::Corrupt`].
pub async fn feed_place(db: &Db, authority: &ParticipantId) -> Result<Option<RevocationView>, Error> {
    const SQL: &str = "SELECT epoch, seq FROM consumer_feed WHERE authority = $1";
    let authority = authority.to_string();
    let row = read!(db, pool => {
        sqlx::query_as::<_, (i64, i64)>(SQL).bind(&authority).fetch_optional(pool).await?
    });
    row.map(|(epoch, seq)| {
        Ok(RevocationView {
            epoch: to_u64(epoch, "consumer_feed.epoch")?,
            seq: to_u64(seq, "consumer_feed.seq")?,
        })
    })
    .transpose()
}

/// Notes how far the node was told; never less than before, whichever of two replicas is first.
///
/// # Errors
/// [`Error::Database`].
pub async fn feed_advance(
    tx: &mut Tx,
    authority: &ParticipantId,
    place: RevocationView,
) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO consumer_feed (authority, epoch, seq) VALUES ($1, $2, $3) \
         ON CONFLICT (authority) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq \
         WHERE (consumer_feed.seq, consumer_feed.epoch) < (excluded.seq, excluded.epoch)";
    let authority = authority.to_string();
    let (epoch, seq) = (to_i64(place.epoch)?, to_i64(place.seq)?);
    on!(tx, c => sqlx::query(SQL).bind(&authority).bind(epoch).bind(seq).execute(c).await.map(drop)?);
    Ok(())
}
