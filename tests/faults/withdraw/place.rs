//! Where a process of the run is, and how it is started there.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use unefois::demo::world::{Member, Ports, World};

use super::server::{Recipe, Server};
use super::stage::{Role, loopback};

/// What sets the wall clock of a process wrong, where it is installed.
pub(crate) const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Where a process may run, and what runs there.
pub(crate) struct Place {
    recipe: Recipe,
    /// Where it listens.
    pub(crate) at: SocketAddr,
    pub(crate) server: Option<Server>,
    /// Whether what runs there waits for its turn.
    pub(crate) waits: bool,
}

impl Place {
    pub(crate) const fn new(recipe: Recipe, at: SocketAddr) -> Self {
        Self {
            recipe,
            at,
            server: None,
            waits: false,
        }
    }

    /// Starts its process, which does not run; one of the authority takes the epoch, or `waits` for it.
    pub(crate) fn start(&mut self, waits: bool) -> anyhow::Result<()> {
        ensure!(self.server.is_none(), "it runs");
        let mut recipe = self.recipe.clone();
        if waits {
            let standby = ("UNEFOIS__AUTHORITY__STANDBY", "true");
            recipe
                .variables
                .push((standby.0.to_owned(), standby.1.to_owned()));
        }
        (self.server, self.waits) = (Some(Server::start(&recipe)?), waits);
        Ok(())
    }

    /// What runs there.
    pub(crate) fn running(&mut self) -> anyhow::Result<&mut Server> {
        self.server.as_mut().context("it does not run")
    }

    /// What ran there has ended.
    pub(crate) fn clear(&mut self) {
        self.server = None;
    }

    /// Kills what runs there.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.server.take().context("it does not run")?.kill()
    }
}

/// How `member` is started from its file, on this database.
pub(crate) fn recipe(world: &World, member: Member, program: &Path, database: &str) -> Recipe {
    let folder = world.folder(member.name());
    Recipe {
        command: vec![program.into()],
        role: member.role(),
        config: world.file(member),
        variables: [
            ("UNEFOIS__DATABASE__URL", database),
            // One consumer of the run stands for many.
            ("UNEFOIS__LIMITS__CONNECTIONS_PER_PEER", "1024"),
            ("UNEFOIS__LIMITS__CONNECTIONS_PER_ADDRESS", "1024"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        probe: loopback(world.ports.admin(member)),
        log: folder.join("log"),
    }
}

/// The authority's second place: one database, keys and directory, with addresses and an anchor of its own.
pub(crate) fn beside(world: &World, ports: &Ports, authority: &Recipe) -> (Recipe, SocketAddr) {
    let (at, probe) = (
        loopback(ports.authority),
        loopback(ports.admin(Member::Authority)),
    );
    let folder = world.folder(Member::Authority.name());
    let mut recipe = authority.clone();
    recipe.variables.extend(
        [
            ("UNEFOIS__LISTEN__MESH", at.to_string()),
            ("UNEFOIS__LISTEN__PORTAL", loopback(ports.portal).to_string()),
            (
                "UNEFOIS__PUBLIC__LISTEN",
                loopback(ports.public(Member::Authority)).to_string(),
            ),
            ("UNEFOIS__ADMIN__LISTEN", probe.to_string()),
            (
                "UNEFOIS__LEDGER__ANCHOR",
                folder.join("second.anchor").display().to_string(),
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    (recipe.probe, recipe.log) = (probe, folder.join("second.log"));
    (recipe, at)
}

/// The file that says how wrong the wall clock of a role is.
pub(crate) fn clock(folder: &Path, role: Role) -> PathBuf {
    folder.join(match role {
        Role::Authority => "authority.clock",
        Role::Producer => "producer.clock",
    })
}

/// Reads the wall clock's error from `file`, again each second; every other clock stays true.
pub(crate) fn faketime(file: &Path) -> Vec<(String, String)> {
    let file = file.display().to_string();
    [
        ("LD_PRELOAD", FAKETIME),
        ("FAKETIME_TIMESTAMP_FILE", &file),
        ("FAKETIME_CACHE_DURATION", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_DISABLE_SHM", "1"),
        ("NO_FAKE_STAT", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}
