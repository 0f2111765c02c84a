//! The producer behind a router, each in a network namespace of its own: what the router drops has vanished, and neither
//! end hears of it.
//!
//! ```text
//! this namespace ── router ── the producer's          its connection to the authority; cut in the router
//!        └───────────────────────┘                    consumers, on a wire that is never cut
//! ```
//! Nothing of it has a name outside this process, and it ends with it, however that ends.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, ensure};

/// Holds a namespace until its standard input closes, then ends what runs in it, and its wires: the namespace stays as long
/// as the kernel tries to close its connections. `$1` are its hosts, if they are its own.
const HOLD: &str = r#"
    trap '' INT HUP
    if [ -n "$1" ]; then mount --bind "$1" /etc/hosts || exit 1; fi
    ip link set lo up && echo 1 >/proc/sys/net/ipv4/ip_forward || exit 1
    echo held
    cat >/dev/null
    here=$(readlink /proc/self/ns/net)
    for process in /proc/[0-9]*; do
        [ "$(readlink $process/ns/net)" = "$here" ] && [ ${process#/proc/} != $$ ] && kill -KILL ${process#/proc/}
    done 2>/dev/null
    for wire in authority producer router consumers; do ip link del $wire 2>/dev/null; done
"#;

/// Addresses that no network has (RFC 2544, for tests within one), 16 a net.
const FIRST: u32 = u32::from_be_bytes([198, 18, 0, 0]);
const NETS: u32 = 8_192;

/// A network namespace, for as long as this is there.
#[derive(Debug)]
struct Namespace {
    holder: Child,
}

impl Namespace {
    fn open(hosts: Option<&Path>) -> anyhow::Result<Self> {
        let mut holder = Command::new("unshare")
            .args(["--net", "--mount", "sh", "-c", HOLD, "sh"])
            .arg(hosts.unwrap_or(Path::new("")))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("unshare is needed")?;
        let mut line = String::new();
        let said = holder.stdout.take().context("it speaks")?;
        BufReader::new(said).read_line(&mut line)?;
        let namespace = Self { holder };
        ensure!(line == "held\n", "a network namespace is not permitted here");
        Ok(namespace)
    }

    /// By what its processes name it.
    fn number(&self) -> String {
        self.holder.id().to_string()
    }

    /// What comes before a command that is to run in it.
    fn within(&self) -> Vec<OsString> {
        ["nsenter", "--target", &self.number(), "--net", "--mount", "--"]
            .map(OsString::from)
            .into()
    }

    /// Runs a command in it, of words without spaces.
    fn run(&self, command: &str) -> anyhow::Result<()> {
        let mut words = self.within();
        words.extend(command.split_whitespace().map(OsString::from));
        run(&words)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // It ends by itself.
        let _ = self.holder.wait();
    }
}

/// The wires, for as long as this is there.
#[derive(Debug)]
pub(crate) struct Net {
    router: Namespace,
    producer: Namespace,
    /// This end of both wires that begin here.
    ends: [String; 2],
    first: u32,
}

impl Net {
    /// Lays them; `folder` keeps a file.
    pub(crate) fn lay(folder: &Path) -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (process, n) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let first = FIRST + process.wrapping_mul(16).wrapping_add(n) % NETS * 16;
        let hosts = folder.join("hosts");
        std::fs::write(&hosts, format!("{} localhost\n", address(first, 1)))?;
        let net = Self {
            router: Namespace::open(None)?,
            producer: Namespace::open(Some(&hosts))?,
            ends: ["r", "c"].map(|end| format!("uf{process}{end}{n}")),
            first,
        };
        let ([to_router, to_producer], at) = (&net.ends, |host| address(first, host));
        let (router, producer) = (net.router.number(), net.producer.number());
        here(&format!(
            "ip link add {to_router} type veth peer name authority netns {router}"
        ))?;
        here(&format!(
            "ip link add {to_producer} type veth peer name consumers netns {producer}"
        ))?;
        net.router.run(&format!(
            "ip link add producer type veth peer name router netns {producer}"
        ))?;
        here(&format!("ip address add {}/30 dev {to_router}", at(1)))?;
        here(&format!("ip address add {}/30 dev {to_producer}", at(9)))?;
        net.router
            .run(&format!("ip address add {}/30 dev authority", at(2)))?;
        net.router
            .run(&format!("ip address add {}/30 dev producer", at(5)))?;
        net.producer
            .run(&format!("ip address add {}/30 dev router", at(6)))?;
        net.producer
            .run(&format!("ip address add {}/30 dev consumers", at(10)))?;
        for end in &net.ends {
            here(&format!("ip link set {end} up"))?;
        }
        for end in ["authority", "producer"] {
            net.router.run(&format!("ip link set {end} up"))?;
        }
        for end in ["router", "consumers"] {
            net.producer.run(&format!("ip link set {end} up"))?;
        }
        here(&format!("ip route add {}/32 via {}", at(6), at(2)))?;
        net.producer
            .run(&format!("ip route add {}/32 via {}", at(1), at(5)))?;
        Ok(net)
    }

    /// Where the producer finds what it calls `localhost`.
    pub(crate) fn here(&self) -> Ipv4Addr {
        address(self.first, 1)
    }

    /// Where the producer is found by consumers.
    pub(crate) fn producer(&self) -> Ipv4Addr {
        address(self.first, 10)
    }

    /// What comes before a command that is to run beside the producer.
    pub(crate) fn within(&self) -> Vec<OsString> {
        self.producer.within()
    }

    /// From now on what goes to the authority vanishes, or what comes from it; the cable is pulled where both do.
    pub(crate) fn cut(&self, up: bool, down: bool) -> anyhow::Result<()> {
        let vanish = |end| {
            self.router
                .run(&format!("tc qdisc add dev {end} root pfifo limit 0"))
        };
        match (up, down) {
            (true, true) => self.router.run("ip link set producer down"),
            (true, false) => vanish("authority"),
            (false, true) => vanish("producer"),
            (false, false) => Ok(()),
        }
    }

    /// Mends what was cut.
    pub(crate) fn mend(&self, up: bool, down: bool) -> anyhow::Result<()> {
        let pass = |end| self.router.run(&format!("tc qdisc del dev {end} root"));
        match (up, down) {
            (true, true) => self.router.run("ip link set producer up"),
            (true, false) => pass("authority"),
            (false, true) => pass("producer"),
            (false, false) => Ok(()),
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for end in &self.ends {
            // The namespaces would take them along, a moment later.
            let _ = here(&format!("ip link del {end}"));
        }
    }
}

fn address(first: u32, host: u32) -> Ipv4Addr {
    Ipv4Addr::from(first + host)
}

fn here(command: &str) -> anyhow::Result<()> {
    let words: Vec<OsString> = command.split_whitespace().map(OsString::from).collect();
    run(&words)
}

fn run(words: &[OsString]) -> anyhow::Result<()> {
    let (program, args) = words.split_first().context("a command")?;
    let output = Command::new(program).args(args).output()?;
    ensure!(
        output.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
