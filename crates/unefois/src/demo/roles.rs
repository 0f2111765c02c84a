//! The configuration of each process of the demonstration: the samples of `deploy/`, at this world's addresses.

use toml::{Table, Value};

use super::idp::{AGENT, DIRIGEANT, IdpKind};
use super::world::{CNAF, DGFIP, MESR, Member, World};
use crate::config::{Override, overridden};
use crate::failure::{Failure, Kind};

const AUTHORITY: &str = include_str!("../../../../deploy/authority.toml");
const PRODUCER: &str = include_str!("../../../../deploy/node-producer.toml");
const CONSUMER: &str = include_str!("../../../../deploy/node-consumer.toml");

/// The file of every process.
///
/// # Errors
/// A sample does not read; a test keeps that from happening.
pub fn files(world: &World) -> Result<Vec<(Member, String)>, Failure> {
    let ports = world.ports;
    let backend = format!("http://127.0.0.1:{}/quotient-familial", ports.backend);
    Ok(vec![
        (
            Member::Authority,
            file(
                world,
                Member::Authority,
                AUTHORITY,
                &[
                    (
                        "authority.issuer",
                        format!("http://localhost:{}", ports.portal).into(),
                    ),
                    (
                        "authority.mesh_url",
                        format!("https://localhost:{}", ports.authority).into(),
                    ),
                    ("listen.mesh", loopback(ports.authority)),
                    ("listen.portal", loopback(ports.portal)),
                    ("login", login(world)),
                    ("demo.personas", true.into()),
                ],
            )?,
        ),
        (
            Member::Cnaf,
            file(
                world,
                Member::Cnaf,
                PRODUCER,
                &[
                    ("node.participant", CNAF.into()),
                    ("producer.habilitation_keys", signs(world, Member::Cnaf)),
                    ("listen.mesh", loopback(ports.cnaf)),
                    (
                        "producer.produce",
                        produce(
                            "cnaf/quotient-familial@1",
                            "http",
                            table([("url", backend.into())]),
                        ),
                    ),
                ],
            )?,
        ),
        (
            Member::Mesr,
            file(
                world,
                Member::Mesr,
                PRODUCER,
                &[
                    ("node.participant", MESR.into()),
                    ("producer.habilitation_keys", signs(world, Member::Mesr)),
                    ("listen.mesh", loopback(ports.mesr)),
                    (
                        "producer.produce",
                        produce("mesr/statut-etudiant@1", "sandbox", "./cases".into()),
                    ),
                ],
            )?,
        ),
        (
            Member::Dgfip,
            file(
                world,
                Member::Dgfip,
                PRODUCER,
                &[
                    ("node.participant", DGFIP.into()),
                    ("producer.habilitation_keys", signs(world, Member::Dgfip)),
                    ("listen.mesh", loopback(ports.dgfip)),
                    (
                        "producer.produce",
                        produce("dgfip/revenu-fiscal-de-reference@1", "sandbox", "./cases".into()),
                    ),
                ],
            )?,
        ),
        (
            Member::Clamart,
            file(
                world,
                Member::Clamart,
                CONSUMER,
                &[("listen.mesh", loopback(ports.clamart))],
            )?,
        ),
    ])
}

fn file(world: &World, member: Member, sample: &str, overrides: &[(&str, Value)]) -> Result<String, Failure> {
    let common = [
        ("directory.key", Value::String(world.pin.to_string())),
        ("admin.listen", loopback(world.ports.admin(member))),
        ("public.listen", loopback(world.ports.public(member))),
        // The shortest there is: whoever looks on need not wait long for the next head.
        ("public.every_s", 10.into()),
        ("witness.ask", asked(world, member)),
    ];
    let overrides: Vec<Override> = (overrides.iter().chain(&common))
        .map(|(path, value)| (path.split('.').map(str::to_owned).collect(), value.clone()))
        .collect();
    toml::to_string(&overridden(sample, &overrides)?)
        .map_err(|e| Failure::new(Kind::Bug, "une configuration n'est pas écrite").because(e))
}

/// What a producer's habilitations must be signed with.
fn signs(world: &World, member: Member) -> Value {
    Value::Array(vec![world.habilitation_keys[member as usize].clone().into()])
}

fn loopback(port: u16) -> Value {
    format!("127.0.0.1:{port}").into()
}

fn table<const N: usize>(rows: [(&str, Value); N]) -> Value {
    Value::Table(Table::from_iter(rows.map(|(key, value)| (key.to_owned(), value))))
}

fn produce(datatype: &str, source: &str, value: Value) -> Value {
    Value::Array(vec![table([("datatype", datatype.into()), (source, value)])])
}

/// `[[witness.ask]]`: one witness over the mesh, the other as somebody outside of it is asked.
fn asked(world: &World, member: Member) -> Value {
    let [peer, outsider] = member.witnesses();
    let vkey = |witness: Member| Value::String(world.witness_keys[witness as usize].clone());
    let url = format!("http://127.0.0.1:{}", world.ports.public(outsider));
    Value::Array(vec![
        table([("participant", peer.participant().into()), ("vkey", vkey(peer))]),
        table([("url", url.into()), ("vkey", vkey(outsider))]),
    ])
}

/// `[[login]]` as the sample has it, at this world's providers.
fn login(world: &World) -> Value {
    let rows = IdpKind::ALL.map(|kind| {
        let secret = format!("./{}.secret", kind.name());
        let mut row = table([
            ("name", kind.name().into()),
            ("kind", kind.label().to_lowercase().into()),
            ("label", kind.label().into()),
            ("issuer", world.idps[kind as usize].issuer.clone().into()),
            ("client_id", "unefois".into()),
            ("client_secret", secret.into()),
        ]);
        let levels = |levels: &[&str]| {
            Value::Table(
                levels
                    .iter()
                    .map(|level| ((*level).to_owned(), (*level).into()))
                    .collect(),
            )
        };
        let more = match kind {
            IdpKind::FranceConnect => vec![("levels", levels(&["eidas1"]))],
            IdpKind::FranceConnectPlus => vec![
                ("levels", levels(&["eidas2", "eidas3"])),
                ("decryption", Value::Array(vec!["./fcp.key".into()])),
            ],
            IdpKind::ProConnect => vec![(
                "officers",
                table([(AGENT, "identified".into()), (DIRIGEANT, "certified".into())]),
            )],
        };
        if let Value::Table(row) = &mut row {
            row.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
        }
        row
    });
    Value::Array(rows.into())
}
