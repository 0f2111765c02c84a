//! Who a grant is about, as the file holds it.

use unefois_core::{
    BirthDate, Cog, Gender, Pivot, Siren, SubjectKind, Way, check_form, compare_key, entity_form,
};

use crate::invalid::Check;
use crate::pb::backoffice::v1 as pb;

/// Most given names of a person.
const MAX_GIVEN_NAMES: usize = 20;
/// Longest name of a person, in bytes.
const MAX_NAME_BYTES: usize = 512;
/// Longest reason of an unchecked identity, in characters.
const MAX_REASON: usize = 200;

/// How a grant is tied to the file.
#[derive(Clone)]
pub enum SubjectBinding {
    /// By the identity that the file holds, in the canonical form under a `subject_check`.
    Form(Vec<u8>),
    /// Not at all, for this reason.
    Unbound(String),
    /// By the whole identity of a person who does not log in.
    Identity(Box<Pivot>),
}

/// What the file holds is personal, so a log never shows it.
impl std::fmt::Debug for SubjectBinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Form(_) => "Form(…)",
            Self::Unbound(_) => "Unbound(…)",
            Self::Identity(_) => "Identity(…)",
        })
    }
}

/// How the grant is tied to the file, as the way of asking wants it.
pub(super) fn binding(
    check: &mut Check,
    way: Option<Way>,
    message: Option<pb::SubjectBinding>,
) -> Option<SubjectBinding> {
    use pb::subject_binding::Binding;
    let binding = message.and_then(|m| m.binding);
    let identity = matches!(binding, Some(Binding::Identity(_)));
    let absent = matches!(way, Some(Way::Agent | Way::Automatic));
    if binding.is_some() && way.is_some() && identity != absent {
        let what = match absent {
            true => "the whole identity: the person does not log in",
            false => "what the file holds: the person logs in",
        };
        check.wrong("binding", what);
        return None;
    }
    match binding {
        Some(Binding::Identity(identity)) => whole_identity(check, identity),
        None => {
            check.wrong(
                "binding",
                "the identity that the file holds, or why it holds none",
            );
            None
        }
        Some(Binding::Siren(siren)) => {
            let siren: Option<Siren> = check.parse("binding.siren", &siren);
            siren.map(|siren| SubjectBinding::Form(entity_form(&siren)))
        }
        Some(Binding::Form(form)) => subject_form(check, "binding.form", &form).map(SubjectBinding::Form),
        Some(Binding::UnboundReason(reason)) => {
            let sound =
                (1..=MAX_REASON).contains(&reason.chars().count()) && !reason.chars().any(char::is_control);
            if !sound {
                check.wrong(
                    "binding.unbound_reason",
                    format_args!("one line of 1 to {MAX_REASON} characters"),
                );
                return None;
            }
            Some(SubjectBinding::Unbound(reason))
        }
    }
}

/// The child of the file: named where the subject is one and the asker is, and nowhere else.
pub(super) fn child(
    check: &mut Check,
    subject: Option<SubjectKind>,
    binding: Option<&SubjectBinding>,
    message: Option<pb::SubjectForm>,
) -> Option<SubjectBinding> {
    let wanted = subject == Some(SubjectKind::Child) && matches!(binding, Some(SubjectBinding::Form(_)));
    match (message, wanted) {
        (Some(form), true) => subject_form(check, "child", &form).map(SubjectBinding::Form),
        (None, false) => None,
        (None, true) => {
            check.wrong("child", "the identity of the child that the file holds");
            None
        }
        (Some(_), false) => {
            check.wrong("child", "only about a child, beside the asker's identity");
            None
        }
    }
}

/// An identity whole enough to be matched without a login.
fn whole_identity(check: &mut Check, message: pb::SubjectIdentity) -> Option<SubjectBinding> {
    let at = |member: &str| format!("binding.identity.{member}");
    let family_name = name(check, &at("family_name"), &message.family_name).map(str::to_owned);
    let given_names: Option<Vec<String>> = match message.given_names.len() {
        1..=MAX_GIVEN_NAMES => (message.given_names.iter().enumerate())
            .map(|(n, text)| name(check, &at(&format!("given_names[{n}]")), text).map(str::to_owned))
            .collect(),
        _ => {
            check.wrong(at("given_names"), "all given names, in order");
            None
        }
    };
    let birthdate: Option<BirthDate> = check.parse(&at("birthdate"), &message.birthdate);
    let gender = match message.sex() {
        pb::Sex::Female => Some(Gender::Female),
        pb::Sex::Male => Some(Gender::Male),
        pb::Sex::Unspecified => {
            check.wrong(at("sex"), "female or male");
            None
        }
    };
    let birthplace: Option<Cog> = check.optional(&at("birthplace"), &message.birthplace);
    let birthcountry: Option<Cog> = check.parse(&at("birthcountry"), &message.birthcountry);
    let pivot = Pivot {
        family_name: family_name?,
        given_names: given_names?,
        birthdate: birthdate?,
        gender: gender?,
        birthplace,
        birthcountry: Some(birthcountry?),
        preferred_username: None,
    };
    match pivot.checked() {
        Ok(pivot) if pivot.is_whole() => Some(SubjectBinding::Identity(Box::new(pivot))),
        Ok(_) => {
            check.wrong(
                "binding.identity",
                "the whole birth date, and the place where that is France",
            );
            None
        }
        Err(_) => {
            check.wrong("binding.identity", "names of people");
            None
        }
    }
}

fn subject_form(check: &mut Check, at: &str, form: &pb::SubjectForm) -> Option<Vec<u8>> {
    let family = name(check, &format!("{at}.family_name"), &form.family_name);
    let given = name(check, &format!("{at}.first_given_name"), &form.first_given_name);
    let date: Option<BirthDate> = check.parse(&format!("{at}.birthdate"), &form.birthdate);
    Some(check_form(family?, given?, &date?))
}

fn name<'a>(check: &mut Check, field: &str, text: &'a str) -> Option<&'a str> {
    if text.len() > MAX_NAME_BYTES || compare_key(text).is_empty() {
        check.wrong(field, "a name");
        return None;
    }
    Some(text)
}
