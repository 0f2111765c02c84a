//! Signed notes (C2SP signed-note).

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    Error, KeyId, KeyName, SignerKey, VerifierKey,
    key::{PrivateKey, PublicKey},
};

/// The largest note: room for 16 post-quantum signatures, which every verifier must accept.
pub const MAX_NOTE_BYTES: usize = 128 * 1024;
/// The most signatures a note may have; the specification asks for at least 16.
pub const MAX_SIGNATURES: usize = 32;

const LINE_START: &str = "— ";

/// A note and its signatures, as they were read: nobody has verified them.
///
/// The text comes out only through [`Note::verify`]. Displayed, it is byte for byte what was parsed.
#[derive(Clone, PartialEq, Eq)]
pub struct Note {
    whole: String,
    text_bytes: usize,
    signatures: Vec<NoteSignature>,
}

/// One signature line of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// The name of the key that is said to have signed.
    pub name: KeyName,
    /// Its id.
    pub id: KeyId,
    /// The signature, in the form of its key's type.
    pub signature: Vec<u8>,
}

impl Note {
    /// Reads a note; of its signatures, only the form is checked.
    ///
    /// # Errors
    /// The `Note…` variants, [`Error::SignatureLine`], [`Error::TooManySignatures`], [`Error::KeyName`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(Error::NoteTooLarge(bytes.len()));
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| Error::NoteNotUtf8)?;
        check_text(whole)?;
        // The last empty line ends the text, which may hold others.
        let text_bytes = whole.rfind("\n\n").ok_or(Error::NoteSeparator)? + 1;
        let lines = &whole[text_bytes + 1..];
        if lines.is_empty() {
            return Err(Error::NoteUnsigned);
        }
        let mut signatures = Vec::new();
        for line in lines.lines() {
            if signatures.len() == MAX_SIGNATURES {
                return Err(Error::TooManySignatures);
            }
            signatures.push(NoteSignature::parse(line)?);
        }
        Ok(Self {
            whole: whole.to_owned(),
            text_bytes,
            signatures,
        })
    }

    /// Signs a text, which ends in a newline and holds no other control character.
    ///
    /// # Errors
    /// [`Error::NoteUnterminated`], [`Error::NoteControlCharacter`], [`Error::NoteTooLarge`].
    pub fn sign(text: &str, key: &SignerKey) -> Result<Self, Error> {
        check_text(text)?;
        let mut whole = String::with_capacity(text.len() + 256);
        whole.push_str(text);
        whole.push('\n');
        let mut note = Self {
            whole,
            text_bytes: text.len(),
            signatures: Vec::new(),
        };
        note.add(NoteSignature::new(key, key.sign(text.as_bytes()).to_vec()))?;
        Ok(note)
    }

    /// Adds a signature line under the others.
    ///
    /// # Errors
    /// [`Error::TooManySignatures`], [`Error::NoteTooLarge`], with the note unchanged.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), Error> {
        if self.signatures.len() == MAX_SIGNATURES {
            return Err(Error::TooManySignatures);
        }
        let line = signature.to_string();
        let bytes = self.whole.len() + line.len() + 1;
        if bytes > MAX_NOTE_BYTES {
            return Err(Error::NoteTooLarge(bytes));
        }
        self.whole.push_str(&line);
        self.whole.push('\n');
        self.signatures.push(signature);
        Ok(())
    }

    /// The text, once `key` is seen to have signed it. Signatures of other keys are ignored.
    ///
    /// # Errors
    /// [`Error::NotSignedBy`]; [`Error::SignatureInvalid`] if any signature of `key` does not verify.
    pub fn verify(&self, key: &VerifierKey) -> Result<&str, Error> {
        self.verify_with(key, |signature| key.verify(self.text().as_bytes(), signature))?;
        Ok(self.text())
    }

    /// The note as it is exchanged and stored.
    pub fn as_str(&self) -> &str {
        &self.whole
    }

    /// The signature lines, unverified.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The text, which nobody has verified.
    pub(crate) fn text(&self) -> &str {
        &self.whole[..self.text_bytes]
    }

    /// Verifies each signature of `key` and returns what the last one says.
    pub(crate) fn verify_with<const TYPE: u8, T>(
        &self,
        key: &PublicKey<TYPE>,
        verify: impl Fn(&[u8]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut said = None;
        for line in self
            .signatures
            .iter()
            .filter(|line| line.id == key.id() && line.name == *key.name())
        {
            said = Some(verify(&line.signature)?);
        }
        said.ok_or_else(|| Error::NotSignedBy {
            name: key.name().clone(),
            id: key.id(),
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.whole)
    }
}

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Note({:?})", self.whole)
    }
}

impl NoteSignature {
    pub(crate) fn new<const TYPE: u8>(key: &PrivateKey<TYPE>, signature: Vec<u8>) -> Self {
        Self {
            name: key.verifier().name().clone(),
            id: key.verifier().id(),
            signature,
        }
    }

    /// Reads one line, without its newline.
    fn parse(line: &str) -> Result<Self, Error> {
        let line = line.strip_prefix(LINE_START).ok_or(Error::SignatureLine)?;
        let (name, base64) = line.split_once(' ').ok_or(Error::SignatureLine)?;
        let name = name.parse()?;
        let bytes = STANDARD.decode(base64).map_err(|_| Error::SignatureLine)?;
        match bytes.split_first_chunk() {
            Some((id, signature)) if !signature.is_empty() => Ok(Self {
                name,
                id: KeyId(*id),
                signature: signature.to_vec(),
            }),
            _ => Err(Error::SignatureLine),
        }
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id.0[..], &self.signature].concat();
        write!(f, "{LINE_START}{} {}", self.name, STANDARD.encode(bytes))
    }
}

fn check_text(text: &str) -> Result<(), Error> {
    if text.bytes().any(|byte| byte < b' ' && byte != b'\n') {
        return Err(Error::NoteControlCharacter);
    }
    if text.ends_with('\n') {
        Ok(())
    } else {
        Err(Error::NoteUnterminated)
    }
}
