//! The story: what a person, a commune, two producers and an auditor do, each step an assertion with its time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use unefois_core::{Clock, Event, Micros, Reason};
use unefois_mesh::{SystemClock, status};
use unefois_proto::pb::backoffice::v1::{FetchRequest, FetchResponse, Grant};
use unefois_tlog::{CosignerKey, Origin, SignedCheckpoint, VerifierKey};
use url::Url;

use super::asker::Asker;
use super::browser::Browser;
use super::script::Script;
use super::stage::{Roles, Stage};
use crate::command::audit::{Heads, Reader, check_withdrawals, reconcile_participants, verify_participant};
use crate::command::ledger::check;
use crate::console::{Console, Lang};

use super::world::{AUTHORITY, CLAMART, CNAF, DGFIP, MESR, Member, World};

/// How long the commune's first head may take to be published and cosigned.
const COSIGNED_WITHIN: Duration = Duration::from_secs(60);

/// How long a withdrawal may take until it is effective: the start of an authority waits for older leases.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(30);

/// How one step went.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Its name.
    pub step: &'static str,
    /// Whether what it asserts holds.
    pub ok: bool,
    /// How long it took.
    pub ms: u64,
    /// What was seen, for people.
    pub seen: String,
}

/// The story in one world.
#[derive(Debug)]
pub struct Story {
    world: World,
    script: Arc<Script>,
    stage: Stage,
    asker: Asker,
    /// What the auditor keeps.
    heads: Heads,
    grants: Vec<Grant>,
    answers: Vec<FetchResponse>,
}

/// What one step takes and tells.
type Seen = anyhow::Result<String>;

impl Story {
    /// Raises the stage in `world`, for the people of `script`.
    ///
    /// # Errors
    /// A role does not start.
    pub async fn begin(world: World, script: Script, roles: Roles<'_>) -> anyhow::Result<Self> {
        let script = Arc::new(script);
        let stage = Stage::raise(&world, &script, roles).await?;
        let asker = Asker::new(&world, Arc::clone(&script), Browser::default());
        Ok(Self {
            world,
            script,
            stage,
            asker,
            heads: Heads::default(),
            grants: Vec::new(),
            answers: Vec::new(),
        })
    }

    /// Tells the whole story, each step to `told`, and stops at the first that does not hold.
    pub async fn tell(&mut self, mut told: impl FnMut(&Step)) -> bool {
        let clock = SystemClock;
        macro_rules! step {
            ($name:literal, $what:expr) => {{
                let start = clock.boottime();
                let seen: Seen = $what.await;
                let ms = u64::try_from(clock.boottime().micros_since(start) / 1_000).unwrap_or(0);
                let ok = seen.is_ok();
                let seen = seen.unwrap_or_else(|error| format!("{error:#}"));
                told(&Step {
                    step: $name,
                    ok,
                    ms,
                    seen,
                });
                if !ok {
                    return false;
                }
            }};
        }
        step!("grant", self.granting());
        step!("fetch-http", self.fetches(CNAF));
        step!("fetch-sandbox", self.fetches(MESR));
        step!("step-up", self.step_up());
        step!("ledgers", self.ledgers());
        step!("second-use", self.second_use());
        step!("history", self.history());
        step!("withdrawal", self.withdrawal());
        step!("effect", self.effect());
        step!("reconcile", self.reconcile());
        step!("witness", self.witness());
        step!("tamper", self.tamper());
        true
    }

    /// The person's browser.
    pub const fn browser(&self) -> &Browser {
        &self.asker.browser
    }

    /// The grants that the back-office was given, the last one in use.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// The attestations that it was given.
    pub fn answers(&self) -> &[FetchResponse] {
        &self.answers
    }

    /// One more grant, for whoever looks on: the handle of its element at the ministry, not used yet.
    ///
    /// # Errors
    /// It is refused.
    pub async fn unused_handle(&mut self) -> anyhow::Result<String> {
        let (grant, _) = self.asker.authorize("2026-0414").await?;
        let element = grant.elements.into_iter().find(|e| e.producer == MESR);
        Ok(element.context("no such element")?.handle)
    }

    /// Stops every role.
    ///
    /// # Errors
    /// A process ended badly.
    pub async fn end(self) -> anyhow::Result<()> {
        self.stage.lower().await
    }

