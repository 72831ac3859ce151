//! `kflex delete NAME`: removes a space and its context.

use super::{control_plane, is_host};
use crate::{Error, Result, Session, contexts};
use api::ObjectName;
use api::space::{CONTROL_PLANES, ControlPlane};
use client::DeleteParams;
use std::time::Duration;

/// Deletes a space with everything in it
#[derive(Clone, Debug, clap::Args)]
pub struct Delete {
    /// The space
    pub name: String,
    /// Seconds to wait until it is gone
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub timeout: u64,
}

impl Delete {
    /// Runs the command.
    ///
    /// # Errors
    /// If there is no such space, or it does not go away in time.
    pub async fn run(self, session: &Session) -> Result<()> {
        let name = &self.name;
        let (_, client) = session.hosting().await?;
        let plane = control_plane(&client, name).await?;
        let object = ObjectName::cluster(name.as_str());
        // Only this incarnation: a space of the same name that somebody makes meanwhile is not meant.
        let params = DeleteParams::only(plane.metadata.uid.clone());
        match client.delete(&CONTROL_PLANES, &object, &params).await {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => session.output.done(format!("Deleting control plane {name}...")),
        }
        let what = format!("waiting for control plane {name} to be deleted");
        let uid = plane.metadata.uid.clone();
        let gone = async {
            let left = |held: Option<&ControlPlane>| held.is_none_or(|held| held.metadata.uid != uid).then_some(());
            client.until(&CONTROL_PLANES, &object, Duration::from_secs(self.timeout), &what, left).await
        };
        let waiting = format!("Waiting for control plane {name} to be deleted...");
        session.output.step(&waiting, gone).await.map_err(|error| {
            Error::from(error).hint(format!("kubectl get controlplane {name} -o yaml shows what holds it"))
        })?;
        if !is_host(&plane) && plane.spec.type_ != "external" {
            session.edit(|set| {
                contexts::remove_space(set, name);
                Ok(())
            })?;
        }
        Ok(())
    }
}
