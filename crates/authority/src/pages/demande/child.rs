//! The child whom a request is about: typed here, compared with the file, never passed to the asker.

use axum::response::Response;
use unefois_core::{BirthDate, Gender, Micros, Pivot, Reason, SubjectKind, compare_key};
use unefois_store::authority::request::interaction_close;
use unefois_store::authority::session::Login;

use super::subject::TRIES;
use super::{Open, ended, form};
use crate::Error;
use crate::form::Form;
use crate::pages::{Reader, words};
use crate::portal::{ChildForm, DemandeOutcome, FormError, field};
use crate::published::Edition;
use crate::service::Authority;

/// Longest text of one field, in characters.
const MAX_CHARS: usize = 100;
/// As many as an identity holds.
const MAX_GIVEN_NAMES: usize = 20;

/// The fields as they were typed.
pub(super) fn typed(posted: &Form) -> ChildForm {
    let text = |name| posted.text(name).trim().to_owned();
    ChildForm {
        birth_name: text(field::CHILD_NAME),
        given_names: text(field::CHILD_GIVEN_NAMES),
        gender: text(field::CHILD_GENDER),
        day: text(field::CHILD_DAY),
        month: text(field::CHILD_MONTH),
        year: text(field::CHILD_YEAR),
    }
}

/// The child that was typed, or all that is wrong with it.
fn read(typed: &ChildForm, now: Micros) -> Result<Pivot, Vec<FormError>> {
    let mut errors = Vec::new();
    let given_names: Vec<String> = typed
        .given_names
        .split(|c: char| c.is_whitespace() || c == ',')
        .filter(|name| !compare_key(name).is_empty())
        .map(str::to_owned)
        .collect();
    // Never cut: half a name is another one.
    let is_long = |text: &str| text.chars().count() > MAX_CHARS;
    if is_long(&typed.birth_name) {
        errors.push(FormError::ChildNameLong);
    } else if compare_key(&typed.birth_name).is_empty() {
        errors.push(FormError::ChildName);
    }
    if is_long(&typed.given_names) || given_names.len() > MAX_GIVEN_NAMES {
        errors.push(FormError::ChildGivenNamesLong);
    } else if given_names.is_empty() {
        errors.push(FormError::ChildGivenNames);
    }
    let gender = match typed.gender.as_str() {
        "female" => Some(Gender::Female),
        "male" => Some(Gender::Male),
        _ => None,
    };
    if gender.is_none() {
        errors.push(FormError::ChildGender);
    }
    let birthdate = birthdate(typed).filter(|date| date.has_come(now));
    match birthdate {
        None => errors.push(FormError::ChildBirthDate),
        Some(date) if date.may_be_of_age(now) => errors.push(FormError::ChildOfAge),
        Some(_) => {}
    }
    let (Some(gender), Some(birthdate), true) = (gender, birthdate, errors.is_empty()) else {
        return Err(errors);
    };
    let child = Pivot {
        family_name: typed.birth_name.clone(),
        given_names,
        birthdate,
        gender,
        birthplace: None,
        birthcountry: None,
        preferred_username: None,
    };
    // What is left to be wrong is a character that nobody sees.
    child.checked().map_err(|_| vec![FormError::ChildName])
}

/// The date, as precise as it was typed; the day needs its month.
fn birthdate(typed: &ChildForm) -> Option<BirthDate> {
    fn number<T: std::str::FromStr>(text: &str) -> Option<Option<T>> {
        match text.is_empty() {
            true => Some(None),
            false => text.parse().ok().map(Some),
        }
    }
    let year = number::<u16>(&typed.year)??;
    BirthDate::new(year, number(&typed.month)?, number(&typed.day)?).ok()
}

