//! A commune's back-office that asks, and the person whose browser answers.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use tonic::transport::Channel;
use unefois_proto::pb::backoffice::v1::backoffice_service_client::BackofficeServiceClient;
use unefois_proto::pb::backoffice::v1::subject_binding::Binding;
use unefois_proto::pb::backoffice::v1::{
    Capacity, CompleteAuthorizationRequest, ElementRequest, Grant, Need, RequestAuthorizationRequest,
    SubjectBinding, SubjectForm, SubjectKind, UnitRequest, Way,
};

use super::browser::{Browser, Page};
use super::script::Script;
use super::world::{CLAMART_BACK, World};
use crate::command::fetch::unix;

/// The back-office of a file, and the person in front of it.
#[derive(Debug)]
pub struct Asker {
    script: Arc<Script>,
    /// Where its browser comes back to.
    back: &'static str,
    /// The commune's node, at its socket.
    pub backoffice: BackofficeServiceClient<Channel>,
    /// The person's browser.
    pub browser: Browser,
}

impl Asker {
    /// The commune of `world`, and the person of `script` at this browser.
    pub fn new(world: &World, script: Arc<Script>, browser: Browser) -> Self {
        Self::of(world, ("clamart", CLAMART_BACK), script, browser)
    }

    /// The same of another consumer: its folder, and where its browser comes back to.
    pub fn of(
        world: &World,
        (member, back): (&str, &'static str),
        script: Arc<Script>,
        browser: Browser,
    ) -> Self {
        Self {
            script,
            back,
            backoffice: BackofficeServiceClient::new(unix(world.folder(member).join("backoffice.sock"))),
            browser,
        }
    }

    /// The back-office asks for `dossier`, the person's browser grants, the back-office completes. The grant, and the
    /// page that the person saw.
    ///
    /// # Errors
    /// A step is refused.
    pub async fn authorize(&mut self, dossier: &str) -> anyhow::Result<(Grant, Page)> {
        let elements = vec![
            element(
                "cnaf/quotient-familial@1",
                vec![
                    unit("valeur", Need::Required),
                    unit("composition", Need::Optional),
                ],
            ),
            element(
                "mesr/statut-etudiant@1",
                vec![unit("inscription", Need::Required)],
            ),
        ];
        self.ask(dossier, elements).await
    }

    /// The same for the reference tax income, which needs a login at FranceConnect+.
    ///
    /// # Errors
    /// A step is refused.
    pub async fn authorize_tax_income(&mut self, dossier: &str) -> anyhow::Result<(Grant, Page)> {
        let units = vec![unit("revenu", Need::Required), unit("foyer", Need::Optional)];
        let elements = vec![element("dgfip/revenu-fiscal-de-reference@1", units)];
        self.ask(dossier, elements).await
    }

    async fn ask(&mut self, dossier: &str, elements: Vec<ElementRequest>) -> anyhow::Result<(Grant, Page)> {
        let person = self.script.person();
        let form = SubjectForm {
            // As a clerk writes it.
            family_name: person.family_name.to_lowercase(),
            first_given_name: person.given_name_array[0].to_owned(),
            birthdate: person.birthdate.to_owned(),
        };
        let request = RequestAuthorizationRequest {
            way: Way::Present.into(),
            demarche: "cantine".to_owned(),
            dossier_ref: dossier.to_owned(),
            elements,
            subject: SubjectKind::Self_.into(),
            capacity: Capacity::Self_.into(),
            binding: Some(SubjectBinding {
                binding: Some(Binding::Form(form)),
            }),
            redirect_uri: self.back.to_owned(),
            session: self.script.session.clone(),
            ..Default::default()
        };
        let asked = self.backoffice.request_authorization(request).await?.into_inner();
        let mut page = self.browser.open(&asked.url, self.back).await?;
        if !page.body.contains("name=\"choix\"") {
            page = self.log_in(&page).await?;
        }
        let csrf = page.hidden("csrf")?;
        let action = page.url.path().to_owned();
        let back = self
            .browser
            .submit(
                &page,
                &action,
                &[("csrf", &csrf), ("choix", "recuperer")],
                self.back,
            )
            .await?;
        ensure!(
            back.url.as_str().starts_with(self.back),
            "the browser ended at {}",
            back.url.path()
        );
        let complete = CompleteAuthorizationRequest {
            code: back.parameter("code").context("no code came back")?,
            state: back.parameter("state").unwrap_or_default(),
            iss: back.parameter("iss").unwrap_or_default(),
            error: String::new(),
            session: self.script.session.clone(),
        };
        let completed = self
            .backoffice
            .complete_authorization(complete)
            .await?
            .into_inner();
        Ok((completed.grant.context("no grant came back")?, page))
    }

    /// From the page where people choose how to log in, or learn that they have to again, through the provider, back to
    /// the page asked for.
    async fn log_in(&mut self, page: &Page) -> anyhow::Result<Page> {
        let provider = match page.body.contains("name=\"persona\"") {
            true => Page {
                url: page.url.clone(),
                status: page.status,
                body: page.body.clone(),
            },
            false => {
                let ways = ["/fc/connexion", "/fcp/connexion"].map(|way| page.link(way));
                let way = ways.into_iter().flatten().next();
                let start = page.url.join(&way.context("the page offers no login")?)?;
                self.browser.open(start.as_str(), "").await?
            }
        };
        let query = provider.hidden("query").context("the provider shows no form")?;
        let action = provider.url.path().replace("/authorize", "/login");
        self.browser
            .submit(
                &provider,
                &action,
                &[("query", &query), ("persona", self.script.person().key)],
                self.back,
            )
            .await
    }
}

fn unit(unit: &str, need: Need) -> UnitRequest {
    UnitRequest {
        unit: unit.to_owned(),
        need: need.into(),
    }
}

fn element(datatype: &str, units: Vec<UnitRequest>) -> ElementRequest {
    ElementRequest {
        datatype: datatype.to_owned(),
        units,
        period: String::new(),
    }
}
