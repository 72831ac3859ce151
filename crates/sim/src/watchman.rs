//! What must hold whatever happens, looked at after each step.

use crate::oracle::Place;
use crate::world::{Delivered, World, content};
use anyhow::{Result, ensure};
use api::Object;
use std::collections::{BTreeMap, BTreeSet};

/// Since all was last at rest.
#[derive(Default)]
pub(crate) struct Watchman {
    /// What was delivered then.
    rested: Delivered,
    /// Of that, what was asked for all the time since.
    always: BTreeSet<(String, Place)>,
    /// What was asked for at any time since.
    ever: BTreeSet<(String, Place)>,
    /// What somebody else has destroyed.
    damaged: BTreeSet<(String, Place)>,
}

impl Watchman {
    /// Somebody else destroys what was delivered: that it is made anew is right.
    pub(crate) fn excuse(&mut self, cluster: &str, place: &Place) {
        self.damaged.insert((cluster.to_owned(), place.clone()));
    }

    /// Takes note of what users ask for now: to be called after each thing that a user does.
    pub(crate) fn note(&mut self, world: &World) {
        let asked = world.asked();
        self.always.retain(|pair| asked.contains_key(pair));
        self.ever.extend(asked.into_keys());
    }

    /// What holds at every moment.
    pub(crate) async fn check(&self, world: &World) -> Result<()> {
        let delivered = world.delivered().await?;
        for pair in delivered.keys() {
            ensure!(self.ever.contains(pair), "{pair:?} is in a cluster, and nobody has asked for it");
        }
        for pair in self.always.difference(&self.damaged) {
            let (before, now) = (&self.rested[pair], delivered.get(pair));
            let Some(now) = now else { anyhow::bail!("{pair:?} was asked for all the time, and has been deleted") };
            ensure!(now.uid == before.uid, "{pair:?} was asked for all the time, and has been made anew");
        }
        let clusters: BTreeSet<&String> = self.ever.iter().map(|(cluster, _)| cluster).collect();
        for mailbox in world.mailboxes().await? {
            ensure!(clusters.contains(&mailbox), "there are works for {mailbox}, and nobody has asked for any");
        }
        Ok(())
    }

    /// What holds when all is at rest and nothing is wrong; then begins anew.
    pub(crate) async fn check_rest(&mut self, world: &World) -> Result<()> {
        self.check(world).await?;
        let (asked, delivered) = (world.asked(), world.delivered().await?);
        let missing: Vec<_> = asked.keys().filter(|pair| !delivered.contains_key(*pair)).collect();
        ensure!(missing.is_empty(), "stuck: asked for, and not delivered: {missing:?}");
        let left: Vec<_> = delivered.keys().filter(|pair| !asked.contains_key(*pair)).collect();
        ensure!(left.is_empty(), "stuck: no longer asked for, and still there: {left:?}");
        for (pair, create_only) in &asked {
            let wanted = Object(world.facts.objects[&pair.1].as_object().cloned().unwrap_or_default());
            let (wanted, found) = (content(&wanted), &delivered[pair].content);
            ensure!(*create_only || *found == wanted, "stuck: {pair:?} has {found:?} and not {wanted:?}");
        }
        let clusters: BTreeSet<String> = asked.keys().map(|(cluster, _)| cluster.clone()).collect();
        let mailboxes = world.mailboxes().await?;
        ensure!(mailboxes == clusters, "works are for {mailboxes:?}, and asked for are {clusters:?}");
        self.check_statuses(world, &asked).await?;
        self.always = asked.keys().cloned().collect();
        self.ever = asked.into_keys().collect();
        self.rested = delivered;
        self.damaged.clear();
        Ok(())
    }

    /// The status of an object comes from a cluster that it is asked to be in, or there is none.
    async fn check_statuses(&self, world: &World, asked: &BTreeMap<(String, Place), bool>) -> Result<()> {
        for (place, number) in world.statuses().await? {
            let told = usize::try_from(number)?;
            if told == 0 {
                continue;
            }
            let from = told.checked_sub(1).and_then(|at| world.clusters.get(at));
            let selected = from.is_some_and(|from| asked.contains_key(&(from.clone(), place.clone())));
            ensure!(selected, "the status of {place:?} is of {from:?}, where nobody asks for it");
        }
        Ok(())
    }
}
