//! What `audit check-withdrawals` found, in words and for machines.

use serde_json::{Value, json};
use unefois_auditor::withdrawals::{Fault, Judged, Late, NotJudged, Pending, Place, Remark, Report, Why};

use super::Checked;
use crate::console::{Console, Lang};
use crate::failure::Failure;

/// In which row of the table a withdrawal is counted: the first that is so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Row {
    Broken,
    Late,
    NotJudged,
    Unproved,
    Proved,
}

impl Row {
    fn of(judged: &Judged) -> Self {
        match () {
            () if !judged.faults.is_empty() => Self::Broken,
            () if !judged.late.is_empty() => Self::Late,
            () if judged.not_judged.is_some() => Self::NotJudged,
            () if judged.is_proved() => Self::Proved,
            () => Self::Unproved,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Late => "late",
            Self::NotJudged => "not_judged",
            Self::Unproved => "unproved",
            Self::Proved => "proved",
        }
    }
}

/// Tells everything.
pub(super) fn tell(checked: &Checked, console: Console) -> Result<(), Failure> {
    console.data(&to_json(checked), || Words(console).all(checked))
}

fn to_json(checked: &Checked) -> Value {
    let report = &checked.report;
    let count = |row: Row| report.count(|judged| Row::of(judged) == row);
    let findings = report.withdrawals.iter().filter(|judged| is_told(judged));
    json!({
        "withdrawals": report.withdrawals.len(), "holds": report.holds(),
        "proved": count(Row::Proved), "late": count(Row::Late), "broken": count(Row::Broken),
        "unproved": count(Row::Unproved), "not_judged": count(Row::NotJudged),
        "findings": findings.map(|judged| finding(checked, judged)).collect::<Vec<_>>(),
        "closed": report.closed.iter().map(late).collect::<Vec<_>>(),
        "pending": report.pending.iter().map(|pending| json!({
            "origin": checked.origins.get(pending.log), "index": pending.index, "since": pending.at.to_rfc3339(),
            "requester": pending.requester, "provider": pending.provider,
        })).collect::<Vec<_>>(),
    })
}

/// Whether there is more to say of it than that it is proved.
fn is_told(judged: &Judged) -> bool {
    Row::of(judged) != Row::Proved || !judged.remarks.is_empty()
}

fn finding(checked: &Checked, judged: &Judged) -> Value {
    let fault = |fault: &Fault| json!({"fault": fault.as_str(), "of": fault.of()});
    let remark = |remark: &Remark| json!({"remark": remark.as_str(), "of": remark.of()});
    json!({
        "verdict": Row::of(judged).as_str(), "origin": checked.origins.get(judged.log), "index": judged.index,
        "epoch": judged.place.map(|place| place.epoch), "seq": judged.place.map(|place| place.seq),
        "kind": judged.kind, "operator": judged.operator, "effective_at": judged.effective_at.to_rfc3339(),
        "late": judged.late.iter().map(late).collect::<Vec<_>>(),
        "unproved": judged.unproved.iter().map(place).collect::<Vec<_>>(),
        "faults": judged.faults.iter().map(fault).collect::<Vec<_>>(),
        "remarks": judged.remarks.iter().map(remark).collect::<Vec<_>>(),
        "not_judged": judged.not_judged.map(NotJudged::as_str),
    })
}

fn place(place: &Place) -> Value {
    json!({
        "exchange_id": place.exchange.map(|exchange| exchange.to_string()), "origin": place.origin,
        "index": place.index, "at": place.at.to_rfc3339(),
    })
}

fn late(late: &Late) -> Value {
    let mut value = place(&late.release);
    value["why"] = late.why.as_str().into();
    value
}

fn origin(checked: &Checked, log: usize) -> &str {
    checked.origins.get(log).map_or("", String::as_str)
}

/// What makes a proof no proof, as failures say it: in French.
pub(crate) fn fault_fr(fault: &Fault) -> String {
    let console = Console {
        json: false,
        lang: Lang::Fr,
    };
    Words(console).fault(fault)
}

/// What was found, in the language of a console.
#[derive(Clone, Copy)]
struct Words(Console);

impl Words {
    const fn pick<'a>(self, fr: &'a str, en: &'a str) -> &'a str {
        self.0.pick(fr, en)
    }

