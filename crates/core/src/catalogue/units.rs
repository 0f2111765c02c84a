use std::fmt;
use std::ops::{BitAnd, BitOr, Sub};

/// The most units that a datatype may have.
pub const MAX_UNITS: usize = 64;

/// A set of units of one datatype: bit n is its nth unit, in the order of the sheet.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct UnitSet(u64);

impl UnitSet {
    /// No unit.
    pub const EMPTY: Self = Self(0);

    /// The set with these bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Its bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set of unit number `n` alone; `None` from [`MAX_UNITS`] on.
    pub fn single(n: usize) -> Option<Self> {
        (n < MAX_UNITS).then(|| Self(1 << n))
    }

    /// Whether it holds unit number `n`.
    pub fn contains(self, n: usize) -> bool {
        Self::single(n).is_some_and(|unit| unit.is_subset(self))
    }

    /// Whether every unit of this set is in `other`.
    pub const fn is_subset(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The numbers of its units, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..MAX_UNITS).filter(move |n| self.contains(*n))
    }
}

impl BitAnd for UnitSet {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for UnitSet {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Sub for UnitSet {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl FromIterator<Self> for UnitSet {
    fn from_iter<I: IntoIterator<Item = Self>>(sets: I) -> Self {
        sets.into_iter().fold(Self::EMPTY, Self::bitor)
    }
}

impl fmt::Debug for UnitSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
