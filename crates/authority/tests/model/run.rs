//! Running the checker and telling what it found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use stateright::{Checker, HasDiscoveries, Model, Property};
use unefois_core::Clock as _;
use unefois_mesh::SystemClock;

use crate::properties::properties;
use crate::setup::Setup;
use crate::state::State;
use crate::steps::{Step, after, steps};

/// The protocol of a setup, as the checker takes it.
#[derive(Debug)]
pub(crate) struct Withdrawals {
    pub(crate) setup: Setup,
    pub(crate) broken: Broken,
}

impl Withdrawals {
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            setup,
            broken: Broken::default(),
        }
    }
}

impl Model for Withdrawals {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(&self.setup)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        steps(&self.setup, state, actions);
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        Some(after(&self.setup, last, step))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties(&self.setup)
    }
}

/// The properties found broken. The checker keeps the last violation among some hundred states, and the first is the
/// shortest, so only that one is told to it.
#[derive(Debug, Default)]
pub(crate) struct Broken(Mutex<BTreeSet<&'static str>>);

impl Broken {
    pub(crate) fn first(&self, property: &'static str, holds: bool) -> bool {
        holds
            || !self
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(property)
    }
}

/// What a run found.
pub(crate) struct Found {
    pub(crate) unique: usize,
    /// For each property that was broken or reached, the steps to it.
    pub(crate) paths: BTreeMap<&'static str, Vec<String>>,
}

/// Explores everything; told in one line. Broken properties, and wanted states that nothing reaches, fail it.
pub(crate) fn holds<M>(name: &str, model: M, threads: usize) -> Found
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + PartialEq + Hash + Send + Sync + Debug + 'static,
    M::Action: Clone + PartialEq + Debug + 'static,
{
    let properties = model.properties();
    let failure = |name: &str| {
        let property = properties.iter().find(|property| property.name == name);
        property.is_some_and(|property| property.expectation.discovery_is_failure())
    };
    let found = run(name, model, threads, HasDiscoveries::AnyFailures);
    for (property, path) in &found.paths {
        assert!(!failure(property), "{property} is broken:\n{}", path.join("\n"));
    }
    for property in &properties {
        let reached = failure(property.name) || found.paths.contains_key(property.name);
        assert!(reached, "{name}: {} is never seen", property.name);
    }
    found
}

/// Explores until `property` is broken, and tells the shortest way there.
pub(crate) fn breaks<M>(name: &str, model: M, property: &'static str) -> Vec<String>
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + PartialEq + Hash + Send + Sync + Debug + 'static,
    M::Action: Clone + PartialEq + Debug + 'static,
{
    let mut found = run(name, model, 1, HasDiscoveries::AnyOf([property].into()));
    let path = found.paths.remove(property);
    let path = path.unwrap_or_else(|| {
        panic!(
            "{name} breaks nothing: {property} holds in {} states",
            found.unique
        )
    });
    println!(
        "{name}: {property} is broken in {} steps: {}",
        path.len(),
        path.join(", ")
    );
    path
}

/// The state after these steps, each of which the state before has.
pub(crate) fn follow(setup: &Setup, path: &[Step]) -> State {
    path.iter().fold(State::first(setup), |state, step| {
        let mut open = Vec::new();
        steps(setup, &state, &mut open);
        assert!(open.contains(step), "{step:?} is no step of {state:?}");
        after(setup, &state, *step)
    })
}

fn run<M>(name: &str, model: M, threads: usize, until: HasDiscoveries) -> Found
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + PartialEq + Hash + Send + Sync + Debug + 'static,
    M::Action: Clone + PartialEq + Debug + 'static,
{
    let began = SystemClock.boottime();
    let checker = model
        .checker()
        .threads(threads)
        .finish_when(until)
        .spawn_bfs()
        .join();
    let took = SystemClock.boottime().micros_since(began);
    println!(
        "{name}: {} states, {} of them distinct, depth {}, {}.{:03} s",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        took / 1_000_000,
        took / 1_000 % 1_000,
    );
    let steps = |path: stateright::Path<M::State, M::Action>| {
        path.into_actions()
            .iter()
            .map(|step| format!("{step:?}"))
            .collect()
    };
    Found {
        unique: checker.unique_state_count(),
        paths: checker
            .discoveries()
            .into_iter()
            .map(|(name, path)| (name, steps(path)))
            .collect(),
    }
}
