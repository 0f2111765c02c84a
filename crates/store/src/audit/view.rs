//! The definitions of the views.

use unefois_core::{Acr, Capacity, Event, Outcome, Reason};

/// Whose SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Postgres,
    Sqlite,
}

/// One view.
pub(super) struct View {
    pub(super) name: &'static str,
    pub(super) comment: &'static str,
    pub(super) columns: &'static [Column],
    /// The query, whose columns are those above, in their order.
    pub(super) select: fn(Dialect) -> String,
}

/// One column of a view.
pub(super) struct Column {
    pub(super) name: &'static str,
    /// Its type, for people.
    pub(super) kind: &'static str,
    pub(super) comment: &'static str,
}

const fn column(name: &'static str, kind: &'static str, comment: &'static str) -> Column {
    Column { name, kind, comment }
}

const ORIGIN: Column = column(
    "origin",
    "texte",
    "Nom du registre : urn:unefois:participant:SIRET/numéro.",
);
const PLACE: Column = column(
    "place",
    "entier",
    "Rang de l'écriture dans son registre, à partir de 0.",
);
const AT_US: Column = column(
    "at_us",
    "entier",
    "Instant de l'écriture, en microsecondes depuis le 1er janvier 1970 UTC ; jamais décroissant dans un registre.",
);
const AT: Column = column(
    "at",
    "texte",
    "Le même instant en RFC 3339, UTC, à la microseconde.",
);

/// Every view, in the order in which they are made.
pub(super) const VIEWS: &[View] = &[
    View {
        name: "entry",
        comment: "Une ligne par écriture de chaque registre de la base. Rien n'y désigne une personne.",
        columns: &[
            ORIGIN,
            PLACE,
            AT_US,
            AT,
            column(
                "event",
                "texte",
                "Ce qui s'est passé : released, received, refused, minted, withdrawn, tally…",
            ),
            column(
                "exchange_id",
                "texte",
                "Identifiant de l'échange (UUID version 7), le même aux deux bouts ; vide hors échange.",
            ),
            column("requester", "texte", "SIRET du demandeur."),
            column("provider", "texte", "SIRET de l'opérateur qui répond."),
            column(
                "holder",
                "texte",
                "Nom court de l'organisme dont ce sont les données.",
            ),
            column(
                "publisher",
                "texte",
                "SIRET de l'éditeur qui héberge le demandeur ; vide s'il n'y en a pas.",
            ),
            column(
                "datatype",
                "texte",
                "Information demandée et sa révision, comme cnaf/quotient-familial@1.",
            ),
            column("demarche", "texte", "Démarche pour laquelle elle est demandée."),
            column("habilitation", "texte", "Numéro de l'habilitation."),
            column(
                "legal_basis",
                "texte",
                "Fondement : CRPA-L114-8-I, CRPA-L114-8-II, RGPD-6-1-a ou TEXTE:id.",
            ),
            column(
                "capacity",
                "texte",
                "À quel titre la personne agit : self, child, entity, helper, agent, automatic.",
            ),
            column(
                "acr",
                "texte",
                "Niveau de garantie de son identité : eidas1, eidas2, eidas3.",
            ),
            column(
                "units",
                "entier",
                "Unités en cause : le bit n est la n-ième unité de la révision.",
            ),
            column("outcome", "texte", "Issue : answered, later, refused."),
            column(
                "reason",
                "texte",
                "Motif d'un refus ou d'un report, comme TOKEN_CONSUMED.",
            ),
            column(
                "entry",
                "octets",
                "L'écriture elle-même : ce que l'arbre du registre prouve ; toutes les autres colonnes en sont tirées.",
            ),
        ],
        select: entry,
    },
    View {
        name: "exchange",
        comment: "Une ligne par échange et par registre : comment il a fini, d'après sa dernière écriture.",
        columns: &[
            ORIGIN,
            column(
                "exchange_id",
                "texte",
                "Identifiant de l'échange (UUID version 7).",
            ),
            column(
                "entries",
                "entier",
                "Nombre d'écritures de l'échange dans ce registre.",
            ),
            column("first_place", "entier", "Rang de la première."),
            column("last_place", "entier", "Rang de la dernière."),
            column("first_at", "texte", "Instant de la première, RFC 3339."),
            column("last_at", "texte", "Instant de la dernière, RFC 3339."),
            column(
                "event",
                "texte",
                "Ce que dit la dernière : released, received, refused, withheld…",
            ),
            column("outcome", "texte", "Issue : answered, later, refused."),
            column("reason", "texte", "Motif d'un refus ou d'un report."),
            column("requester", "texte", "SIRET du demandeur."),
            column("provider", "texte", "SIRET de l'opérateur qui répond."),
            column(
                "holder",
                "texte",
                "Nom court de l'organisme dont ce sont les données.",
            ),
            column("datatype", "texte", "Information demandée et sa révision."),
            column("demarche", "texte", "Démarche."),
            column("habilitation", "texte", "Numéro de l'habilitation."),
            column("legal_basis", "texte", "Fondement."),
            column("capacity", "texte", "À quel titre la personne agit."),
        ],
        select: exchange,
    },
    View {
        name: "tally",
        comment: "Une ligne par écriture tally : les comptes horaires que le registre engage.",
        columns: &[
            ORIGIN,
            PLACE,
            AT_US,
            AT,
            column(
                "counts",
                "texte",
                "Les comptes, une ligne chacun : échanges par demandeur, opérateur, information et issue ; appels écartés avant d'être inscrits.",
            ),
        ],
        select: tally,
    },
    View {
        name: "erasure",
        comment: "Une ligne par écriture erased : ce qui a été détruit, et pourquoi.",
        columns: &[
            ORIGIN,
            PLACE,
            AT_US,
            AT,
            column(
                "notice",
                "texte",
                "La cause (fin de durée et mois, ou référence de la décision), puis le nombre de lignes de chaque sorte.",
            ),
        ],
        select: erasure,
    },
    View {
        name: "head",
        comment: "Une ligne par registre : sa tête signée.",
        columns: &[
            ORIGIN,
            column("size", "entier", "Nombre d'écritures."),
            column("root", "texte", "Racine de l'arbre, en hexadécimal."),
            column(
                "at",
                "texte",
                "Instant de la dernière écriture, RFC 3339 ; vide pour un registre sans écriture.",
            ),
            column(
                "checkpoint",
                "texte",
                "La tête signée (C2SP) ; vide pour un registre sans écriture.",
            ),
        ],
        select: head,
    },
];

