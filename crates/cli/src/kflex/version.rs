//! `kflex version`: of this program, and of the server behind the hosting context.

use crate::{Error, Result, Session};
use serde::Deserialize;

/// Shows versions
#[derive(Clone, Debug, clap::Args)]
pub struct Version {
    /// Only of this program
    #[arg(long)]
    pub client: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServerVersion {
    git_version: String,
}

impl Version {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        session.output.line(format!("Kubeflex version: v{} kubestellar", env!("CARGO_PKG_VERSION")));
        if self.client {
            return Ok(());
        }
        let asked = async {
            let (_, client) = session.hosting().await?;
            client.get_path::<ServerVersion>("/version").await.map_err(Error::from)
        };
        match asked.await {
            Ok(server) => {
                session.output.line(format!("Kubernetes version: {}", server.git_version));
                Ok(())
            }
            Err(error) => Err(error.during("Could not connect to a Kubernetes cluster")),
        }
    }
}
