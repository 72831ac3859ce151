//! `kflex create NAME`: makes a space, waits until it can be used, and switches to it.

use super::{adopt_context, condition, wait_ready};
use crate::{Error, Result, Session, contexts};
use api::space::{CONTROL_PLANES, ControlPlane, ControlPlaneSpec, HOST_ANNOTATION, PORT_ANNOTATION, READY, ROLE_LABEL};
use api::{Labels, ObjectMeta, ObjectName};
use client::Client;
use std::fmt;
use std::time::Duration;

/// The variable of a WDS, or of a simulated WEC, that names its ITS.
const ITS_VARIABLE: &str = "ITSName";

/// The server's own space: a space of this name would be taken for it.
const RESERVED: &str = "hosting";

/// Creates a space
#[derive(Clone, Debug, clap::Args)]
pub struct Create {
    /// Its name; imbs*, its* and wds* need no type
    pub name: String,
    /// What it is: a role (its, wds, wec), or k8s for a plain space, or host for the hosting space itself
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    pub type_: Option<SpaceType>,
    /// The ITS that it sends to (wds), or registers with (wec); needed only if there are several
    #[arg(long, value_name = "NAME")]
    pub its: Option<String>,
    /// A variable for the hooks; may be given several times
    #[arg(short = 'e', long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// A PostCreateHook to carry out
    #[arg(short = 'p', long = "postcreate-hook", value_name = "HOOK")]
    pub postcreate_hook: Option<String>,
    /// Accepted as KubeFlex has it; all spaces of a server share its storage
    #[arg(short = 'b', long, value_name = "TYPE", default_value = "shared", hide = true)]
    pub backend_type: String,
    /// A port of its own, where it is at the root
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// A host name of its own, where it is at the root: the name has to lead to the server
    #[arg(long, value_name = "NAME")]
    pub host_name: Option<String>,
    /// Seconds to wait until it is ready
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub timeout: u64,
}

/// What `--type` may be: the roles of KubeStellar, and the types of KubeFlex.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum SpaceType {
    /// A plain Kubernetes API
    K8s,
    /// Inventory and transport
    #[value(alias = "imbs")]
    Its,
    /// Workload description
    Wds,
    /// A simulated cluster
    Wec,
    /// The hosting space itself
    Host,
    /// A cluster that is there already
    External,
    /// As k8s
    #[value(hide = true)]
    Vcluster,
    /// As k8s
    #[value(hide = true)]
    K3s,
    /// As k8s
    #[value(hide = true)]
    Ocm,
}

impl fmt::Display for SpaceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::K8s => "k8s",
            Self::Its => "its",
            Self::Wds => "wds",
            Self::Wec => "wec",
            Self::Host => "host",
            Self::External => "external",
            Self::Vcluster => "vcluster",
            Self::K3s => "k3s",
            Self::Ocm => "ocm",
        })
    }
}

/// The type that a name alone means.
fn type_of_name(name: &str) -> SpaceType {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if begins(&["imbs", "its"]) {
        SpaceType::Its
    } else if begins(&["wds"]) {
        SpaceType::Wds
    } else {
        SpaceType::K8s
    }
}

/// What to say about a type that nobody chose.
fn unasked(create: &Create, type_: SpaceType) -> Option<String> {
    (create.type_.is_none() && type_ == SpaceType::K8s).then(|| {
        let name = &create.name;
        format!("  type k8s, a plain space: no --type was given, and {name} begins with none of imbs, its, wds")
    })
}

/// The value of the role label, and `spec.type`.
const fn meaning(type_: SpaceType) -> (Option<&'static str>, &'static str) {
    match type_ {
        SpaceType::Its => (Some("its"), "k8s"),
        SpaceType::Wds => (Some("wds"), "k8s"),
        SpaceType::Wec => (Some("wec"), "k8s"),
        SpaceType::K8s => (None, "k8s"),
        SpaceType::Host => (None, "host"),
        SpaceType::External => (None, "external"),
        SpaceType::Vcluster => (None, "vcluster"),
        SpaceType::K3s => (None, "k3s"),
        SpaceType::Ocm => (Some("its"), "ocm"),
    }
}

/// Variables as they are given: `name=value`, split at the first `=`, trimmed; an empty text is nothing.
fn variables(given: &[String]) -> Result<Labels> {
    let mut variables = Labels::new();
    for text in given.iter().filter(|text| !text.trim().is_empty()) {
        match text.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
            Some((name, value)) if !name.is_empty() => drop(variables.insert(name.to_owned(), value.to_owned())),
            _ => return Err(Error::new(format!("unexpected expression {text:?}. Must be in the form 'key=value'"))),
        }
    }
    Ok(variables)
}

