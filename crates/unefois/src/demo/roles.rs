//! The configuration of each process of the demonstration: the samples of `deploy/`, at this world's addresses.

use toml::{Table, Value};

use super::world::{CNAF, MESR, World};
use crate::config::{Override, overridden};
use crate::failure::{Failure, Kind};

const AUTHORITY: &str = include_str!("../../../../deploy/authority.toml");
const PRODUCER: &str = include_str!("../../../../deploy/node-producer.toml");
const CONSUMER: &str = include_str!("../../../../deploy/node-consumer.toml");

/// The files of every process by their path in the world's folder, with their text.
///
/// # Errors
/// A sample does not read; a test keeps that from happening.
pub fn files(world: &World) -> Result<Vec<(&'static str, String)>, Failure> {
    let ports = world.ports;
    let backend = format!("http://127.0.0.1:{}/quotient-familial", ports.backend);
    Ok(vec![
        (
            "authority/authority.toml",
            file(
                world,
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
            "cnaf/node.toml",
            file(
                world,
                PRODUCER,
                &[
                    ("node.participant", CNAF.into()),
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
            "mesr/node.toml",
            file(
                world,
                PRODUCER,
                &[
                    ("node.participant", MESR.into()),
                    ("listen.mesh", loopback(ports.mesr)),
                    (
                        "producer.produce",
                        produce("mesr/statut-etudiant@1", "sandbox", "./cases".into()),
                    ),
                ],
            )?,
        ),
        (
            "clamart/node.toml",
            file(world, CONSUMER, &[("listen.mesh", loopback(ports.clamart))])?,
        ),
    ])
}

fn file(world: &World, sample: &str, overrides: &[(&str, Value)]) -> Result<String, Failure> {
    let pin = ("directory.key", Value::String(world.pin.to_string()));
    let overrides: Vec<Override> = (overrides.iter().chain([&pin]))
        .map(|(path, value)| (path.split('.').map(str::to_owned).collect(), value.clone()))
        .collect();
    toml::to_string(&overridden(sample, &overrides)?)
        .map_err(|e| Failure::new(Kind::Bug, "une configuration n'est pas écrite").because(e))
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

/// `[[login]]` as the sample has it, at this world's provider.
fn login(world: &World) -> Value {
    Value::Array(vec![table([
        ("name", "fc".into()),
        ("label", "FranceConnect".into()),
        ("issuer", world.idp_issuer.clone().into()),
        ("client_id", "unefois".into()),
        ("client_secret", "./fc.secret".into()),
        ("levels", table([("eidas1", "eidas1".into())])),
    ])])
}
