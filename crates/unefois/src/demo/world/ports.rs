//! The processes of the demonstration, and where each listens.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{AUTHORITY, CLAMART, CNAF, DGFIP, MESR};

/// The ports that worlds listen on.
const FIRST_PORT: u32 = 20_000;
const PORTS: u32 = 12_000;
/// How many a world takes: the first one is held as long as there is the world.
const EACH: u32 = 20;

/// Where everything listens, on loopback.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// The authority, mesh.
    pub authority: u16,
    /// The authority, portal.
    pub portal: u16,
    /// The CNAF's node.
    pub cnaf: u16,
    /// The ministry's node.
    pub mesr: u16,
    /// The commune's node.
    pub clamart: u16,
    /// The tax authority's node.
    pub dgfip: u16,
    /// The identity providers, all three.
    pub idp: u16,
    /// The HTTP API behind the CNAF's node.
    pub backend: u16,
    /// Probes and metrics of each process, by [`Member`].
    admin: [u16; 5],
    /// What anybody may check of each process's ledger, by [`Member`].
    public: [u16; 5],
}

/// A process of the demonstration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// The authority.
    Authority,
    /// The CNAF's node.
    Cnaf,
    /// The ministry's node.
    Mesr,
    /// The commune's node.
    Clamart,
    /// The tax authority's node.
    Dgfip,
}

impl Member {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Authority,
        Self::Cnaf,
        Self::Mesr,
        Self::Clamart,
        Self::Dgfip,
    ];

    /// The participant.
    pub const fn participant(self) -> &'static str {
        match self {
            Self::Authority => AUTHORITY,
            Self::Cnaf => CNAF,
            Self::Mesr => MESR,
            Self::Clamart => CLAMART,
            Self::Dgfip => DGFIP,
        }
    }

    /// The two others that cosign its ledger.
    pub const fn witnesses(self) -> [Self; 2] {
        match self {
            Self::Authority => [Self::Cnaf, Self::Mesr],
            Self::Cnaf => [Self::Mesr, Self::Clamart],
            Self::Mesr => [Self::Clamart, Self::Authority],
            Self::Clamart => [Self::Authority, Self::Cnaf],
            Self::Dgfip => [Self::Mesr, Self::Authority],
        }
    }

    /// The name of its folder.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Cnaf => "cnaf",
            Self::Mesr => "mesr",
            Self::Clamart => "clamart",
            Self::Dgfip => "dgfip",
        }
    }

    /// What it serves, as the command line and its file are named.
    pub const fn role(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Cnaf | Self::Mesr | Self::Clamart | Self::Dgfip => "node",
        }
    }
}

impl Ports {
    /// Ports that nobody uses, below those that the system gives to outgoing connections. No other world takes them as
    /// long as the listener that comes with them is kept, whether they are listened on or not.
    ///
    /// # Errors
    /// Loopback has none left.
    pub fn free() -> std::io::Result<(Self, TcpListener)> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let open = |port: u32| {
            let port = u16::try_from(port).unwrap_or(0);
            TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        };
        for _ in 0..PORTS / EACH {
            // Another process begins elsewhere.
            let n = NEXT
                .fetch_add(1, Ordering::Relaxed)
                .wrapping_add(std::process::id());
            let first = FIRST_PORT + n % (PORTS / EACH) * EACH;
            let Ok(guard) = open(first) else { continue };
            let others: Result<Vec<TcpListener>, _> = (first + 1..first + EACH).map(open).collect();
            if others.is_err() {
                continue;
            }
            let first = guard.local_addr()?.port();
            let port = |n: u16| first + n;
            let ports = Self {
                authority: port(1),
                portal: port(2),
                cnaf: port(3),
                mesr: port(4),
                clamart: port(5),
                idp: port(6),
                backend: port(7),
                dgfip: port(8),
                admin: [port(9), port(10), port(11), port(12), port(13)],
                public: [port(14), port(15), port(16), port(17), port(18)],
            };
            return Ok((ports, guard));
        }
        Err(std::io::ErrorKind::AddrInUse.into())
    }

    /// Probes and metrics of this process.
    pub const fn admin(&self, member: Member) -> u16 {
        self.admin[member as usize]
    }

    /// What anybody may check of this process's ledger.
    pub const fn public(&self, member: Member) -> u16 {
        self.public[member as usize]
    }
}