/// The ControlPlane that the arguments ask for.
fn plan(create: &Create) -> Result<(SpaceType, ControlPlane)> {
    let name = &create.name;
    let complaints = machinery::name::dns_label(name);
    if !complaints.is_empty() {
        return Err(Error::new(format!("{name:?} cannot be the name of a space: {}", complaints.join("; "))));
    }
    if name == RESERVED {
        return Err(Error::new(format!("the name {name} is reserved: it is that of the server's own space"))
            .hint("choose another name; kflex ctx switches to the server's own space"));
    }
    let type_ = create.type_.unwrap_or_else(|| type_of_name(name));
    if type_ == SpaceType::External {
        return Err(Error::new("a cluster that is there already is not created").hint(format!(
            "use it as a WEC: kubestellar join --cluster-name {name} --hub-context ITS --wec-context CONTEXT"
        )));
    }
    let (role, spec_type) = meaning(type_);
    let mut variables = variables(&create.set)?;
    let mut spec = ControlPlaneSpec {
        type_: spec_type.into(),
        backend: Some(create.backend_type.clone()),
        post_create_hook: create.postcreate_hook.clone().filter(|hook| !hook.is_empty()),
        ..ControlPlaneSpec::default()
    };
    if let Some(its) = &create.its {
        spec.global_vars.insert(ITS_VARIABLE.into(), its.clone());
    }
    if spec.post_create_hook.is_some() {
        spec.post_create_hook_vars = variables;
    } else {
        spec.global_vars.append(&mut variables);
    }
    let port = create.port.map(|port| (PORT_ANNOTATION.to_owned(), port.to_string()));
    let host = create.host_name.as_ref().map(|host| (HOST_ANNOTATION.to_owned(), host.clone()));
    let annotations = port.into_iter().chain(host).collect();
    let labels = role.map(|role| (ROLE_LABEL.to_owned(), role.to_owned())).into_iter().collect();
    Ok((
        type_,
        ControlPlane {
            api_version: CONTROL_PLANES.api_version(),
            kind: CONTROL_PLANES.kind.to_string(),
            metadata: ObjectMeta { name: name.clone(), labels, annotations, ..ObjectMeta::default() },
            spec,
            status: None,
        },
    ))
}

/// Whether a ControlPlane that is there is what was asked for.
fn is_same(held: &ControlPlane, asked: &ControlPlane) -> Result<()> {
    let name = &held.metadata.name;
    if held.metadata.is_deleting() {
        return Err(Error::new(format!("control plane {name} is being deleted"))
            .hint(format!("wait until it is gone (kflex delete {name} waits), then create it again")));
    }
    let role = |plane: &ControlPlane| plane.metadata.labels.get(ROLE_LABEL).cloned();
    let shown = |plane: &ControlPlane| role(plane).unwrap_or_else(|| plane.spec.type_.clone());
    let other_role = role(asked).is_some() && role(held).is_some() && role(asked) != role(held);
    if held.spec.type_ != asked.spec.type_ || other_role {
        return Err(Error::new(format!(
            "control plane {name} exists already, and is of type {} and not {}",
            shown(held),
            shown(asked)
        ))
        .hint(format!("choose another name, or remove it first: kflex delete {name}")));
    }
    Ok(())
}

impl Create {
    /// A space of a type, and all else as it is when nothing is said.
    pub fn new(name: &str, type_: SpaceType, its: Option<&str>) -> Self {
        Self {
            name: name.to_owned(),
            type_: Some(type_),
            its: its.map(str::to_owned),
            set: Vec::new(),
            postcreate_hook: None,
            backend_type: "shared".to_owned(),
            port: None,
            host_name: None,
            timeout: 600,
        }
    }

    /// Runs the command.
    ///
    /// # Errors
    /// If the arguments make no sense, the name is taken by something else, or the space does not become ready.
    pub async fn run(self, session: &Session) -> Result<()> {
        let (type_, asked) = plan(&self)?;
        if type_ != SpaceType::Host {
            contexts::check_free(&session.kubeconfig()?, &self.name)?;
        }
        let (hosting, client) = session.hosting().await?;
        self.check_its(&client).await?;
        let name = &self.name;
        let made = make(&client, &asked).await.map_err(|error| error.during("error creating instance"))?;
        session.output.done(if made {
            format!("Creating new control plane {name} of type {type_} ...")
        } else {
            format!("Control plane {name} of type {type_} exists already")
        });
        if let Some(note) = unasked(&self, type_).filter(|_| made) {
            session.output.line(note);
        }
        let timeout = Duration::from_secs(self.timeout);
        let ready = wait_ready(session, &client, name, timeout);
        let plane = session.output.step("Waiting for API server to become ready...", ready).await?;
        let (_, missing) = condition(&plane, READY);
        if !missing.is_empty() {
            session.output.line(format!("  note: {missing}"));
        }
        adopt_context(session, &hosting, &client, &plane).await
    }

