use super::{Lang, page};

/// A page instead of what was asked for.
#[derive(Clone, Debug)]
pub struct ErrorPage {
    /// What went wrong.
    pub failure: Failure,
    /// The code that `unefois explain` knows, where there is one.
    pub code: Option<String>,
    /// The request's id, to be given to the help desk.
    pub request_id: Option<String>,
    /// The way back to the asker's site.
    pub back: Option<String>,
}

/// What went wrong, as a person can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// 400: the address or form is not one of ours.
    BadRequest,
    /// 403: the form came from elsewhere, or the thing is somebody else's.
    Forbidden,
    /// 404.
    NotFound,
    /// 429.
    TooMany,
    /// 500: our fault.
    Internal,
    /// 503: it passes with time.
    Unavailable,
    /// 503: withdrawals are being recovered.
    Recovering,
    /// 403: an officer is logged in, and the page is a person's own.
    Officer,
    /// 403: the officer is not of the body that asks, or logged in too long ago.
    OtherBody,
    /// 403: fifty mandates are given, or held.
    TooManyMandates,
    /// 400: the request was answered, or its time has passed.
    Closed,
    /// The request was allowed when it was prepared, and is not any more.
    NoLonger,
    /// 403: nobody stands for this login any more.
    LoginUnknown,
}