fn entry(dialect: Dialect) -> String {
    let words = |column: &str, words: &mut dyn Iterator<Item = (u8, &'static str)>| {
        let cases: Vec<String> = words
            .map(|(code, word)| format!("WHEN {code} THEN '{word}'"))
            .collect();
        format!("CASE e.{column} {} END", cases.join(" "))
    };
    let name = |column: &str| format!("{column}_name.name");
    let names = [
        "requester",
        "provider",
        "holder",
        "publisher",
        "datatype",
        "demarche",
        "habilitation",
        "legal_basis",
    ];
    let joins: String = (names.iter())
        .map(|column| format!(" LEFT JOIN ledger_name {column}_name ON {column}_name.id = e.{column}"))
        .collect();
    let columns = [
        "h.origin".to_owned(),
        "e.idx".to_owned(),
        "e.at".to_owned(),
        instant(dialect, "e.at"),
        words(
            "event",
            &mut Event::ALL.iter().map(|word| (word.code(), word.as_str())),
        ),
        uuid(dialect, "e.exchange_id"),
        name("requester"),
        name("provider"),
        name("holder"),
        name("publisher"),
        name("datatype"),
        name("demarche"),
        name("habilitation"),
        name("legal_basis"),
        words(
            "capacity",
            &mut Capacity::ALL.iter().map(|word| (word.code(), word.as_str())),
        ),
        words(
            "acr",
            &mut Acr::ALL.iter().map(|word| (word.code(), word.as_str())),
        ),
        "e.units".to_owned(),
        words(
            "outcome",
            &mut Outcome::ALL.iter().map(|word| (word.code(), word.as_str())),
        ),
        words(
            "reason",
            &mut Reason::ALL.iter().map(|word| (word.code(), word.as_str())),
        ),
        "e.entry".to_owned(),
    ];
    // What lies beyond a head is in no log yet.
    format!(
        "SELECT {} FROM ledger_entry e JOIN ledger_head h ON h.log = e.log AND e.idx < h.size{joins}",
        columns.join(", ")
    )
}