    /// A person logs in at the provider and grants for two producers on one page.
    async fn granting(&mut self) -> Seen {
        let (grant, page) = self.asker.authorize(&self.script.dossiers[0]).await?;
        for words in [
            self.script.dossiers[0].as_str(),
            "Caisse nationale des allocations familiales",
            self.script.person().given_name_array[0],
        ] {
            ensure!(page.body.contains(words), "the page lacks « {words} »");
        }
        ensure!(
            grant.elements.len() == 2,
            "{} elements were granted, not 2",
            grant.elements.len()
        );
        let units: Vec<&str> = grant
            .elements
            .iter()
            .flat_map(|e| e.units.iter().map(String::as_str))
            .collect();
        ensure!(units == ["valeur", "inscription"], "granted: {units:?}");
        self.grants.push(grant);
        Ok("deux producteurs sur une page, facultatif non coché".to_owned())
    }

    /// Fetches one element; it is verified, and holds the source's own text and nothing that was not granted.
    async fn fetches(&mut self, producer: &str) -> Seen {
        let answer = self.fetch(producer).await?;
        ensure!(answer.units.len() == 1, "{} units came", answer.units.len());
        let (unit, text) = answer.units.iter().next().context("no unit came")?;
        ensure!(
            !answer.producer_proof.is_empty() && !answer.consumer_proof.is_empty(),
            "a proof is missing"
        );
        if producer == CNAF {
            ensure!(
                text.contains(&self.script.valeur()) && !text.contains(self.script.person().family_name),
                "the unit is not the granted one"
            );
            ensure!(
                self.script.quotient_familial.len() > 4 * text.len(),
                "the source gave no more than was sent"
            );
        }
        let seen = format!("{unit} : {text}");
        self.answers.push(answer);
        Ok(seen)
    }

    /// What needs a surer identity sends the person to another login; fetched under it, it holds what was granted alone.
    async fn step_up(&mut self) -> Seen {
        let (grant, page) = self.asker.authorize_tax_income(&self.script.dossiers[2]).await?;
        ensure!(
            page.body.contains("FranceConnect+"),
            "the page does not say how the person logged in"
        );
        let answer = self.fetch_under(&grant, DGFIP).await?;
        let (unit, text) = answer.units.iter().next().context("no unit came")?;
        ensure!(
            answer.units.len() == 1 && text.contains(&self.script.revenu) && !text.contains("nbPart"),
            "the unit is not the granted one"
        );
        let seen = format!("FranceConnect+, puis {unit} : {text}");
        self.answers.push(answer);
        // Not the one in use.
        self.grants.insert(0, grant);
        Ok(seen)
    }

    async fn fetch(&mut self, producer: &str) -> anyhow::Result<FetchResponse> {
        let grant = self.grants.last().context("nothing was granted")?.clone();
        self.fetch_under(&grant, producer).await
    }

    async fn fetch_under(&mut self, grant: &Grant, producer: &str) -> anyhow::Result<FetchResponse> {
        let element = grant
            .elements
            .iter()
            .find(|e| e.producer == producer)
            .context("no such element")?;
        let request = FetchRequest {
            handle: element.handle.clone(),
            ..Default::default()
        };
        Ok(self.asker.backoffice.fetch(request).await?.into_inner())
    }

    /// An auditor reads the five logs over the mesh and verifies each.
    async fn ledgers(&mut self) -> Seen {
        let mut seen = Vec::new();
        for (participant, event) in [
            (CNAF, Event::Released),
            (MESR, Event::Released),
            (DGFIP, Event::Released),
            (CLAMART, Event::Received),
            (AUTHORITY, Event::Granted),
        ] {
            let report = self.audit(participant).await?;
            ensure!(
                report.events.contains_key(&event),
                "{participant} logged no {event}"
            );
            seen.push(format!(
                "{} {} entrée(s)",
                participant.rsplit(':').next().unwrap_or_default(),
                report.head.size
            ));
        }
        Ok(seen.join(", "))
    }

    async fn audit(&mut self, participant: &str) -> anyhow::Result<unefois_auditor::LogReport> {
        let reader = self.auditor();
        let heads = &mut self.heads;
        let mut reports = verify_participant(&reader, &participant.parse()?, heads, |_, _| {}).await?;
        let report = reports.pop().context("no log was read")?;
        heads.keep(&report.origin, report.head);
        Ok(report)
    }

    fn auditor(&self) -> Reader {
        let folder = self.world.folder("auditor");
        let ca = self.world.folder("ca");
        Reader {
            cert: folder.join("tls.pem"),
            key: folder.join("tls.key"),
            authorities: ca.join("ca.pem"),
            crls: ca.join("ca.crl"),
            directory: folder.join("directory.jws"),
            catalogue: folder.join("catalogue.bin"),
            pin: self.world.pin.to_string(),
        }
    }

