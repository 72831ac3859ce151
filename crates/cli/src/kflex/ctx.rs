//! `kflex ctx`: switches between spaces, and manages contexts.

use super::{adopt_context, control_plane, wait_ready};
use crate::contexts::{self, Hosting};
use crate::{Error, Result, Session, table};
use client::kubeconfig::Section;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// How long a space that exists may take until its context can be fetched.
const READY_TIMEOUT: Duration = Duration::from_secs(600);

/// Switches to a space; without a name, to the hosting space
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Ctx {
    /// The space
    pub name: Option<String>,
    /// Fetch its credentials again, replacing what the kubeconfig has
    #[arg(short = 'o', long)]
    pub overwrite_existing_context: bool,
    /// Record the current context as the hosting one
    #[arg(short = 'c', long)]
    pub set_current_for_hosting: bool,
    /// Something else to do with contexts
    #[command(subcommand)]
    pub command: Option<CtxCommand>,
}

/// Other things to do with contexts.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum CtxCommand {
    /// Print the current context
    Get,
    /// List contexts
    List,
    /// Give a context, its cluster and its user new names
    Rename {
        /// The context
        context: String,
        /// Its new name
        new_context: String,
        /// Switch to it
        #[arg(short = 'S', long = "switch")]
        switch: bool,
    },
    /// Remove a context from the kubeconfig; its space stays
    Delete {
        /// The context
        context: String,
        /// Do not ask, even if kflex did not make it
        #[arg(short = 'f', long)]
        force: bool,
    },
}

impl Ctx {
    /// Runs the command.
    ///
    /// # Errors
    /// If there is no such context or space, or the kubeconfig cannot be written.
    pub async fn run(self, session: &Session) -> Result<()> {
        if let Some(command) = self.command {
            return command.run(session);
        }
        match self.name {
            Some(name) => to_space(session, &name, self.overwrite_existing_context).await,
            None => to_hosting(session, self.set_current_for_hosting).await,
        }
    }
}

async fn to_space(session: &Session, name: &str, overwrite: bool) -> Result<()> {
    let known = session.kubeconfig()?.get(Section::Contexts, name).is_some();
    if known && !overwrite {
        session.switch_to(name)?;
        session.output.done(format!("Switching to context {name}..."));
        return Ok(());
    }
    let (hosting, client) = session.hosting().await?;
    let fetching = async {
        control_plane(&client, name).await?;
        let plane = wait_ready(session, &client, name, READY_TIMEOUT).await?;
        adopt_context(session, &hosting, &client, &plane).await
    };
    if known {
        session.output.done("Overwriting existing context for control plane");
    }
    session.output.step(&format!("Switching to context {name}..."), fetching).await
}

async fn to_hosting(session: &Session, record: bool) -> Result<()> {
    let now = session.now();
    if record {
        return session.edit(|set| {
            let current = set.current_context().map(str::to_owned);
            let current = current.ok_or_else(|| Error::new("the kubeconfig has no current context"))?;
            contexts::set_hosting(set, &current, now)?;
            session.output.done(format!("The hosting context is now {current}"));
            Ok(())
        });
    }
    let (name, _) = session.hosting().await?;
    session.edit(|set| {
        if set.current_context() == Some(&name) {
            session.output.done("Current context accesses the hosting cluster, using it");
        } else {
            set.set_current_context(&name);
            session.output.done("Switching to hosting cluster context...");
        }
        if contexts::hosting(set) != Hosting::Named(name.clone()) {
            contexts::set_hosting(set, &name, now)?;
        }
        Ok(())
    })
}

impl CtxCommand {
    fn run(self, session: &Session) -> Result<()> {
        let output = &session.output;
        match self {
            Self::Get => {
                let set = session.kubeconfig()?;
                let current = set.current_context().ok_or_else(|| {
                    Error::new("the kubeconfig has no current context").hint("choose one: kflex ctx NAME")
                })?;
                output.line(current);
                Ok(())
            }
            Self::List => {
                let rows = contexts::rows(&session.kubeconfig()?);
                if rows.is_empty() {
                    output.line("No contexts found.");
                } else {
                    output.text(table(&[("CONTEXT", 30), ("MANAGED BY KFLEX", 18), ("CONTROLPLANE", 15)], &rows));
                }
                Ok(())
            }
            Self::Rename { context, new_context, switch } => {
                let now = session.now();
                let lines = session.edit(|set| contexts::rename_context(set, &context, &new_context, switch, now))?;
                output.line(lines.join("\n"));
                Ok(())
            }
            Self::Delete { context, force } => delete(session, &context, force),
        }
    }
}

fn delete(session: &Session, context: &str, force: bool) -> Result<()> {
    let set = session.kubeconfig()?;
    if set.get(Section::Contexts, context).is_none() {
        return Err(contexts::no_context(&set, context));
    }
    let ours = contexts::space_of(&set, context).is_some();
    if !ours && !force && !confirmed(session, context)? {
        session.output.line("Deletion cancelled.");
        return Ok(());
    }
    session.edit(|set| contexts::delete_context(set, context))?;
    session.output.done(format!("Context {context} is deleted"));
    Ok(())
}

/// Asks the person at the terminal. The kubeconfig is not locked meanwhile.
fn confirmed(session: &Session, context: &str) -> Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(Error::new(format!("context {context} was not made by kflex, and there is no terminal to ask at"))
            .hint("give --force to delete it without asking"));
    }
    session.output.text(format!("context {context} was not made by kflex. Delete it? (y/N) "));
    let _ = std::io::stdout().flush();
    let mut answer = String::new();
    input.read_line(&mut answer).map_err(|cause| Error::new(format!("no answer: {cause}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
