//! `kflex config`: what the kubeconfig says about the hosting context.

use crate::{Result, Session, contexts};

/// Looks after what the kubeconfig says about the hosting context.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Record a context as the hosting one
    SetHosting {
        /// The context
        context: String,
    },
    /// Say, as JSON, what is known of the hosting context
    Diagnose {
        /// Accepted as KubeFlex has it; the answer is JSON
        #[arg(short = 'o', long, value_name = "FORMAT", default_value = "json", hide = true)]
        output: String,
    },
}

impl ConfigCommand {
    pub(super) fn run(self, session: &Session) -> Result<()> {
        match self {
            Self::SetHosting { context } => {
                let file = session.kubeconfig()?.default_file().map(|file| file.display().to_string());
                let now = session.now();
                session.edit(|set| contexts::set_hosting(set, &context, now))?;
                let file = file.unwrap_or_default();
                session.output.line(format!("setting hosting cluster context name to '{context}' in {file}"));
            }
            Self::Diagnose { output: _ } => {
                let diagnosis = contexts::diagnosis(&session.kubeconfig()?);
                session.output.line(format!("{diagnosis:#}"));
            }
        }
        Ok(())
    }
}