impl Failure {
    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest | Self::Closed | Self::NoLonger => 400,
            Self::Forbidden
            | Self::Officer
            | Self::OtherBody
            | Self::TooManyMandates
            | Self::LoginUnknown => 403,
            Self::NotFound => 404,
            Self::TooMany => 429,
            Self::Internal => 500,
            Self::Unavailable | Self::Recovering => 503,
        }
    }

    const fn title(self, lang: Lang) -> &'static str {
        match self {
            Self::BadRequest => lang.t(
                "Cette demande ne peut pas être lue",
                "This request cannot be read",
            ),
            Self::Forbidden => lang.t(
                "Cette page ne vous est pas ouverte",
                "This page is not open to you",
            ),
            Self::NotFound => lang.t("Cette page n’existe pas", "This page does not exist"),
            Self::TooMany => lang.t(
                "Trop de demandes en peu de temps",
                "Too many requests in a short time",
            ),
            Self::Internal => lang.t("Le service a rencontré une erreur", "The service met an error"),
            Self::Unavailable => lang.t(
                "Le service ne peut pas répondre pour l’instant",
                "The service cannot answer for now",
            ),
            Self::Recovering => lang.t(
                "Les retraits sont en cours de récupération",
                "Withdrawals are being recovered",
            ),
            Self::Officer => lang.t(
                "Cette page est celle d’une personne",
                "This page is a person’s own",
            ),
            Self::OtherBody => lang.t(
                "Vous ne pouvez pas demander pour cette administration",
                "You cannot ask for this administration",
            ),
            Self::TooManyMandates => lang.t("Trop de mandats à la fois", "Too many mandates at once"),
            Self::Closed => lang.t(
                "Cette demande n’est plus ouverte",
                "This request is no longer open",
            ),
            Self::NoLonger => lang.t(
                "Cette demande n’est plus permise",
                "This request is no longer allowed",
            ),
            Self::LoginUnknown => lang.t(
                "Votre moyen de connexion n’est pas reconnu",
                "Your means of login is not recognised",
            ),
        }
    }

    const fn explanation(self, lang: Lang) -> &'static str {
        match self {
            Self::BadRequest => lang.t(
                "L’adresse est incomplète, ou le formulaire a été modifié. Rien n’a été enregistré.",
                "The address is incomplete, or the form was changed. Nothing was recorded.",
            ),
            Self::Forbidden => lang.t(
                "Le formulaire n’a pas été envoyé depuis ce site, ou la page concerne une autre personne. Rien n’a été enregistré.",
                "The form was not sent from this site, or the page is about another person. Nothing was recorded.",
            ),
            Self::NotFound => lang.t(
                "L’adresse est peut-être incomplète, ou la page a été retirée.",
                "The address may be incomplete, or the page was taken away.",
            ),
            Self::TooMany => lang.t(
                "Par précaution, le service attend avant de répondre de nouveau. Rien n’a été enregistré.",
                "As a precaution the service waits before it answers again. Nothing was recorded.",
            ),
            Self::Internal => lang.t(
                "La cause est de notre côté. Vérifiez dans « Mes autorisations » si votre choix a été enregistré avant de recommencer.",
                "The cause is on our side. Check under “My authorisations” whether your choice was recorded before you try again.",
            ),
            Self::Unavailable => lang.t(
                "Il est en maintenance, ou momentanément surchargé.",
                "It is under maintenance, or overloaded for a moment.",
            ),
            Self::Officer => lang.t(
                "Vous êtes connecté·e comme agent. Les autorisations et l’historique appartiennent aux personnes : votre identité professionnelle n’y donne pas accès, et n’est pas rapprochée de votre identité personnelle.",
                "You are logged in as an officer. Authorisations and history belong to people: your professional identity does not open them, and is not brought together with your personal one.",
            ),
            Self::OtherBody => lang.t(
                "Votre identité professionnelle n’est pas celle d’un agent de l’administration qui demande, ou votre connexion date de plus de 12 heures. Rien n’a été récupéré ; ce refus est inscrit au registre.",
                "Your professional identity is not that of an officer of the administration that asks, or you logged in more than 12 hours ago. Nothing was fetched; this refusal is in the ledger.",
            ),
            Self::TooManyMandates => lang.t(
                "Cinquante mandats donnés, ou cinquante reçus, sont déjà en cours ou en attente : c’est le plus que ce service permet. Rien n’a été enregistré.",
                "Fifty mandates given, or fifty received, are in force or waiting already: that is the most that this service allows. Nothing was recorded.",
            ),
            Self::Closed => lang.t(
                "Vous y avez déjà répondu, ou son délai est passé. Le même lien ne sert qu’une fois.",
                "You have already answered it, or its time has passed. The same link serves only once.",
            ),
            Self::NoLonger => lang.t(
                "Depuis qu’elle a été préparée, ce que l’administration peut demander a changé. Aucune information n’a été transmise.",
                "Since it was prepared, what the administration may ask for has changed. No information was sent.",
            ),
            Self::LoginUnknown => lang.t(
                "Le service qui a donné votre identité, ou le niveau qu’il garantit, n’est plus dans l’annuaire. Aucune information n’a été transmise.",
                "The service that gave your identity, or the level that it assures, is no longer in the directory. No information was sent.",
            ),
            Self::Recovering => lang.t(
                "Après un incident, le service rassemble les retraits déjà demandés. D’ici là, aucune information n’est transmise au titre d’une autorisation, et votre choix n’a pas été enregistré.",
                "After an incident the service gathers the withdrawals already asked for. Until then nothing is sent under any authorisation, and your choice was not recorded.",
            ),
        }
    }

    const fn advice(self, lang: Lang) -> &'static str {
        match self {
            Self::OtherBody => lang.t(
                "Depuis l’accueil, déconnectez-vous. Puis recommencez depuis le dossier, avec votre compte d’agent de cette administration.",
                "On the home page, log out. Then start again from the file, with your account as an officer of that administration.",
            ),
            Self::TooManyMandates => lang.t(
                "Sur la page Mandats, arrêtez ceux qui ne servent plus, puis recommencez.",
                "On the page Mandates, end those that are of no more use, then start again.",
            ),
            Self::Closed => lang.t(
                "Voyez dans votre dossier si la réponse y est. Sinon, recommencez depuis le dossier : une nouvelle demande sera préparée.",
                "See in your file whether the answer is there. If not, start again from the file: a new request will be prepared.",
            ),
            Self::NoLonger => lang.t(
                "Revenez à votre dossier : vous pouvez y fournir la pièce, ou recommencer si l’administration le propose encore.",
                "Go back to your file: you can provide the document there, or start again if the administration still offers it.",
            ),
            Self::LoginUnknown => lang.t(
                "Déconnectez-vous depuis l’accueil et connectez-vous par un autre moyen.",
                "Log out on the home page and log in by another means.",
            ),
            Self::BadRequest | Self::Forbidden => lang.t(
                "Revenez au site de l’administration et recommencez depuis votre dossier.",
                "Go back to the administration’s site and start again from your file.",
            ),
            Self::NotFound => lang.t(
                "Vérifiez l’adresse, ou revenez à l’accueil.",
                "Check the address, or go back to the home page.",
            ),
            Self::Recovering => lang.t(
                "Revenez dans quelques minutes et refaites votre choix.",
                "Come back in a few minutes and make your choice again.",
            ),
            Self::Officer => lang.t(
                "Pour vos propres autorisations, connectez-vous avec votre identité personnelle.",
                "For your own authorisations, log in with your personal identity.",
            ),
            Self::TooMany | Self::Unavailable => lang.t(
                "Réessayez dans quelques minutes. Vous pouvez aussi fournir la pièce vous-même à l’administration.",
                "Try again in a few minutes. You may also give the document to the administration yourself.",
            ),
            Self::Internal => lang.t(
                "Si l’erreur revient, écrivez-nous en indiquant le numéro ci-dessous.",
                "If the error comes back, write to us and quote the number below.",
            ),
        }
    }
}

/// The session is over; nothing that was typed was recorded.
#[derive(Clone, Debug)]
pub struct SessionExpired {
    /// Where to log in again, which leads back to the page.
    pub login: String,
    /// How long a session lasts without use, in minutes.
    pub idle_minutes: u16,
    /// The same after a login at a level above the lowest.
    pub high_idle_minutes: u16,
}

page!(ErrorPage, "error.html", Other);
page!(SessionExpired, "session_expired.html", Other);
