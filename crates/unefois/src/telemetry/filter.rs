use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt as _, FilterFn, Targets, filter_fn};
use tracing_subscriber::layer::Filter;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;

/// What the targets of our own spans and events begin with: the names of our crates.
const OURS: &str = "unefois";

/// The text is no filter of logs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a level (error, warn, info, debug, trace, off) nor a target=level")]
pub struct InvalidFilter(String);

/// Replaces the filter in force.
#[derive(Clone, Debug)]
pub(super) struct Handle(reload::Handle<Targets, Registry>);

impl Handle {
    pub(super) fn set(&self, filter: &str) -> Result<(), InvalidFilter> {
        // It fails only where the subscriber is gone, and the logs with it.
        let _ = self.0.reload(parse(filter)?);
        Ok(())
    }
}

/// A filter of logs that can be replaced, under a cap that cannot.
pub(super) fn reloadable(filter: &str) -> Result<(impl Filter<Registry> + use<>, Handle), InvalidFilter> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    Ok((filter.and(filter_fn(speakable)), Handle(handle)))
}

/// Our own spans and events, INFO and above: what is traced.
pub(super) fn ours<S: Subscriber>() -> impl Filter<S> {
    FilterFn::new(|metadata| is_ours(metadata) && *metadata.level() <= Level::INFO)
}

/// Whether it may be logged at all: below WARN, libraries log headers, frames and statements.
fn speakable(metadata: &Metadata<'_>) -> bool {
    is_ours(metadata) || *metadata.level() <= Level::WARN
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with(OURS)
}

fn parse(filter: &str) -> Result<Targets, InvalidFilter> {
    for part in filter.split(',') {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        // An empty level reads as ERROR.
        if level.is_empty() || level.parse::<LevelFilter>().is_err() {
            return Err(InvalidFilter(part.to_owned()));
        }
    }
    filter.parse().map_err(|_| InvalidFilter(filter.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistaken_filter_is_refused_rather_than_read_as_a_target() {
        for filter in [
            "",
            "inof",
            "unefois",
            "unefois=",
            "unefois=loud",
            "info,",
            "info debug",
        ] {
            assert!(parse(filter).is_err(), "{filter}");
        }
    }

    #[test]
    fn levels_and_targets_are_read() {
        let targets = parse("warn,unefois_node=debug").unwrap();
        assert!(targets.would_enable("unefois_node::consumer", &Level::DEBUG));
        assert!(!targets.would_enable("unefois_mesh", &Level::INFO));
        assert!(parse("off").is_ok());
    }
}
