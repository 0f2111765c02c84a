//! What `audit check-withdrawals` found, in words and for machines.

use serde_json::{Value, json};
use unefois_auditor::withdrawals::{Fault, Judged, Late, NotJudged, Pending, Place, Remark, Report, Why};

use super::Checked;
use crate::console::Console;
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
    console.data(&to_json(checked), || to_text(checked))
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

fn to_text(checked: &Checked) -> String {
    let report = &checked.report;
    let count = |row: Row| report.count(|judged| Row::of(judged) == row);
    let mut text = String::new();
    for (title, n) in [
        ("Retraits dits effectifs", report.withdrawals.len()),
        ("  prouvés", count(Row::Proved)),
        ("  tardifs", count(Row::Late)),
        ("  preuve rompue", count(Row::Broken)),
        ("  non prouvés", count(Row::Unproved)),
        ("  non jugés", count(Row::NotJudged)),
        ("Retraits en attente d'effet", report.pending.len()),
    ] {
        text += &format!("{title:<28}{n:>8}\n");
    }
    for (row, title) in [
        (Row::Broken, "Preuves rompues"),
        (Row::Late, "Retraits suivis d'une communication tardive"),
        (Row::Unproved, "Retraits non prouvés"),
        (Row::NotJudged, "Retraits non jugés"),
        (Row::Proved, "Retraits prouvés, avec une remarque"),
    ] {
        let of_row = report
            .withdrawals
            .iter()
            .filter(|judged| Row::of(judged) == row && is_told(judged));
        let lines: Vec<String> = of_row.map(|judged| withdrawal(checked, judged)).collect();
        if !lines.is_empty() {
            text += &format!("{title} :\n{}", lines.concat());
        }
    }
    if !report.closed.is_empty() {
        text += "Communications pendant une interruption du bail, quelle que soit l'autorisation :\n";
        text.extend(
            report
                .closed
                .iter()
                .map(|late| format!("  {}\n", release(&late.release))),
        );
    }
    if !report.pending.is_empty() {
        text += "En attente d'effet :\n";
        text.extend(report.pending.iter().map(|pending| waiting(checked, pending)));
    }
    text + conclusion(report)
}

fn conclusion(report: &Report) -> &'static str {
    match report.holds() {
        true => "Aucune communication tardive, aucune preuve rompue.\n",
        false => "Des communications sont tardives, ou des preuves rompues.\n",
    }
}

fn origin(checked: &Checked, log: usize) -> &str {
    checked.origins.get(log).map_or("", String::as_str)
}

fn withdrawal(checked: &Checked, judged: &Judged) -> String {
    let place = judged
        .place
        .map(|place| format!("{}/{}, ", place.epoch, place.seq))
        .unwrap_or_default();
    let mut text = format!(
        "  retrait {place}effectif le {} ({} n° {})\n",
        judged.effective_at.to_rfc3339(),
        origin(checked, judged.log),
        judged.index
    );
    text.extend(
        judged
            .faults
            .iter()
            .map(|fault| format!("    {}\n", fault_fr(fault))),
    );
    text.extend(judged.late.iter().map(|late| {
        format!(
            "    tardif : {}\n      {}\n",
            release(&late.release),
            why_fr(late.why)
        )
    }));
    text.extend(judged.unproved.iter().map(|place| {
        format!(
            "    ni tardif ni à temps, rien ne le prouve : {}\n",
            release(place)
        )
    }));
    text.extend(
        judged
            .not_judged
            .iter()
            .map(|why| format!("    {}\n", not_judged_fr(*why))),
    );
    text.extend(
        judged
            .remarks
            .iter()
            .map(|remark| format!("    {}\n", remark_fr(remark))),
    );
    text
}

fn release(place: &Place) -> String {
    let exchange = place
        .exchange
        .map_or_else(|| "sans échange".to_owned(), |exchange| exchange.to_string());
    format!(
        "{exchange} ({} n° {}, {})",
        place.origin,
        place.index,
        place.at.to_rfc3339()
    )
}

fn waiting(checked: &Checked, pending: &Pending) -> String {
    let who = |participant: Option<unefois_core::ParticipantId>| {
        participant.map_or_else(|| "–".to_owned(), |id| id.siret().to_string())
    };
    format!(
        "  {} n° {}, depuis le {} : {} auprès de {}\n",
        origin(checked, pending.log),
        pending.index,
        pending.at.to_rfc3339(),
        who(pending.requester),
        who(pending.provider)
    )
}

const fn why_fr(why: Why) -> &'static str {
    match why {
        Why::View => "le nœud avait ce retrait quand il a communiqué",
        Why::Acknowledged => "le registre avait déjà accusé réception du retrait à une taille plus petite",
        Why::Lapsed => "le bail du nœud avait pris fin",
        Why::Closed => "le bail du nœud était interrompu",
    }
}

fn fault_fr(fault: &Fault) -> String {
    match fault {
        Fault::Evidence => "ce qui est divulgué n'ouvre pas ce que l'écriture engage".to_owned(),
        Fault::NotAProof => "ce que l'écriture engage n'est pas une preuve d'effet".to_owned(),
        Fault::OtherTerms => "l'écriture et la preuve ne parlent pas du même retrait".to_owned(),
        Fault::Secret => "aucun secret divulgué n'ouvre l'engagement de l'écriture".to_owned(),
        Fault::NoLine(log) => {
            format!("la preuve omet le registre {log}, que l'annuaire donne à cet opérateur")
        }
        Fault::OtherLine(log) => format!("la ligne du registre {log} n'a pas sa place dans la preuve"),
        Fault::Checkpoint(log) => format!("la tête citée n'est pas signée par la clé du registre {log}"),
        Fault::BelowRecord(log) => format!("le registre {log} a accusé réception d'un retrait antérieur"),
        Fault::OtherHistory(log) => format!("le registre {log} ne prolonge pas la tête citée par la preuve"),
        Fault::TwoProofs(index) => format!("une autre preuve du même retrait est à l'écriture {index}"),
        Fault::Epochs(index) => format!("son époque contredit celle du retrait de l'écriture {index}"),
    }
}

fn remark_fr(remark: &Remark) -> String {
    match remark {
        Remark::Duplicate(index) => {
            format!(
                "même preuve qu'à l'écriture {index} : l'autorité s'est arrêtée entre les deux, rien de plus"
            )
        }
        Remark::AddedSince(log) => format!("le registre {log} a pu entrer dans l'annuaire depuis"),
        Remark::RemovedSince(log) => {
            format!("le registre {log} n'est plus dans l'annuaire : il n'est pas lu")
        }
        Remark::Unread(log) => format!("le registre {log} n'a pas pu être lu"),
    }
}

const fn not_judged_fr(why: NotJudged) -> &'static str {
    match why {
        NotJudged::Erased => "effacé : ce qui ouvrait ce retrait a été détruit à son terme",
        NotJudged::Broken => "sans preuve entière, les communications ne sont pas jugées",
        NotJudged::UnknownHandle => {
            "l'autorité ne connaissait pas cette autorisation : rien ne la relie aux échanges"
        }
        NotJudged::MintedSince => {
            "des jetons ont été émis depuis pour ce service, et aucune écriture ne nomme le sien"
        }
        NotJudged::Certificate => "retrait d'un certificat : aucune écriture ne nomme celui du jeton",
        NotJudged::SigningKey => "retrait d'une clé de signature : aucune écriture ne nomme celle du jeton",
        NotJudged::Age => "retrait de tous les jetons antérieurs : aucune écriture ne date le sien",
    }
}
