use ring::rand::{SecureRandom, SystemRandom as Ring};
use unefois_core::Random;

/// The random generator of the operating system (`getrandom`).
#[derive(Clone, Debug)]
pub struct SystemRandom(Ring);

impl SystemRandom {
    /// The generator.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that the randomness of a process comes from"
    )]
    pub fn new() -> Self {
        Self(Ring::new())
    }

    /// The same generator, as ring's signatures and key agreements take it.
    pub const fn ring(&self) -> &Ring {
        &self.0
    }
}

impl Default for SystemRandom {
    fn default() -> Self {
        Self::new()
    }
}

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        if self.0.fill(bytes).is_err() {
            // A token, a nonce or a secret from a broken generator is worse than no process.
            tracing::error!("the system's random generator failed");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let random: &dyn Random = &SystemRandom::new();
        assert_ne!(random.bytes::<32>(), random.bytes::<32>());
    }
}
