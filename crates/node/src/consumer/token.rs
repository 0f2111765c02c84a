//! Access tokens: verified when they come, kept in memory as long as they live, used with the credential that they
//! were minted with.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use unefois_core::revocation::Record;
use unefois_core::{AccessTokenClaims, AuthorizationDetails, Handle, Micros, ParticipantId, Reason, Sha256};
use unefois_jose::access_token::{self, Expected, VerifiedToken};
use unefois_jose::{PublicKey, VerifyingKey};
use unefois_mesh::{Credential, Edition};
use unefois_store::node::grant::ElementState;

use super::authority::Tokens;
use super::held::Element;
use super::notice::Ended;
use super::request::granted;
use super::{Error, Inner};

/// How much life a token must have left to be used, in seconds.
const MARGIN_S: i64 = 5;

/// An access token with its sealed pivot, which this node cannot open.
pub(super) struct Token {
    verified: VerifiedToken,
    pub(super) text: String,
    pub(super) pivot_jwe: String,
    pub(super) credential: Arc<Credential>,
}

impl Token {
    pub(super) fn claims(&self) -> &AccessTokenClaims {
        self.verified.claims()
    }

    /// The name of the key that signed it.
    pub(super) fn kid(&self) -> String {
        self.verified.kid().to_string()
    }

    fn lives(&self, now: Micros) -> bool {
        now.secs() + MARGIN_S < self.claims().exp
    }
}

/// The tokens that may still serve, by handle.
#[derive(Default)]
pub(super) struct TokenCache(Mutex<HashMap<Handle, Arc<Token>>>);

impl std::fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenCache(…)")
    }
}

impl TokenCache {
    fn fresh(&self, handle: &Handle, now: Micros) -> Option<Arc<Token>> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(handle).filter(|token| token.lives(now)).cloned()
    }

    /// Keeps a token, and forgets those whose time is over.
    pub(super) fn keep(&self, token: &Arc<Token>, now: Micros) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, token| token.lives(now));
        tokens.insert(token.claims().gh, Arc::clone(token));
    }

    pub(super) fn forget(&self, handle: &Handle) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.remove(handle);
    }

    /// Forgets what a record of the authority ended.
    pub(super) fn forget_killed(&self, record: &Record) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, token| !record.kills(token.claims(), &token.kid()));
    }
}

impl Inner {
    /// A token for an element: the one in memory, or a new one under the grant's refresh token. A grant that the
    /// authority ended is dropped.
    pub(super) async fn token(
        &self,
        element: &Element,
        handle: &Handle,
        edition: &Edition,
    ) -> Result<Arc<Token>, Error> {
        let now = self.clock.now();
        if let Some(token) = self.tokens.fresh(handle, now) {
            return Ok(token);
        }
        let (token, details) = self.refresh(element, handle, edition).await?;
        if token.claims().gh != *handle {
            self.follow_narrowed(element, handle, &token, &details).await?;
            return Err(Error::Over(ElementState::Narrowed));
        }
        self.tokens.keep(&token, self.clock.now());
        Ok(token)
    }

    /// Asks the authority for another token, under the grant as it stands now: the element's own, or that of the narrower
    /// element that follows it.
    async fn refresh(
        &self,
        element: &Element,
        handle: &Handle,
        edition: &Edition,
    ) -> Result<(Arc<Token>, AuthorizationDetails), Error> {
        let refresh_token = element.refresh_token.clone().ok_or(Error::Expired)?;
        let credential = self.authority.credential();
        let form = BTreeMap::from([
            ("client_id", self.participant.to_string()),
            ("grant_type", "refresh_token".to_owned()),
            ("refresh_token", refresh_token),
            ("resource", element.details.operator().to_string()),
            ("gh", handle.to_string()),
        ]);
        let minted: Result<Tokens, Error> = self.authority.post(&credential, "/as/token", &form).await;
        let minted = match minted {
            Err(Error::AuthorityRefused(Reason::GrantRevoked)) => {
                self.drop_element(element, handle).await?;
                return Err(Error::Over(ElementState::Withdrawn));
            }
            minted => minted?,
        };
        let [(granted, details)] = <[_; 1]>::try_from(granted(
            &minted.authorization_details,
            &[AuthorizationDetails {
                gh: None,
                ..element.details.clone()
            }],
        )?)
        .map_err(|_| Error::AuthorityAnswer("one element"))?;
        let now = self.clock.now();
        let token = self.check(&minted, credential, std::slice::from_ref(&details), edition, now)?;
        match token.claims().gh == granted {
            true => Ok((token, details)),
            false => Err(Error::AuthorityAnswer("the token's handle")),
        }
    }