    async fn check_its(&self, client: &Client) -> Result<()> {
        let Some(its) = &self.its else { return Ok(()) };
        let found: Option<ControlPlane> = client.find(&CONTROL_PLANES, &ObjectName::cluster(its.as_str())).await?;
        if found.is_some() {
            return Ok(());
        }
        Err(Error::new(format!("the ITS {its} does not exist")).hint(format!("run: kflex create {its} --type its")))
    }
}

/// Creates the ControlPlane unless it is there. Whether it was created.
async fn make(client: &Client, asked: &ControlPlane) -> Result<bool> {
    match client.create::<ControlPlane>(&CONTROL_PLANES, "", asked).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_already_exists() => {
            let held: ControlPlane = client.get(&CONTROL_PLANES, &ObjectName::cluster(&*asked.metadata.name)).await?;
            is_same(&held, asked).map(|()| false)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        create: Create,
    }

    fn planned(line: &str) -> Result<ControlPlane> {
        let arguments = std::iter::once("create").chain(line.split_whitespace());
        plan(&Line::try_parse_from(arguments).map_err(|error| Error::new(error.to_string()))?.create)
            .map(|(_, plane)| plane)
    }

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let seen = match planned(line) {
            Ok(plane) => {
                let spec = &plane.spec;
                let role = plane.metadata.labels.get(ROLE_LABEL).map_or("-", String::as_str);
                let hook = spec.post_create_hook.as_deref().unwrap_or("-");
                format!("{} {role} {hook} {:?} {:?}", spec.type_, spec.post_create_hook_vars, spec.global_vars)
            }
            Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
        };
        assert_eq!(seen, expected, "{line}");
    }

    #[test]
    fn what_arguments_mean() {
        check("imbs", "k8s its - {} {}");
        check("its1", "k8s its - {} {}");
        check("wds", "k8s wds - {} {}");
        check("dev", "k8s - - {} {}");
        check("dev --type its", "k8s its - {} {}");
        check("dev -t imbs", "k8s its - {} {}");
        check("wds1 --type k8s", "k8s - - {} {}");
        check("cluster1 --type wec --its its1", r#"k8s wec - {} {"ITSName": "its1"}"#);
        check("wds1 -t host", "host - - {} {}");
        check("old -t vcluster", "vcluster - - {} {}");
        check("wds1 -p hook --set a=b=c -e x=", r#"k8s wds hook {"a": "b=c", "x": ""} {}"#);
        check("wds1 --its its1 --set a=b", r#"k8s wds - {} {"ITSName": "its1", "a": "b"}"#);
        check("wds1 --set a", "unexpected expression \"a\". Must be in the form 'key=value'");
        check("wds1 --set =a", "unexpected expression \"=a\". Must be in the form 'key=value'");
        check("ext -t external", "a cluster that is there already is not created");
        assert!(planned("Wds").unwrap_err().to_string().contains("cannot be the name of a space"));
        assert!(planned("a --type moon").is_err());
        let reserved = "the name hosting is reserved: it is that of the server's own space";
        check("hosting", reserved);
        check("hosting --type host", reserved);
        check("hosting1", "k8s - - {} {}");
    }

    #[test]
    fn a_type_that_nobody_chose_is_said() {
        let said = |line: &str| {
            let arguments = std::iter::once("create").chain(line.split_whitespace());
            let create = Line::try_parse_from(arguments).unwrap().create;
            let (type_, _) = plan(&create).unwrap();
            unasked(&create, type_).is_some()
        };
        let seen = ["dev", "dev -t k8s", "its1", "wds1", "dev -t wds"].map(said);
        assert_eq!(seen, [true, false, false, false, false]);
    }

    #[test]
    fn what_is_there_already() {
        let (its, plain) = (planned("its1").unwrap(), planned("its1 -t k8s").unwrap());
        let (wds, host) = (planned("its1 -t wds").unwrap(), planned("its1 -t host").unwrap());
        assert!(is_same(&its, &its).is_ok());
        assert!(is_same(&its, &plain).is_ok());
        let error = is_same(&its, &wds).unwrap_err();
        assert!(error.to_string().contains("is of type its and not wds"), "{error}");
        assert!(error.hint_text().unwrap().contains("kflex delete its1"), "{error:?}");
        assert!(is_same(&host, &its).is_err());
        let mut leaving = its.clone();
        leaving.metadata.deletion_timestamp = Some(api::Timestamp::from_seconds(0));
        assert!(is_same(&leaving, &its).unwrap_err().to_string().contains("is being deleted"));
    }
}
