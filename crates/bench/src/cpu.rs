//! CPU time of this process and of the database server's processes.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

/// Linux tells CPU time in hundredths of a second, whatever the kernel's own clock (proc_pid_stat(5), USER_HZ).
const TICK_US: u64 = 10_000;

/// CPU time spent so far, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    /// By this process.
    pub(crate) own: u64,
    /// By the server, all its processes; `None` where it is not this machine's.
    pub(crate) server: Option<u64>,
}

impl Cpu {
    /// Reads it; `server` is the process that the server's others are children of.
    pub(crate) fn now(server: Option<u32>) -> Self {
        Self {
            own: own(),
            server: server.map(of_server),
        }
    }

    /// What was spent since `start`, by all.
    pub(crate) fn since(self, start: Self) -> u64 {
        self.own_since(start) + self.server.unwrap_or(0).saturating_sub(start.server.unwrap_or(0))
    }

    /// What this process spent since `start`.
    pub(crate) const fn own_since(self, start: Self) -> u64 {
        self.own.saturating_sub(start.own)
    }
}

/// To the microsecond: a kernel that samples counts no tick of what runs in short bursts.
fn own() -> u64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let micros = spent.tv_sec * 1_000_000 + spent.tv_nsec / 1_000;
    micros.unsigned_abs()
}

struct Stat {
    parent: u32,
    own: u64,
    /// By children that ended.
    ended: u64,
}

fn stat(pid: &str) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before the last parenthesis may hold anything.
    let fields: Vec<u64> = text
        .rsplit_once(')')?
        .1
        .split_ascii_whitespace()
        .skip(1)
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let ticks = |a: usize, b: usize| Some((fields.get(a)? + fields.get(b)?) * TICK_US);
    Some(Stat {
        parent: u32::try_from(*fields.first()?).ok()?,
        own: ticks(10, 11)?,
        ended: ticks(12, 13)?,
    })
}

fn of_server(server: u32) -> u64 {
    let mut total = stat(&server.to_string()).map_or(0, |stat| stat.own + stat.ended);
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().filter(|name| name.parse::<u32>().is_ok()) else {
            continue;
        };
        total += stat(pid)
            .filter(|stat| stat.parent == server)
            .map_or(0, |stat| stat.own);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_and_its_parent_are_read() {
        let stat = stat("self").expect("a Linux process");
        assert_eq!(stat.parent, std::os::unix::process::parent_id());
        let now = Cpu::now(None);
        assert!(now.server.is_none() && now.own > 0);
    }
}