    /// Learns which element follows one that the person narrowed.
    pub(super) async fn learn_follower(&self, handle: &Handle) -> Result<(), Error> {
        let element = self.element(handle).await?;
        let edition = self.directory.edition();
        let (token, details) = self.refresh(&element, handle, &edition).await?;
        match token.claims().gh == *handle {
            true => Ok(()),
            false => self.follow_narrowed(&element, handle, &token, &details).await,
        }
    }

    /// Notes that an element was withdrawn, as whoever refused to serve it says; the authority tells by whom.
    pub(super) async fn drop_element(&self, element: &Element, handle: &Handle) -> Result<(), Error> {
        self.tokens.forget(handle);
        let ended = Ended {
            handle: element.row.handle,
            state: ElementState::Withdrawn,
            at: self.clock.now(),
        };
        self.end(vec![ended], None).await
    }

    /// Verifies a token as its producer will, and that it is this node's, for one of these elements.
    pub(super) fn check(
        &self,
        minted: &Tokens,
        credential: Arc<Credential>,
        elements: &[AuthorizationDetails],
        edition: &Edition,
        now: Micros,
    ) -> Result<Arc<Token>, Error> {
        if !minted.token_type.eq_ignore_ascii_case("bearer") {
            return Err(Error::AuthorityAnswer("token_type"));
        }
        let authority = edition.directory.authority();
        let authentic = access_token::authenticate(&minted.access_token, |kid| {
            let kid = kid.to_string();
            let jwk = authority.token_keys.iter().find(|jwk| jwk.kid() == kid)?;
            PublicKey::from_point(&jwk.sec1()).ok().map(VerifyingKey::new)
        })
        .map_err(Error::Token)?;
        let mut refused = unefois_jose::Error::Audience;
        for element in elements {
            let expected = Expected {
                issuer: &authority.issuer,
                audience: element.operator(),
            };
            match authentic.check(expected, now) {
                Ok(verified) if element.gh == Some(verified.claims().gh) => {
                    self.is_ours(&verified, &credential, &minted.pivot_jwe)?;
                    return Ok(Arc::new(Token {
                        verified,
                        text: minted.access_token.clone(),
                        pivot_jwe: minted.pivot_jwe.clone(),
                        credential,
                    }));
                }
                Ok(_) => {}
                Err(error) => refused = error,
            }
        }
        Err(Error::Token(refused))
    }

    fn is_ours(&self, token: &VerifiedToken, credential: &Credential, pivot_jwe: &str) -> Result<(), Error> {
        let certificate: &Sha256 = token.certificate();
        if *certificate != credential.cert_sha256 {
            return Err(Error::AuthorityAnswer("the token's certificate"));
        }
        let client: &ParticipantId = &token.claims().client_id;
        if *client != self.participant {
            return Err(Error::AuthorityAnswer("the token's client"));
        }
        if token.claims().act_client != self.publisher {
            return Err(Error::AuthorityAnswer("the token's publisher"));
        }
        if !token.names_pivot(pivot_jwe) {
            return Err(Error::AuthorityAnswer("the token's pivot"));
        }
        Ok(())
    }
}
