//! What an auditor finds in both ledgers while their processes still serve: `audit check-withdrawals`.

use std::fmt;
use std::time::Duration;

use anyhow::ensure;
use unefois::command::audit::{Heads, Reader, check_withdrawals};
use unefois::console::{Console, Lang};
use unefois::demo::world::World;
use unefois_core::Clock as _;
use unefois_mesh::SystemClock;

/// What could not be logged in its time is logged within a minute.
const LOGGED_WITHIN_MS: i64 = 100_000;

/// How many wrong ones are shown of a world.
const SHOWN: usize = 5;

/// The counts.
#[derive(Debug, Default)]
pub(crate) struct Audited {
    withdrawals: usize,
    /// Those of which every release that there is was seen to be early enough.
    proved: usize,
    /// Releases that came too late: nothing was, so each is a fault or a false alarm.
    late: usize,
    /// Proofs that do not hold.
    broken: usize,
    /// Those that the ledgers do not tell of.
    not_judged: usize,
    /// Some of what is wrong.
    wrong: Vec<String>,
}

impl Audited {
    pub(crate) const fn hold(&self) -> bool {
        self.late == 0 && self.broken == 0 && self.not_judged == 0
    }

    /// Whether so many withdrawals were looked at.
    pub(crate) const fn is_of(&self, withdrawals: usize) -> bool {
        self.withdrawals >= withdrawals
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.withdrawals += other.withdrawals;
        self.proved += other.proved;
        self.late += other.late;
        self.broken += other.broken;
        self.not_judged += other.not_judged;
        self.wrong.extend(other.wrong);
    }
}

impl fmt::Display for Audited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "  audit check-withdrawals: {} withdrawals, {} proved, {} late releases, {} broken proofs, {} not judged",
            self.withdrawals, self.proved, self.late, self.broken, self.not_judged
        )?;
        self.wrong.iter().try_for_each(|wrong| write!(f, "\n    {wrong}"))
    }
}

/// Checks every withdrawal, once so many have their entries: those of an authority that was killed come later.
pub(crate) async fn audit(world: &World, withdrawals: usize) -> anyhow::Result<Audited> {
    let (folder, ca) = (world.folder("auditor"), world.folder("ca"));
    let reader = Reader {
        cert: folder.join("tls.pem"),
        key: folder.join("tls.key"),
        authorities: ca.join("ca.pem"),
        crls: ca.join("ca.crl"),
        directory: folder.join("directory.jws"),
        catalogue: folder.join("catalogue.bin"),
        pin: world.pin.to_string(),
    };
    let console = Console {
        json: true,
        lang: Lang::Fr,
    };
    let mut look = tokio::time::interval(Duration::from_secs(2));
    let by = SystemClock.boottime().plus_ms(LOGGED_WITHIN_MS);
    let report = loop {
        look.tick().await;
        let report = check_withdrawals(&reader, "faults", &mut Heads::default(), console).await?;
        if report.pending.is_empty() && report.withdrawals.len() >= withdrawals {
            break report;
        }
        let late = SystemClock.boottime() > by;
        ensure!(
            !late,
            "{} withdrawals of {withdrawals} have their entries, without « effective »: {:?}",
            report.withdrawals.len(),
            report.pending
        );
    };
    let wrong = report.withdrawals.iter();
    let wrong = wrong.filter(|judged| !judged.late.is_empty() || !judged.faults.is_empty());
    Ok(Audited {
        withdrawals: report.withdrawals.len(),
        proved: report.count(unefois_auditor::withdrawals::Judged::is_proved),
        late: report.closed.len()
            + report
                .withdrawals
                .iter()
                .map(|judged| judged.late.len())
                .sum::<usize>(),
        broken: report.count(|judged| !judged.faults.is_empty()),
        not_judged: report.count(|judged| judged.not_judged.is_some()),
        wrong: wrong.take(SHOWN).map(|judged| format!("{judged:?}")).collect(),
    })
}