    /// A one-shot handle serves once.
    async fn second_use(&mut self) -> Seen {
        match self.fetch(CNAF).await {
            Ok(_) => bail!("the handle served twice"),
            Err(error) => refused_with(&error, Reason::TokenConsumed)?,
        };
        let report = self.audit(CNAF).await?;
        ensure!(
            report.events.get(&Event::Released) == Some(&1),
            "the handle was released more than once"
        );
        Ok("refusé : TOKEN_CONSUMED, une seule délivrance au registre du producteur".to_owned())
    }

    /// The person sees the exchanges, from both ends.
    async fn history(&mut self) -> Seen {
        let url = format!("http://localhost:{}/historique", self.world.ports.portal);
        let page = self.asker.browser.open(&url, "").await?;
        ensure!(page.status.is_success(), "the page answers {}", page.status);
        for words in ["mairie de Clamart", "Quotient familial", "transmis"] {
            ensure!(
                page.body.to_lowercase().contains(&words.to_lowercase()),
                "the page lacks « {words} »"
            );
        }
        Ok("chaque échange, des deux côtés".to_owned())
    }

    /// The person stops a grant; once that is effective, the next fetch under it is refused.
    async fn withdrawal(&mut self) -> Seen {
        let (grant, _) = self.asker.authorize(&self.script.dossiers[1]).await?;
        let base = format!("http://localhost:{}", self.world.ports.portal);
        let ask = self
            .asker
            .browser
            .open(&format!("{base}/autorisations/{}/arreter", grant.grant_id), "")
            .await?;
        ensure!(ask.status.is_success(), "the page answers {}", ask.status);
        let csrf = ask.hidden("csrf")?;
        let action = ask.url.path().to_owned();
        let done = self
            .asker
            .browser
            .submit(&ask, &action, &[("csrf", &csrf)], "")
            .await?;
        ensure!(
            ["Retrait enregistré", "Retrait effectif"]
                .iter()
                .any(|words| done.body.contains(words)),
            "the page does not say that the withdrawal is recorded"
        );
        let ms = self.effective(&done.url).await?;
        self.grants.push(grant);
        let refused = match self.fetch(CNAF).await {
            Ok(_) => bail!("a withdrawn grant served"),
            Err(error) => refused_with(&error, Reason::GrantRevoked)?,
        };
        Ok(format!(
            "retrait effectif {ms} ms après son enregistrement, puis {refused}"
        ))
    }

    /// Waits until the page of a withdrawal says that it is effective; how long after its record it was, in milliseconds.
    async fn effective(&mut self, page: &Url) -> anyhow::Result<i64> {
        let follow = page.join("effet")?;
        let browser = &mut self.asker.browser;
        let proved = async {
            loop {
                let told: serde_json::Value =
                    serde_json::from_str(&browser.open(follow.as_str(), "").await?.body)?;
                if told["stage"] == "effective" {
                    return anyhow::Ok(told);
                }
            }
        };
        let told = tokio::time::timeout(EFFECTIVE_WITHIN, proved).await;
        let told = told.with_context(|| {
            format!(
                "no withdrawal was effective after {} s",
                EFFECTIVE_WITHIN.as_secs()
            )
        })??;
        let instant = |name: &str| -> anyhow::Result<Micros> {
            Ok(told[name].as_str().context("no such instant")?.parse()?)
        };
        let shown = self.asker.browser.open(page.as_str(), "").await?;
        ensure!(
            shown.body.contains("Retrait effectif"),
            "the page does not say that the withdrawal is effective"
        );
        Ok(instant("effective_at")?.ms_since(instant("recorded_at")?))
    }

    /// The auditor compares both ends of every exchange: the two logs say the same.
    async fn reconcile(&mut self) -> Seen {
        let reader = self.auditor();
        let mut exchanges = 0;
        for producer in [CNAF, MESR, DGFIP] {
            let ends = [producer.parse()?, CLAMART.parse()?];
            let found = reconcile_participants(&reader, ends, &mut self.heads).await?;
            ensure!(
                found.findings.is_empty() && found.hours.iter().all(|hour| hour.agrees()),
                "the two ends differ: {:?}",
                found.findings
            );
            exchanges += found.exchanges;
        }
        ensure!(exchanges >= 3, "only {exchanges} exchanges were compared");
        Ok(format!(
            "{exchanges} échange(s), deux registres chacun, aucun désaccord"
        ))
    }

