use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The SIREN of an administration: nine digits, the last a Luhn check digit.
///
/// It exists only once checked, so nothing behind the edge checks it again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Siren([u8; 9]);

/// The text is not a SIREN: nine digits with a Luhn check digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SIREN: nine digits, the last a check digit")]
pub struct InvalidSiren;

/// The SIRET of one establishment: its SIREN, then five digits, the last a check digit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Siret([u8; 14]);

/// The text is not a SIRET: a SIREN followed by five digits, the last a check digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SIRET: a SIREN and five digits, the last a check digit")]
pub struct InvalidSiret;

/// La Poste's SIREN, whose establishments are numbered by another rule.
const LA_POSTE: &[u8; 9] = b"356000000";

impl Siren {
    /// The nine ASCII digits.
    pub fn as_str(&self) -> &str {
        ascii(&self.0)
    }
}

impl Siret {
    /// The fourteen ASCII digits.
    pub fn as_str(&self) -> &str {
        ascii(&self.0)
    }

    /// The SIREN that this establishment belongs to.
    pub fn siren(&self) -> Siren {
        let mut siren = [0; 9];
        siren.copy_from_slice(&self.0[..9]);
        Siren(siren)
    }
}

impl FromStr for Siren {
    type Err = InvalidSiren;

    fn from_str(s: &str) -> Result<Self, InvalidSiren> {
        let digits = digits(s).ok_or(InvalidSiren)?;
        (luhn(&digits).is_multiple_of(10))
            .then_some(Self(digits))
            .ok_or(InvalidSiren)
    }
}

impl FromStr for Siret {
    type Err = InvalidSiret;

    fn from_str(s: &str) -> Result<Self, InvalidSiret> {
        let digits: [u8; 14] = digits(s).ok_or(InvalidSiret)?;
        let la_poste = digits.starts_with(LA_POSTE);
        let sum: u32 = digits.iter().map(|d| u32::from(d - b'0')).sum();
        let valid = luhn(&digits[..9]).is_multiple_of(10)
            && (luhn(&digits).is_multiple_of(10) || la_poste && sum.is_multiple_of(5));
        valid.then_some(Self(digits)).ok_or(InvalidSiret)
    }
}

fn digits<const N: usize>(s: &str) -> Option<[u8; N]> {
    let digits: [u8; N] = s.as_bytes().try_into().ok()?;
    digits.iter().all(u8::is_ascii_digit).then_some(digits)
}

fn luhn(digits: &[u8]) -> u32 {
    (digits.iter().rev().enumerate())
        .map(|(place, d)| u32::from(d - b'0') << (place % 2))
        .map(|doubled| doubled / 10 + doubled % 10)
        .sum()
}

fn ascii(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).expect("only ASCII digits are ever stored")
}

macro_rules! text {
    ($type:ty, $error:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.as_str().to_owned()
            }
        }

        impl TryFrom<String> for $type {
            type Error = $error;

            fn try_from(s: String) -> Result<Self, $error> {
                s.parse()
            }
        }
    };
}
text!(Siren, InvalidSiren);
text!(Siret, InvalidSiret);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_wrong_length_letters_and_check_digit() {
        for text in [
            "",
            "18003506",
            "180035066",
            "1800350655",
            "18003506A",
            "１80035065",
        ] {
            assert_eq!(text.parse::<Siren>(), Err(InvalidSiren), "{text}");
        }
        for text in [
            "",
            "13000495500015",
            "1300049550001",
            "13000495600014",
            "1300049550001X",
        ] {
            assert_eq!(text.parse::<Siret>(), Err(InvalidSiret), "{text}");
        }
    }

    #[test]
    fn la_poste_counts_by_five_but_nobody_else() {
        assert!("35600000000048".parse::<Siret>().is_ok(), "head office, Luhn");
        assert!(
            "35600000049837".parse::<Siret>().is_ok(),
            "an office, sum of digits divisible by 5"
        );
        assert_eq!("35600000049838".parse::<Siret>(), Err(InvalidSiret));
    }

    #[test]
    fn accepts_published_numbers() {
        for text in ["180035065", "130004955", "929939411"] {
            assert_eq!(text.parse::<Siren>().unwrap().as_str(), text);
        }
        assert_eq!(
            "13000495500014".parse::<Siret>().unwrap().siren().as_str(),
            "130004955"
        );
    }
}
