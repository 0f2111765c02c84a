//! What must hold before an authority takes anything from another.

use std::path::Path;
use std::sync::Arc;

use unefois_core::directory::Jwk;
use unefois_core::{Clock, Random};
use unefois_jose::SystemRandom;
use unefois_mesh::{Identity, Trust};
use unefois_store::{Component, Db};
use unefois_tlog::SignerKey;
use zeroize::Zeroizing;

use super::StartError;
use crate::config::Config;
use crate::keys::{KeyFileError, Keys, decryption_key};
use crate::login::{Provider, ProviderConfig};
use crate::portal::Theme;
use crate::published::Published;

/// An authority that was found able to serve, and does not yet.
pub struct Prepared {
    pub(super) config: Config,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) rng: SystemRandom,
    pub(super) keys: Arc<Keys>,
    pub(super) published: Arc<Published>,
    pub(super) signer: SignerKey,
    pub(super) providers: Vec<Provider>,
    pub(super) theme: Theme,
    pub(super) identity: Arc<Identity>,
    pub(super) trust: Arc<Trust>,
    pub(super) db: Db,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").finish_non_exhaustive()
    }
}

impl Prepared {
    /// Reads and judges everything that `config` names, opens the database and brings its schema up to date.
    ///
    /// # Errors
    /// [`StartError`] says what is wrong.
    pub async fn new(
        config: Config,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        rng: SystemRandom,
    ) -> Result<Self, StartError> {
        check(&config)?;
        let keys = Arc::new(Keys::load(&config.keys, &rng)?);
        let published = Arc::new(Published::load(config.directory.clone())?);
        agree(&config, &published)?;
        let signer = SignerKey::from_text(text(&config.ledger.signer)?.trim()).map_err(StartError::Signer)?;
        listed(&config, &keys, &signer, &published)?;
        let providers = config
            .login
            .iter()
            .map(|provider| provider_of(provider, &clock))
            .collect::<Result<_, _>>()?;
        let theme = match &config.portal.theme {
            Some(folder) => Theme::load(folder)?,
            None => Theme::default(),
        };
        let identity = Arc::new(Identity::load(config.tls.chain.clone(), config.tls.key.clone())?);
        let trust = Arc::new(Trust::load(
            config.tls.authorities.clone(),
            config.tls.crls.clone(),
        )?);
        let db = Db::open(&config.database.url, Component::Authority).await?;
        Ok(Self {
            config,
            clock,
            random,
            rng,
            keys,
            published,
            signer,
            providers,
            theme,
            identity,
            trust,
            db,
        })
    }

    /// Whether it waits until another process of this authority has stopped, before it serves.
    pub const fn is_standby(&self) -> bool {
        self.config.authority.standby
    }

    /// Reads its certificate and the CRLs again, as [`Running::reload`] does once it serves.
    pub fn reloading(&self) -> impl Fn() -> Result<(), unefois_mesh::Error> + use<> {
        let (identity, trust) = (Arc::clone(&self.identity), Arc::clone(&self.trust));
        move || {
            identity.reload()?;
            trust.reload()
        }
    }
}

/// What the configuration must say for itself.
fn check(config: &Config) -> Result<(), StartError> {
    if config.login.is_empty() {
        return Err(StartError::Config("there is no [[login]]"));
    }
    let mut names: Vec<&str> = config.login.iter().map(|p| p.name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(StartError::Config("two [[login]] have one name"));
    }
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !names
        .iter()
        .all(|name| (1..=16).contains(&name.len()) && name.bytes().all(plain))
    {
        return Err(StartError::Config(
            "login.name is up to 16 lower-case letters and digits",
        ));
    }
    for provider in &config.login {
        provider.check().map_err(StartError::Config)?;
    }
    if config.authority.issuer.ends_with('/') {
        return Err(StartError::Config("authority.issuer ends with a slash"));
    }
    if config.authority.standby && config.database.url.starts_with("sqlite:") {
        return Err(StartError::Config(
            "authority.standby needs PostgreSQL: one process alone has a SQLite file",
        ));
    }
    let loopback = config.listen.mesh.ip().is_loopback() && config.listen.portal.ip().is_loopback();
    if config.demo.personas && !loopback {
        return Err(StartError::Config(
            "demo.personas is for listeners on loopback only",
        ));
    }
    Ok(())
}

/// What the configuration and the directory must agree on.
fn agree(config: &Config, published: &Published) -> Result<(), StartError> {
    let edition = published.edition();
    let row = edition.directory.authority();
    if row.participant != config.authority.participant {
        return Err(StartError::Config(
            "the directory names another participant as the authority",
        ));
    }
    if row.issuer != config.authority.issuer {
        return Err(StartError::Config("the directory names another issuer URL"));
    }
    Ok(())
}

/// Whether the directory lists the keys that this authority signs with, at present or to come. With another key every
/// token, withdrawal and head would be refused.
fn listed(config: &Config, keys: &Keys, signer: &SignerKey, published: &Published) -> Result<(), StartError> {
    let edition = published.edition();
    let row = edition.directory.authority();
    for (keys, listed, path, what) in [
        (
            &keys.token,
            &row.token_keys,
            &config.keys.token,
            "the directory does not list it among the token_keys",
        ),
        (
            &keys.withdrawal,
            &row.withdrawal_keys,
            &config.keys.withdrawal,
            "the directory does not list it among the withdrawal_keys",
        ),
    ] {
        // The one that is to follow may be listed later, and the present one be gone by now.
        if keys.first_of(listed.iter().map(Jwk::kid)).is_none() {
            let path = path.clone();
            return Err(KeyFileError { path, what }.into());
        }
    }
    for (key, path) in keys.pivot.iter().zip(&config.keys.pivot) {
        let kid = key.thumbprint().to_string();
        if !row.subject_keys.iter().any(|key| key.kid() == kid) {
            let (path, what) = (
                path.clone(),
                "the directory does not list it among the subject_keys",
            );
            return Err(KeyFileError { path, what }.into());
        }
    }
    let vkey = signer.verifier().to_string();
    let own = edition.directory.participant(&row.participant);
    match own.is_some_and(|own| own.logs.iter().any(|log| log.vkey == vkey)) {
        true => Ok(()),
        false => Err(KeyFileError {
            path: config.ledger.signer.clone(),
            what: "the directory does not list this log and this key for the authority",
        }
        .into()),
    }
}

pub(super) fn origin(issuer: &str) -> Result<String, StartError> {
    let url = url::Url::parse(issuer).map_err(|_| StartError::Config("authority.issuer is not a URL"))?;
    Ok(url.origin().ascii_serialization())
}

fn provider_of(config: &ProviderConfig, clock: &Arc<dyn Clock>) -> Result<Provider, StartError> {
    let secret = Zeroizing::new(text(&config.client_secret)?.trim().to_owned());
    let authorities = match &config.authorities {
        Some(path) => Some(bytes(path)?),
        None => None,
    };
    let decryption = config.decryption.iter().map(|path| decryption_key(path));
    Ok(Provider::new(
        config.clone(),
        secret,
        authorities.as_deref(),
        decryption.collect::<Result<_, _>>()?,
        Arc::clone(clock),
    )?)
}

fn bytes(path: &Path) -> Result<Vec<u8>, StartError> {
    std::fs::read(path).map_err(|source| StartError::Read {
        path: path.to_owned(),
        source,
    })
}

pub(super) fn text(path: &Path) -> Result<Zeroizing<String>, StartError> {
    let text = std::fs::read_to_string(path).map_err(|source| StartError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(Zeroizing::new(text))
}
