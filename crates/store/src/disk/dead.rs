//! A set of revisions at one bit each: what compaction may leave out.

use crate::key::Revision;
use std::collections::BTreeMap;

const WORDS: usize = 64;
const BITS: u64 = (WORDS * 64) as u64;

/// Revisions whose records nothing needs. Dense where it is used, so a bit per revision beats a hash set by far.
#[derive(Default)]
pub(super) struct Dead {
    blocks: BTreeMap<u64, Box<[u64; WORDS]>>,
    len: u64,
}

impl Dead {
    fn place(revision: Revision) -> (u64, usize, u64) {
        let bit = revision.0 % BITS;
        let word = usize::try_from(bit / 64).expect("a block has few words");
        (revision.0 / BITS, word, 1 << (bit % 64))
    }

    pub(super) fn insert(&mut self, revision: Revision) {
        let (block, word, bit) = Self::place(revision);
        let word = &mut self.blocks.entry(block).or_insert_with(|| Box::new([0; WORDS]))[word];
        self.len += u64::from(*word & bit == 0);
        *word |= bit;
    }

    pub(super) fn contains(&self, revision: Revision) -> bool {
        let (block, word, bit) = Self::place(revision);
        self.blocks.get(&block).is_some_and(|words| words[word] & bit != 0)
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Adds all of another set.
    pub(super) fn extend(&mut self, other: Self) {
        for (block, words) in other.blocks {
            let mine = self.blocks.entry(block).or_insert_with(|| Box::new([0; WORDS]));
            for (mine, theirs) in mine.iter_mut().zip(words.iter()) {
                self.len += u64::from((theirs & !*mine).count_ones());
                *mine |= theirs;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in() {
        let mut dead = Dead::default();
        for revision in [1, 63, 64, 4095, 4096, 1 << 40, 1] {
            dead.insert(Revision(revision));
        }
        assert_eq!(dead.len(), 6);
        assert!(dead.contains(Revision(4096)) && !dead.contains(Revision(4097)) && !dead.contains(Revision(2)));
        let mut other = Dead::default();
        other.insert(Revision(2));
        other.insert(Revision(64));
        dead.extend(other);
        assert_eq!(dead.len(), 7);
        assert!(dead.contains(Revision(2)));
    }
}