fn exchange(dialect: Dialect) -> String {
    let entry = view(dialect, "entry");
    format!(
        "SELECT l.origin, l.exchange_id, g.entries, g.first_place, g.last_place, f.at, l.at, l.event, l.outcome, l.reason, \
         l.requester, l.provider, l.holder, l.datatype, l.demarche, l.habilitation, l.legal_basis, l.capacity \
         FROM (SELECT origin, exchange_id, COUNT(*) AS entries, MIN(place) AS first_place, MAX(place) AS last_place \
         FROM {entry} WHERE exchange_id IS NOT NULL GROUP BY origin, exchange_id) g \
         JOIN {entry} f ON f.origin = g.origin AND f.place = g.first_place \
         JOIN {entry} l ON l.origin = g.origin AND l.place = g.last_place"
    )
}

fn tally(dialect: Dialect) -> String {
    noted(dialect, Event::Tally)
}

fn erasure(dialect: Dialect) -> String {
    noted(dialect, Event::Erased)
}

/// The entries of one event with their evidence, which is text.
fn noted(dialect: Dialect, event: Event) -> String {
    let text = match dialect {
        Dialect::Postgres => "convert_from(v.body, 'UTF8')",
        Dialect::Sqlite => "CAST(v.body AS TEXT)",
    };
    format!(
        "SELECT h.origin, e.idx, e.at, {}, {text} FROM ledger_entry e \
         JOIN ledger_head h ON h.log = e.log AND e.idx < h.size \
         JOIN ledger_evidence v ON v.log = e.log AND v.idx = e.idx WHERE e.event = {}",
        instant(dialect, "e.at"),
        event.code()
    )
}

fn head(dialect: Dialect) -> String {
    let root = match dialect {
        Dialect::Postgres => "encode(root, 'hex')",
        Dialect::Sqlite => "lower(hex(root))",
    };
    format!(
        "SELECT origin, size, {root}, CASE WHEN size > 0 THEN {} END, checkpoint FROM ledger_head",
        instant(dialect, "at")
    )
}

/// A view's own name.
fn view(dialect: Dialect, name: &str) -> String {
    match dialect {
        Dialect::Postgres => format!("audit.{name}"),
        Dialect::Sqlite => format!("audit_{name}"),
    }
}

/// Microseconds as RFC 3339, so that text sorts as instants do.
fn instant(dialect: Dialect, micros: &str) -> String {
    match dialect {
        Dialect::Postgres => format!(
            "to_char(TIMESTAMP 'epoch' + {micros} * INTERVAL '1 microsecond', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
        ),
        Dialect::Sqlite => format!(
            "strftime('%Y-%m-%dT%H:%M:%S', {micros} / 1000000, 'unixepoch') || printf('.%06dZ', {micros} % 1000000)"
        ),
    }
}

/// A UUID as text.
fn uuid(dialect: Dialect, column: &str) -> String {
    match dialect {
        Dialect::Postgres => format!("CAST({column} AS TEXT)"),
        Dialect::Sqlite => {
            let part = |from: u8, len: u8| format!("substr(lower(hex({column})), {from}, {len})");
            let parts = [part(1, 8), part(9, 4), part(13, 4), part(17, 4), part(21, 12)];
            format!(
                "CASE WHEN {column} IS NOT NULL THEN {} END",
                parts.join(" || '-' || ")
            )
        }
    }
}