impl Authority {
    /// The child of the file; or the page that says what is wrong with what was typed. Another child counts as an identity
    /// tried for the file, whoever types it: a sibling's is not the file's.
    pub(super) async fn child(
        &self,
        reader: &Reader,
        open: &Open,
        edition: &Edition,
        login: &Login,
        posted: &Form,
    ) -> Result<Result<Pivot, Response>, Error> {
        let typed = typed(posted);
        let child = match read(&typed, self.clock.now()) {
            Ok(child) => child,
            Err(errors) => {
                let page = form(self, reader, open, edition, posted, Some(typed), errors).await?;
                return Ok(Err(page));
            }
        };
        let Some(check) = &open.request.child else {
            return Ok(Ok(child));
        };
        let mut tx = self.db.begin().await?;
        let Some(tries) = self.tried(&mut tx, open, check.is(&child)).await? else {
            return Ok(Ok(child));
        };
        let over = tries >= TRIES;
        if over {
            interaction_close(&mut tx, &open.id).await?;
        }
        tx.commit().await?;
        let mut elements = open.request.elements.iter();
        let about = elements.find(|element| element.subject.kind == SubjectKind::Child);
        self.record_refusal(open, edition, Reason::SubjectMismatch, about, Some(login.acr))
            .await?;
        if !over {
            let wrong = vec![FormError::ChildMismatch];
            let page = form(self, reader, open, edition, posted, Some(typed), wrong).await?;
            return Ok(Err(page));
        }
        let back = open.request.back(
            &self.issuer,
            &[
                ("error", "access_denied"),
                ("error_description", Reason::SubjectMismatch.as_str()),
            ],
        )?;
        let asker = words::name(edition, reader.lang, &open.request.client);
        let outcome = DemandeOutcome::Mismatch { tries_left: 0 };
        Ok(Err(ended(self, reader, outcome, Some((asker, back))).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(day: &str, month: &str, year: &str) -> Vec<FormError> {
        let typed = ChildForm {
            birth_name: "Exemple".into(),
            given_names: "Emma, Louise".into(),
            gender: "female".into(),
            day: day.into(),
            month: month.into(),
            year: year.into(),
        };
        read(&typed, now()).err().unwrap_or_default()
    }

    fn now() -> Micros {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_name_that_is_too_long_is_refused_and_never_cut() {
        let form = |birth_name: &str, given_names: &str| ChildForm {
            birth_name: birth_name.into(),
            given_names: given_names.into(),
            gender: "female".into(),
            day: "7".into(),
            month: "3".into(),
            year: "2019".into(),
        };
        let long = "é".repeat(MAX_CHARS + 1);
        let twenty_one = "a ".repeat(21);
        for (form, error) in [
            (form(&long, "Emma"), FormError::ChildNameLong),
            (form("Exemple", &long), FormError::ChildGivenNamesLong),
            (form("Exemple", &twenty_one), FormError::ChildGivenNamesLong),
        ] {
            assert_eq!(read(&form, now()).unwrap_err(), [error]);
        }
        let longest = "é".repeat(MAX_CHARS);
        let child = read(&form(&longest, &longest), now()).unwrap();
        assert_eq!(
            (child.family_name, &child.given_names[0]),
            (longest.clone(), &longest)
        );
    }

    #[test]
    fn each_field_says_what_is_wrong_with_it() {
        assert_eq!(
            read(&ChildForm::default(), now()).unwrap_err(),
            [
                FormError::ChildName,
                FormError::ChildGivenNames,
                FormError::ChildGender,
                FormError::ChildBirthDate
            ]
        );
        for (day, month, year) in [
            ("31", "2", "2019"),
            ("7", "", "2019"),
            ("7", "3", ""),
            ("7", "3", "19"),
            ("x", "3", "2019"),
            ("25", "11", "2026"),
        ] {
            let found = errors(day, month, year);
            assert_eq!(found, [FormError::ChildBirthDate], "{day} {month} {year}");
        }
        for (day, month, year) in [
            ("", "", "2008"),
            ("24", "11", "2008"),
            ("", "11", "2008"),
            ("1", "1", "1990"),
        ] {
            let found = errors(day, month, year);
            assert_eq!(found, [FormError::ChildOfAge], "{day} {month} {year}");
        }
        for (day, month, year) in [
            ("7", "3", "2019"),
            ("07", "03", "2019"),
            ("", "3", "2019"),
            ("", "", "2019"),
            ("25", "11", "2008"),
        ] {
            assert_eq!(errors(day, month, year), [], "{day} {month} {year}");
        }
    }
}
