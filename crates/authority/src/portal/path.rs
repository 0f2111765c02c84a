//! The addresses that pages name themselves; those of one grant, request or proof come with the page's data.

/// Accueil.
pub const HOME: &str = "/";
/// The choice of an identity provider.
pub const LOGIN: &str = "/connexion";
/// Ends the session (POST, with the hidden field).
pub const LOGOUT: &str = "/deconnexion";
/// Mes autorisations.
pub const GRANTS: &str = "/autorisations";
/// Historique; its filters are the query.
pub const HISTORY: &str = "/historique";
/// Oppositions.
pub const OPPOSITIONS: &str = "/oppositions";
/// Mandats.
pub const MANDATES: &str = "/mandats";
/// The mandate that one is invited to take up.
pub const INVITATION: &str = "/mandats/invitation";
/// Données personnelles.
pub const PRIVACY: &str = "/donnees-personnelles";
/// Accessibilité.
pub const ACCESSIBILITY: &str = "/accessibilite";
/// Aide.
pub const HELP: &str = "/aide";
/// Aide, at the place that says what to do about an exchange one does not recognise.
pub const HELP_UNKNOWN_EXCHANGE: &str = "/aide#echange-inconnu";
