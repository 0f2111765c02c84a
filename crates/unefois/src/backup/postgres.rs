//! PostgreSQL's own programs, `pg_dump`, `pg_restore` and `psql`, as they are on the PATH.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use unefois_core::Micros;
use url::Url;

use crate::failure::{Failure, Kind};

/// Where to connect: the address without its password, which no command line shows.
struct Address {
    url: String,
    password: Option<String>,
}

impl Address {
    fn of(url: &str) -> Result<Self, Failure> {
        let wrong = || Failure::new(Kind::Usage, "l'adresse de la base est mal formée");
        let mut parsed = Url::parse(url).map_err(|e| wrong().because(e))?;
        let password = parsed.password().map(|text| {
            let bytes = percent_decoded(text);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        if password.is_some() {
            parsed.set_password(None).map_err(|()| wrong())?;
        }
        Ok(Self {
            url: parsed.into(),
            password,
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    url::form_urlencoded::parse(format!("p={}", text.replace('+', "%2B")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned().into_bytes())
        .unwrap_or_default()
}

/// Dumps the state `snapshot` of the database `url` to `file`.
pub(super) async fn dump(url: &str, snapshot: &str, file: &Path) -> Result<(), Failure> {
    let address = Address::of(url)?;
    let mut command = address.command("pg_dump");
    command
        .args(["--format=custom", "--no-owner", "--no-privileges"])
        .arg(format!("--snapshot={snapshot}"))
        .arg(format!("--dbname={}", address.url))
        .arg("--file")
        .arg(file);
    blocking(move || run("pg_dump", command)).await
}

/// Restores the dump `file` to the empty database `url` and marks its logs, all in one transaction, whose COMMIT is the
/// last that psql reads: whatever ends before, this process included, leaves nothing.
pub(super) async fn restore(url: &str, file: &Path, schema: &str, now: Micros) -> Result<(), Failure> {
    let address = Address::of(url)?;
    let mut script = address.command("pg_restore");
    script
        .args(["--no-owner", "--no-privileges", "--file=-"])
        .arg(file)
        .stdout(Stdio::piped());
    let mut psql = address.command("psql");
    // Not --single-transaction, which commits at the end of its input, wherever that is.
    psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"])
        .arg(format!("--dbname={}", address.url))
        .stdin(Stdio::piped());
    let mark = marks(schema, now);
    blocking(move || {
        let mut script = started("pg_restore", &mut script)?;
        let mut psql = started("psql", &mut psql)?;
        let (mut text, mut into) = (script.stdout.take(), psql.stdin.take());
        let piped = match (&mut text, &mut into) {
            (Some(text), Some(into)) => into
                .write_all(b"BEGIN;\n")
                .and_then(|()| std::io::copy(text, into).map(drop)),
            (_, _) => Err(std::io::ErrorKind::BrokenPipe.into()),
        };
        drop(text);
        let script = script.wait_with_output().map_err(|e| failed("pg_restore", e))?;
        // Only a whole script is marked and committed: at the end of any other, psql goes and the server rolls back.
        let whole = piped.is_ok() && script.status.success();
        let marked = match (whole, &mut into) {
            (true, Some(into)) => into.write_all(mark.as_bytes()).is_ok(),
            (_, _) => false,
        };
        drop(into);
        let psql = psql.wait_with_output().map_err(|e| failed("psql", e))?;
        match (marked, script.status.success(), psql.status.success()) {
            (true, true, true) => Ok(()),
            (_, false, _) => Err(failed("pg_restore", said(&script.stderr))),
            (..) => Err(failed("psql", said(&psql.stderr))),
        }
    })
    .await
}

/// The statements that mark what was restored, and the COMMIT. A backup from before the mark of withdrawals gets it with
/// the table.
fn marks(schema: &str, now: Micros) -> String {
    let (quoted, at) = (format!("\"{}\"", schema.replace('"', "\"\"")), now.get());
    let name = format!("{quoted}.revocation_restored").replace('\'', "''");
    format!(
        "
UPDATE {quoted}.ledger_head SET restored_at = {at} WHERE closed_at IS NULL;
SELECT to_regclass('{name}') IS NOT NULL AS withdrawals \\gset
\\if :withdrawals
INSERT INTO {quoted}.revocation_restored (cause, at, epoch, seq)
SELECT 'restored {at}', {at}, COALESCE(MAX(epoch), 0), COALESCE(MAX(seq), 0) FROM {quoted}.revocation_head;
\\endif
COMMIT;
"
    )
}

fn run(program: &'static str, mut command: Command) -> Result<(), Failure> {
    let output = started(program, &mut command)?
        .wait_with_output()
        .map_err(|e| failed(program, e))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(program, said(&output.stderr))),
    }
}

fn started(program: &'static str, command: &mut Command) -> Result<std::process::Child, Failure> {
    command.spawn().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Failure::new(Kind::NoInput, format!("{program} n'est pas trouvé"))
            .because("il vient avec PostgreSQL")
            .next("installez postgresql-client, de la version du serveur ou après, et mettez-le dans PATH"),
        _ => failed(program, e),
    })
}

/// The last lines of what a program said.
fn said(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" ")
}

fn failed(program: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::CannotWrite, format!("{program} n'a pas abouti")).because(why)
}

async fn blocking(work: impl FnOnce() -> Result<(), Failure> + Send + 'static) -> Result<(), Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(Failure::new(Kind::Bug, "la sauvegarde s'est arrêtée").because(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_on_a_command_line() {
        let address =
            Address::of("postgres://unefois:s%40cret+x@db.example/unefois?sslmode=require").unwrap();
        assert_eq!(
            address.url,
            "postgres://unefois@db.example/unefois?sslmode=require"
        );
        assert_eq!(address.password.as_deref(), Some("s@cret+x"));
        let command = address.command("true");
        assert!(command.get_envs().any(|(name, _)| name == "PGPASSWORD"));
        let address = Address::of("postgres://postgres@localhost/test?host=/tmp/x").unwrap();
        assert_eq!(address.url, "postgres://postgres@localhost/test?host=/tmp/x");
        assert_eq!(address.password, None);
    }
}
