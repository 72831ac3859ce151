//! asked -> resolved: keeps one Binding for each BindingPolicy.

use crate::wds::World;
use api::BindingName;
use controller::{Action, Reconcile, Result, execute};
use planner::binding::plan;
use std::sync::Arc;

/// Reconciles policies with their Bindings.
pub(crate) struct Binder(pub(crate) Arc<World>);

impl Reconcile for Binder {
    type Key = BindingName;

    async fn reconcile(&self, name: &BindingName) -> Result<Action> {
        let world = &*self.0;
        let (policy, held) = (world.policy(name), world.binding(name));
        let resolution = world.index.lock().resolution(name);
        for op in plan(policy.as_deref(), resolution.as_ref(), held.as_deref()) {
            execute(&world.binder, &(&op).into()).await?;
        }
        Ok(Action::AwaitChange)
    }
}
