//! The grants of a run: one that a person gives in the portal, and copies of it that the store writes, a handle each.

use std::sync::Arc;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use unefois::demo::asker::Asker;
use unefois::demo::browser::Browser;
use unefois::demo::process::Process;
use unefois::demo::script::Script;
use unefois::demo::stage::Props;
use unefois::demo::world::{MESR, Member, World};
use unefois_core::{AuthorizationDetails, Clock as _, Handle, Random, Sha256};
use unefois_mesh::{SystemClock, SystemRandom};
use unefois_store::authority::GrantId;
use unefois_store::authority::grant::{
    Element, Grant, GrantRow, grant_insert, grant_of_handle, refresh_insert,
};
use unefois_store::{Component, Db};

use super::READY_WITHIN;
use super::server::{Recipe, Server};

/// How long an element that serves once may be used.
const ONCE_MS: i64 = 75 * 60_000;
/// Grants of one transaction.
const TOGETHER: usize = 500;

/// One grant with one handle, and what leads to it.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) grant: [u8; 16],
    pub(crate) handle: Handle,
    pub(crate) refresh_token: String,
}

/// Has a person give a grant to the commune, then writes `count` more like it; nothing runs when it returns.
pub(crate) async fn give(
    world: &World,
    authority: &Recipe,
    database: &str,
    clamart: &str,
    count: usize,
) -> anyhow::Result<Vec<Given>> {
    let handle = ask(world, authority, clamart).await?;
    let db = Db::open(database, Component::Authority).await?;
    let row = grant_of_handle(&db, &handle)
        .await?
        .context("the grant was not written")?;
    let mut given = Vec::with_capacity(count);
    while given.len() < count {
        let mut tx = db.begin().await?;
        for _ in 0..TOGETHER.min(count - given.len()) {
            let (grant, element) = copy(&row)?;
            let one = Given {
                grant: *grant.id.as_bytes(),
                handle: element.handle,
                refresh_token: URL_SAFE_NO_PAD.encode((&SystemRandom::new() as &dyn Random).bytes::<32>()),
            };
            grant_insert(&mut tx, &grant, &[element]).await?;
            let hash = Sha256::of(one.refresh_token.as_bytes());
            refresh_insert(&mut tx, &hash, &grant.id, &grant.client, grant.ends_at).await?;
            given.push(one);
        }
        tx.commit().await?;
    }
    db.close().await;
    Ok(given)
}

/// One grant through portal and back-office; the handle at the ministry.
async fn ask(world: &World, authority: &Recipe, clamart: &str) -> anyhow::Result<Handle> {
    let script = Arc::new(Script::default());
    let props = Props::raise(world, &script).await?;
    let mut authority = Server::start(authority)?;
    authority.ready().await?;
    let program = std::env::current_exe()?;
    let database = [("UNEFOIS__DATABASE__URL", clamart)];
    let mut node = Process::start(&program, world, Member::Clamart, &database)?;
    node.ready(READY_WITHIN).await?;
    let (grant, _) = Asker::new(world, script, Browser::default())
        .authorize("2026-0412")
        .await?;
    node.stop().await?;
    authority.stop().await?;
    props.lower().await;
    let element = grant.elements.into_iter().find(|e| e.producer == MESR);
    Ok(element
        .context("the ministry's element was not granted")?
        .handle
        .parse()?)
}

fn copy(row: &GrantRow) -> anyhow::Result<(Grant, Element)> {
    let (now, random) = (SystemClock.now(), SystemRandom::new());
    let element = row.elements.first().context("an element")?;
    let handle = Handle::draw(now, &random);
    let mut details: AuthorizationDetails = serde_json::from_str(&element.details)?;
    details.gh = Some(handle);
    let grant = Grant {
        id: GrantId::from_bytes((&random as &dyn Random).bytes()),
        granted_at: now,
        ends_at: now.plus_ms(ONCE_MS),
        ..row.grant.clone()
    };
    let element = Element {
        handle,
        details: serde_json::to_string(&details)?,
        left_out: element.left_out.clone(),
        withdrawn: None,
        followed_by: None,
    };
    Ok((grant, element))
}