    /// The auditor checks, from ledgers alone, that nothing was released after a withdrawal had taken effect.
    async fn effect(&mut self) -> Seen {
        const PROVED_WITHIN: Duration = Duration::from_secs(30);
        let reader = self.auditor();
        let console = Console {
            json: true,
            lang: Lang::Fr,
        };
        let mut look = tokio::time::interval(Duration::from_millis(200));
        let proved = async {
            loop {
                look.tick().await;
                let report = check_withdrawals(&reader, "démonstration", &mut self.heads, console).await?;
                if report.pending.is_empty() && !report.withdrawals.is_empty() {
                    return Ok::<_, anyhow::Error>(report);
                }
            }
        };
        let report = tokio::time::timeout(PROVED_WITHIN, proved).await;
        let report = report.context("the withdrawal has no proof of effect")??;
        ensure!(report.holds(), "{report:?}");
        Ok(format!(
            "{} retrait(s) effectif(s), aucune communication tardive",
            report.withdrawals.len()
        ))
    }

    /// The head of the commune's ledger that anybody sees is cosigned by two others.
    async fn witness(&mut self) -> Seen {
        let key = self.audit_key(&format!("{CLAMART}/1").parse()?)?;
        let witnesses = Member::Clamart.witnesses();
        let keys = witnesses.map(|witness| self.world.witness_keys[witness as usize].parse::<CosignerKey>());
        let url = format!(
            "http://127.0.0.1:{}/checkpoint",
            self.world.ports.public(Member::Clamart)
        );
        let mut visitor = Browser::default();
        let cosigned = async {
            let mut look = tokio::time::interval(Duration::from_millis(10));
            loop {
                look.tick().await;
                let page = visitor.open(&url, "").await?;
                if !page.status.is_success() {
                    continue;
                }
                let checkpoint = SignedCheckpoint::parse(page.body.as_bytes())?;
                let size = checkpoint.verify(&key)?.size;
                let by = |key: &Result<CosignerKey, _>| {
                    key.as_ref()
                        .is_ok_and(|key| checkpoint.cosigned_at_s(key).is_ok())
                };
                if keys.iter().all(by) {
                    return anyhow::Ok(size);
                }
            }
        };
        let within = tokio::time::timeout(COSIGNED_WITHIN, cosigned).await;
        let size = within.with_context(|| {
            let s = COSIGNED_WITHIN.as_secs();
            format!("the commune's head is not cosigned after {s} s")
        })??;
        let names = witnesses.map(Member::name).join(" et ");
        Ok(format!("{size} entrée(s) publiées, cosignées par {names}"))
    }

    /// One byte of one entry changed in the database is found.
    async fn tamper(&mut self) -> Seen {
        let origin: Origin = format!("{CNAF}/1").parse()?;
        let database = self.world.folder("cnaf").join("node.db");
        let key: VerifierKey = self.audit_key(&origin)?;
        self.stage.stop_cnaf().await?;
        let url = format!("sqlite:{}", database.display());
        let sound = check(&url, &key, |_, _| {}).await?;
        ensure!(sound.is_sound(), "the untouched database does not verify");
        let entry = &self
            .answers
            .first()
            .context("nothing was fetched")?
            .producer_entry;
        let mut bytes = std::fs::read(&database)?;
        let at = bytes
            .windows(entry.len())
            .position(|w| w == entry)
            .context("the entry is not in the file")?;
        bytes[at + entry.len() - 1] ^= 1;
        std::fs::write(&database, bytes)?;
        let report = check(&url, &key, |_, _| {}).await?;
        ensure!(!report.log.is_empty(), "the changed byte was not found");
        Ok("un octet changé dans la base, trouvé".to_owned())
    }

    fn audit_key(&self, origin: &Origin) -> anyhow::Result<VerifierKey> {
        let text = std::fs::read_to_string(self.world.folder("auditor").join("directory.jws"))?;
        let directory = unefois_jose::directory::verify(&text, &self.world.pin)?;
        let (_, log) = directory
            .log(origin.as_str())
            .context("the log is not in the directory")?;
        Ok(log.vkey.parse()?)
    }
}

fn refused_with(error: &anyhow::Error, wanted: Reason) -> Seen {
    let reason = error.downcast_ref::<tonic::Status>().and_then(status::reason_of);
    ensure!(
        reason == Some(wanted),
        "refused with {reason:?}, not {wanted}: {error:#}"
    );
    Ok(format!("refusé : {wanted}"))
}
