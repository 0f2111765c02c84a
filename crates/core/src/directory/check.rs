//! What the closed schema alone cannot say about a directory.

use std::collections::BTreeSet;

use super::{DirectoryDocument, DirectoryError};
use crate::SignerRole;

/// Leases shorter than this cannot survive a scheduling pause; longer ones make a withdrawal slow.
const LEASE_MS: std::ops::RangeInclusive<u32> = 200..=60_000;

pub(super) fn check(d: &DirectoryDocument) -> Result<(), DirectoryError> {
    let wrong = |path: String, what| Err(DirectoryError::Inconsistent { path, what });
    if d.version == 0 {
        return wrong("version".to_owned(), "versions count from 1");
    }
    if (d.version == 1) != d.prev.is_none() {
        return wrong(
            "prev".to_owned(),
            "every version but the first names the one before",
        );
    }
    if !(d.issued_at < d.next_update && d.next_update <= d.expires) {
        return wrong(
            "next_update".to_owned(),
            "issued_at, next_update and expires must follow one another",
        );
    }
    if !LEASE_MS.contains(&d.lease_ms) {
        return wrong("lease_ms".to_owned(), "a lease lasts 200 to 60000 ms");
    }

    if !d.next_directory_key.iter().all(|kid| is_thumbprint(kid)) {
        return wrong(
            "next_directory_key".to_owned(),
            "a thumbprint is 32 bytes in base64url",
        );
    }

    let known: BTreeSet<_> = d.participants.iter().map(|p| p.id).collect();
    let (mut ids, mut origins, mut keys) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut signers = BTreeSet::new();
    for (n, p) in d.participants.iter().enumerate() {
        let path = |member: &str| format!("participants[{n}].{member}");
        if !ids.insert(p.id) {
            return wrong(path("id"), "another participant has this id");
        }
        if !p.mesh.iter().all(|endpoint| is_endpoint(endpoint)) {
            return wrong(path("mesh"), "an endpoint is host:port");
        }
        if !p.redirect_uris.iter().all(|uri| is_redirect_uri(uri)) {
            return wrong(
                path("redirect_uris"),
                "https, or http on 127.0.0.1 or [::1], without fragment or wildcard",
            );
        }
        if !p.public_url.iter().all(|url| is_redirect_uri(url)) {
            return wrong(path("public_url"), "https, or http on 127.0.0.1 or [::1]");
        }
        if p.tls.is_empty() {
            return wrong(path("tls"), "a participant has at least one key");
        }
        // One key, one participant: otherwise a certificate would be good for two.
        if !p.tls.iter().all(|key| keys.insert(key.spki_sha256)) {
            return wrong(path("tls"), "another row has this key");
        }
        // One key, one signer: otherwise one signature would be that of two.
        if !p.habilitation_keys.iter().all(|key| signers.insert(key.kid())) {
            return wrong(path("habilitation_keys"), "this key stands twice");
        }
        for log in &p.logs {
            if !origins.insert(&log.origin) {
                return wrong(path("logs"), "another log has this origin");
            }
            let named = log
                .vkey
                .strip_prefix(log.origin.as_str())
                .is_some_and(|rest| rest.starts_with('+'));
            if log.origin.is_empty() || !named {
                return wrong(
                    path("logs"),
                    "a log's verifier key is its origin, +, a hash, +, the key",
                );
            }
        }
        if !p
            .publishers
            .iter()
            .all(|publisher| *publisher != p.id && known.contains(publisher))
        {
            return wrong(
                path("publishers"),
                "a publisher is another participant of this directory",
            );
        }
    }
    for (n, auditor) in d.auditors.iter().enumerate() {
        if !keys.insert(auditor.spki_sha256) {
            return wrong(format!("auditors[{n}].spki_sha256"), "another row has this key");
        }
    }

    if !known.contains(&d.authority.participant) {
        return wrong(
            "authority.participant".to_owned(),
            "not a participant of this directory",
        );
    }
    if d.authority.token_keys.is_empty() || d.authority.withdrawal_keys.is_empty() {
        return wrong(
            "authority".to_owned(),
            "the authority has a token key and a withdrawal key",
        );
    }

    let mut issuers = BTreeSet::new();
    for (n, p) in d.authority.identity_providers.iter().enumerate() {
        let path = |member: &str| format!("authority.identity_providers[{n}].{member}");
        if !issuers.insert(&p.issuer) {
            return wrong(path("issuer"), "another identity provider has this issuer");
        }
        if !p.acr.is_empty() && !p.officers.is_empty() {
            return wrong(
                path("officers"),
                "an identity provider is one of people or one of officers",
            );
        }
    }

    let mut numbers = BTreeSet::new();
    for (n, row) in d.habilitations.iter().enumerate() {
        let h = &row.habilitation;
        let path = |member: &str| format!("habilitations[{n}].{member}");
        if !numbers.insert(&h.id) {
            return wrong(path("id"), "another habilitation has this number");
        }
        for (member, id) in [
            ("consumer", Some(h.consumer)),
            ("producer", Some(h.producer)),
            ("publisher", h.publisher),
        ] {
            if id.is_some_and(|id| !known.contains(&id)) {
                return wrong(path(member), "not a participant of this directory");
            }
        }
        if h.authority != d.authority.participant {
            return wrong(
                path("authority"),
                "a habilitation counts in its own authority's directory alone",
            );
        }
        for role in SignerRole::ALL {
            if row.signatures.of(role).is_none() {
                return wrong(
                    path(&format!("signatures.{role}")),
                    "a habilitation is signed by its consumer, its producer and the authority",
                );
            }
        }
        if h.not_before >= h.not_after {
            return wrong(path("not_after"), "it ends before it starts");
        }
        let mut seen = BTreeSet::new();
        if !h.datatypes.iter().all(|d| seen.insert(&d.datatype)) {
            return wrong(path("datatypes"), "a datatype stands here twice");
        }
    }
    let mut quotas = BTreeSet::new();
    for (n, q) in d.quotas.iter().enumerate() {
        if !known.contains(&q.consumer) {
            return wrong(
                format!("quotas[{n}].consumer"),
                "not a participant of this directory",
            );
        }
        if !quotas.insert((q.consumer, &q.datatype)) {
            return wrong(
                format!("quotas[{n}]"),
                "another quota is for the same consumer and datatype",
            );
        }
    }
    for (n, w) in d.closed_windows.iter().enumerate() {
        if !known.contains(&w.participant) {
            return wrong(
                format!("closed_windows[{n}].participant"),
                "not a participant of this directory",
            );
        }
    }
    Ok(())
}

fn is_thumbprint(text: &str) -> bool {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text);
    bytes.is_ok_and(|bytes| bytes.len() == 32)
}

fn is_endpoint(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && host
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'[' | b']' | b':'))
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

/// RFC 9700, 2.1: exact, secure but for the loopback of RFC 8252.
fn is_redirect_uri(text: &str) -> bool {
    let loopback = ["http://127.0.0.1", "http://[::1]"].iter().any(|prefix| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
    });
    let https = text
        .strip_prefix("https://")
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    (https || loopback)
        && text
            .bytes()
            .all(|c| c.is_ascii_graphic() && !matches!(c, b'#' | b'*' | b'@' | b'\\'))
}