    fn all(self, checked: &Checked) -> String {
        let report = &checked.report;
        let count = |row: Row| report.count(|judged| Row::of(judged) == row);
        let mut text = String::new();
        for (fr, en, n) in [
            (
                "Retraits dits effectifs",
                "Withdrawals said effective",
                report.withdrawals.len(),
            ),
            ("  prouvés", "  proved", count(Row::Proved)),
            ("  tardifs", "  late", count(Row::Late)),
            ("  preuve rompue", "  broken proof", count(Row::Broken)),
            ("  non prouvés", "  not proved", count(Row::Unproved)),
            ("  non jugés", "  not judged", count(Row::NotJudged)),
            (
                "Retraits en attente d'effet",
                "Withdrawals under way",
                report.pending.len(),
            ),
        ] {
            text += &format!("{:<28}{n:>8}\n", self.pick(fr, en));
        }
        for (row, fr, en) in [
            (Row::Broken, "Preuves rompues :", "Broken proofs:"),
            (
                Row::Late,
                "Retraits suivis d'une communication tardive :",
                "Withdrawals followed by a late release:",
            ),
            (Row::Unproved, "Retraits non prouvés :", "Withdrawals not proved:"),
            (Row::NotJudged, "Retraits non jugés :", "Withdrawals not judged:"),
            (
                Row::Proved,
                "Retraits prouvés, avec une remarque :",
                "Withdrawals proved, with a remark:",
            ),
        ] {
            let of_row = report
                .withdrawals
                .iter()
                .filter(|judged| Row::of(judged) == row && is_told(judged));
            let lines: Vec<String> = of_row.map(|judged| self.withdrawal(checked, judged)).collect();
            if !lines.is_empty() {
                text += &format!("{}\n{}", self.pick(fr, en), lines.concat());
            }
        }
        if !report.closed.is_empty() {
            text += self.pick(
                "Communications pendant une interruption du bail, quelle que soit l'autorisation :\n",
                "Releases while the lease was interrupted, whatever the grant:\n",
            );
            let closed = report.closed.iter();
            text.extend(closed.map(|late| format!("  {}\n", self.release(&late.release))));
        }
        if !report.pending.is_empty() {
            text += self.pick("En attente d'effet :\n", "Under way:\n");
            text.extend(
                report
                    .pending
                    .iter()
                    .map(|pending| self.waiting(checked, pending)),
            );
        }
        text + self.conclusion(report)
    }

