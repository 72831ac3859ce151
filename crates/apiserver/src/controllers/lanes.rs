//! Work that is due, in one lane for each space: lanes take turns, so that a space with much to do delays no other.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

/// Work by space. A space without work has no lane, and costs nothing.
///
/// Each piece is in its lane once, and of each lane one piece is worked on at a time: what one piece of a space finds
/// is never half done by another. Bounded by the number of objects.
pub(super) struct Lanes<W> {
    lanes: HashMap<Arc<str>, Lane<W>>,
    /// Lanes with work of which none is worked on, in the order of their turns.
    turns: VecDeque<Arc<str>>,
}

struct Lane<W> {
    order: VecDeque<W>,
    due: HashSet<W>,
    busy: bool,
}

impl<W: Clone + Eq + Hash> Lanes<W> {
    pub(super) fn new() -> Self {
        Self { lanes: HashMap::new(), turns: VecDeque::new() }
    }

    /// Adds a piece of work, unless it is due already.
    pub(super) fn add(&mut self, space: &Arc<str>, work: W) {
        let lane = self.lanes.entry(space.clone()).or_insert_with(|| {
            self.turns.push_back(space.clone());
            Lane { order: VecDeque::new(), due: HashSet::new(), busy: false }
        });
        if lane.due.insert(work.clone()) {
            lane.order.push_back(work);
        }
    }

    /// The next piece of the lane whose turn it is. The lane waits until [`Lanes::done`] is told.
    pub(super) fn next(&mut self) -> Option<(Arc<str>, W)> {
        let space = self.turns.pop_front()?;
        let lane = self.lanes.get_mut(&space).expect("a lane that has a turn is there");
        let work = lane.order.pop_front().expect("a lane that has a turn has work");
        lane.due.remove(&work);
        lane.busy = true;
        Some((space, work))
    }

    /// Whether there is a piece that could be handed out.
    pub(super) fn has_turn(&self) -> bool {
        !self.turns.is_empty()
    }

    /// The piece that was handed out of a lane is done with.
    pub(super) fn done(&mut self, space: &Arc<str>) {
        let Some(lane) = self.lanes.get_mut(space).filter(|lane| lane.busy) else { return };
        lane.busy = false;
        if lane.order.is_empty() {
            self.lanes.remove(space);
        } else {
            self.turns.push_back(space.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(work: &[(&str, u32)]) -> Lanes<u32> {
        let mut lanes = Lanes::new();
        work.iter().for_each(|(space, work)| lanes.add(&(*space).into(), *work));
        lanes
    }

    #[test]
    fn spaces_take_turns() {
        let mut lanes = lanes(&[("a", 1), ("a", 2), ("a", 3), ("a", 1), ("b", 1), ("c", 1)]);
        let mut seen = Vec::new();
        while let Some((space, work)) = lanes.next() {
            seen.push(format!("{space}{work}"));
            lanes.done(&space);
        }
        assert_eq!(seen, ["a1", "b1", "c1", "a2", "a3"]);
        assert!(lanes.lanes.is_empty(), "a space without work costs nothing");
    }

    #[test]
    fn one_piece_of_a_space_at_a_time() {
        let mut lanes = lanes(&[("a", 1), ("a", 2), ("b", 1)]);
        let (a, _) = lanes.next().unwrap();
        let (b, _) = lanes.next().unwrap();
        assert_eq!((&*a, &*b), ("a", "b"));
        assert_eq!(lanes.next(), None, "both are busy");
        lanes.add(&a, 1);
        lanes.done(&b);
        assert_eq!(lanes.next(), None, "b has nothing more");
        lanes.done(&a);
        assert_eq!(lanes.next(), Some((a.clone(), 2)));
        lanes.done(&a);
        assert_eq!(lanes.next(), Some((a, 1)), "what came while it was worked on is done anew");
    }
}