    fn conclusion(self, report: &Report) -> &'static str {
        match report.holds() {
            true => self.0.pick(
                "Aucune communication tardive, aucune preuve rompue.\n",
                "No late release, no broken proof.\n",
            ),
            false => self.0.pick(
                "Des communications sont tardives, ou des preuves rompues.\n",
                "Releases are late, or proofs broken.\n",
            ),
        }
    }

    fn withdrawal(self, checked: &Checked, judged: &Judged) -> String {
        let place = judged
            .place
            .map(|place| format!("{}/{}, ", place.epoch, place.seq))
            .unwrap_or_default();
        let mut text = format!(
            "  {} {place}{} {} ({} {} {})\n",
            self.pick("retrait", "withdrawal"),
            self.pick("effectif le", "effective at"),
            judged.effective_at.to_rfc3339(),
            origin(checked, judged.log),
            self.pick("n°", "no."),
            judged.index
        );
        for fault in &judged.faults {
            text += &format!("    {}\n", self.fault(fault));
        }
        for late in &judged.late {
            let (title, why) = (self.pick("tardif :", "late:"), self.why(late.why));
            text += &format!("    {title} {}\n      {why}\n", self.release(&late.release));
        }
        for place in &judged.unproved {
            let title = self.pick(
                "ni tardif ni à temps, rien ne le prouve :",
                "neither late nor in time, nothing proves it:",
            );
            text += &format!("    {title} {}\n", self.release(place));
        }
        if let Some(why) = judged.not_judged {
            text += &format!("    {}\n", self.not_judged(why));
        }
        for remark in &judged.remarks {
            text += &format!("    {}\n", self.remark(remark));
        }
        text
    }

    fn release(self, place: &Place) -> String {
        let exchange = place.exchange.map_or_else(
            || self.pick("sans échange", "no exchange").to_owned(),
            |exchange| exchange.to_string(),
        );
        let number = self.pick("n°", "no.");
        let at = place.at.to_rfc3339();
        format!("{exchange} ({} {number} {}, {at})", place.origin, place.index)
    }

    fn waiting(self, checked: &Checked, pending: &Pending) -> String {
        let who = |participant: Option<unefois_core::ParticipantId>| {
            participant.map_or_else(|| "–".to_owned(), |id| id.siret().to_string())
        };
        format!(
            "  {} {} {}, {} {}{} {} {} {}\n",
            origin(checked, pending.log),
            self.pick("n°", "no."),
            pending.index,
            self.pick("depuis le", "since"),
            pending.at.to_rfc3339(),
            self.pick(" :", ":"),
            who(pending.requester),
            self.pick("auprès de", "of"),
            who(pending.provider)
        )
    }

    const fn why(self, why: Why) -> &'static str {
        let (fr, en) = match why {
            Why::View => (
                "le nœud avait ce retrait quand il a communiqué",
                "the node had this withdrawal when it released",
            ),
            Why::Acknowledged => (
                "le registre avait déjà accusé réception du retrait à une taille plus petite",
                "the log had acknowledged the withdrawal at a smaller size",
            ),
            Why::Lapsed => ("le bail du nœud avait pris fin", "the node's lease had lapsed"),
            Why::Closed => (
                "le bail du nœud était interrompu",
                "the node's lease was interrupted",
            ),
        };
        self.0.pick(fr, en)
    }

    fn fault(self, fault: &Fault) -> String {
        let (fr, en) = match fault {
            Fault::Evidence => (
                "ce qui est divulgué n'ouvre pas ce que l'écriture engage".to_owned(),
                "what is disclosed does not open what the entry commits to".to_owned(),
            ),
            Fault::NotAProof => (
                "ce que l'écriture engage n'est pas une preuve d'effet".to_owned(),
                "what the entry commits to is no proof of effect".to_owned(),
            ),
            Fault::OtherTerms => (
                "l'écriture et la preuve ne parlent pas du même retrait".to_owned(),
                "entry and proof do not speak of the same withdrawal".to_owned(),
            ),
            Fault::Secret => (
                "aucun secret divulgué n'ouvre l'engagement de l'écriture".to_owned(),
                "no secret disclosed opens the entry's commitment".to_owned(),
            ),
            Fault::NoLine(log) => (
                format!("la preuve omet le registre {log}, que l'annuaire donne à cet opérateur"),
                format!("the proof omits the log {log}, which the directory gives this operator"),
            ),
            Fault::OtherLine(log) => (
                format!("la ligne du registre {log} n'a pas sa place dans la preuve"),
                format!("the line of the log {log} does not belong in the proof"),
            ),
            Fault::Checkpoint(log) => (
                format!("la tête citée n'est pas signée par la clé du registre {log}"),
                format!("the head cited is not signed with the key of the log {log}"),
            ),
            Fault::BelowRecord(log) => (
                format!("le registre {log} a accusé réception d'un retrait antérieur"),
                format!("the log {log} acknowledged an earlier withdrawal"),
            ),
            Fault::OtherHistory(log) => (
                format!("le registre {log} ne prolonge pas la tête citée par la preuve"),
                format!("the log {log} does not continue the head that the proof cites"),
            ),
            Fault::TwoProofs(index) => (
                format!("une autre preuve du même retrait est à l'écriture {index}"),
                format!("another proof of the same withdrawal is in the entry {index}"),
            ),
            Fault::Epochs(index) => (
                format!("son époque contredit celle du retrait de l'écriture {index}"),
                format!("its epoch contradicts that of the withdrawal in the entry {index}"),
            ),
        };
        self.pick(&fr, &en).to_owned()
    }

    fn remark(self, remark: &Remark) -> String {
        let (fr, en) = match remark {
            Remark::Duplicate(index) => (
                format!(
                    "même preuve qu'à l'écriture {index} : l'autorité s'est arrêtée entre les deux, rien de plus"
                ),
                format!("the same proof as in the entry {index}: the authority stopped in between, no more"),
            ),
            Remark::AddedSince(log) => (
                format!("le registre {log} a pu entrer dans l'annuaire depuis"),
                format!("the log {log} may have entered the directory since"),
            ),
            Remark::RemovedSince(log) => (
                format!("le registre {log} n'est plus dans l'annuaire : il n'est pas lu"),
                format!("the log {log} has left the directory: it is not read"),
            ),
            Remark::Unread(log) => (
                format!("le registre {log} n'a pas pu être lu"),
                format!("the log {log} could not be read"),
            ),
        };
        self.pick(&fr, &en).to_owned()
    }

    const fn not_judged(self, why: NotJudged) -> &'static str {
        let (fr, en) = match why {
            NotJudged::Erased => (
                "effacé : ce qui ouvrait ce retrait a été détruit à son terme",
                "erased: what opened this withdrawal was destroyed at its term",
            ),
            NotJudged::Broken => (
                "sans preuve entière, les communications ne sont pas jugées",
                "without a whole proof, releases are not judged",
            ),
            NotJudged::UnknownHandle => (
                "l'autorité ne connaissait pas cette autorisation : rien ne la relie aux échanges",
                "the authority did not know this grant: nothing links it to exchanges",
            ),
            NotJudged::MintedSince => (
                "des jetons ont été émis depuis pour ce service, et aucune écriture ne nomme le sien",
                "tokens were minted for this client since, and no entry names its own",
            ),
            NotJudged::Certificate => (
                "retrait d'un certificat : aucune écriture ne nomme celui du jeton",
                "withdrawal of a certificate: no entry names that of its token",
            ),
            NotJudged::SigningKey => (
                "retrait d'une clé de signature : aucune écriture ne nomme celle du jeton",
                "withdrawal of a signing key: no entry names that of its token",
            ),
            NotJudged::Age => (
                "retrait de tous les jetons antérieurs : aucune écriture ne date le sien",
                "withdrawal of all earlier tokens: no entry dates its own",
            ),
        };
        self.0.pick(fr, en)
    }
}
