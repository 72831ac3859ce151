//! What the commands do to a kubeconfig, as functions of its content: names, extensions and moves as KubeFlex has them.
//!
//! Context, cluster and user of a space are `NAME`, `NAME-cluster` and `NAME-admin`. The extension `kubeflex` of the file
//! names the hosting context; that of a context says which space it is of. Extensions of others are never touched.

use crate::{Error, Result};
use api::Timestamp;
use client::kubeconfig::{Kubeconfig, KubeconfigSet, Section};
use serde_json::{Map, Value, json};

/// Name of our extensions.
const EXTENSION: &str = "kubeflex";
/// In the extension of the file: the name of the hosting context.
const HOSTING_KEY: &str = "hosting-cluster-ctx-name";
/// The same, as older versions wrote it.
const HOSTING_KEY_OLD: &str = "kflex-initial-ctx-name";
/// In the extension of a context: it is the hosting one.
const IS_HOSTING_KEY: &str = "is-hosting-cluster-ctx";
/// In the extension of a context: the space that it is of.
const SPACE_KEY: &str = "controlplane-name";

/// The cluster entry of a space.
pub fn cluster_name(space: &str) -> String {
    format!("{space}-cluster")
}

/// The user entry of a space.
pub fn user_name(space: &str) -> String {
    format!("{space}-admin")
}

/// What the file says about the hosting context.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hosting {
    /// Nothing.
    Unknown,
    /// Our extension is there and names none.
    Empty,
    /// This one; the file may not have it any more.
    Named(String),
}

/// Which context is the hosting one.
pub fn hosting(set: &KubeconfigSet) -> Hosting {
    let Some(extension) = set.extension(EXTENSION) else { return Hosting::Unknown };
    let named = [HOSTING_KEY, HOSTING_KEY_OLD].into_iter().find_map(|key| datum(extension, key));
    named.map_or(Hosting::Empty, |name| Hosting::Named(name.to_owned()))
}

/// The space that a context is of, if it is one of ours.
pub fn space_of<'a>(set: &'a KubeconfigSet, context: &str) -> Option<&'a str> {
    datum(set.context_extension(context, EXTENSION)?, SPACE_KEY)
}

fn datum<'a>(extension: &'a Value, key: &str) -> Option<&'a str> {
    extension.get("data")?.get(key)?.as_str().filter(|value| !value.is_empty())
}

/// Our extension with one more datum; what else it holds stays.
fn with_datum(held: Option<&Value>, key: &str, value: &str, now: Timestamp) -> Value {
    let mut extension = held.and_then(Value::as_object).cloned().unwrap_or_default();
    extension.entry("metadata").or_insert_with(|| json!({"name": EXTENSION, "creationTimestamp": now.to_string()}));
    let data = extension.entry("data").or_insert_with(|| Value::Object(Map::new()));
    if !data.is_object() {
        *data = Value::Object(Map::new());
    }
    data[key] = value.into();
    extension.into()
}

/// Records a context as the hosting one, for the file and for the context.
///
/// # Errors
/// If the file does not have the context.
pub fn set_hosting(set: &mut KubeconfigSet, context: &str, now: Timestamp) -> Result<()> {
    let of_context = with_datum(set.context_extension(context, EXTENSION), IS_HOSTING_KEY, "true", now);
    if !set.set_context_extension(context, EXTENSION, of_context) {
        return Err(no_context(set, context));
    }
    let of_file = with_datum(set.extension(EXTENSION), HOSTING_KEY, context, now);
    set.set_extension(EXTENSION, of_file);
    Ok(())
}

/// The error for a context that the file does not have.
pub fn no_context(set: &KubeconfigSet, context: &str) -> Error {
    let names = set.names(Section::Contexts);
    let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Error::new(format!("the kubeconfig has no context {context:?}"))
        .hint(format!("contexts that it has: {known}; kflex create {context} makes a new space"))
}

/// Puts the entries of a space into the file, from the kubeconfig that its server gave, and makes its context the
/// current one. Entries of the same names are replaced, whatever else their contexts carry stays.
///
/// # Errors
/// If the given kubeconfig has no cluster or user.
pub fn merge_space(set: &mut KubeconfigSet, space: &str, given: &Kubeconfig, now: Timestamp) -> Result<()> {
    merge_context(set, space, given)?;
    let extension = with_datum(set.context_extension(space, EXTENSION), SPACE_KEY, space, now);
    set.set_context_extension(space, EXTENSION, extension);
    set.set_current_context(space);
    Ok(())
}

/// Puts the entries of the hosting space into the file as context `name`, records it as the hosting one, and makes it
/// the current one.
///
/// # Errors
/// As [`merge_space`].
pub fn merge_hosting(set: &mut KubeconfigSet, name: &str, given: &Kubeconfig, now: Timestamp) -> Result<()> {
    merge_context(set, name, given)?;
    set_hosting(set, name, now)?;
    set.set_current_context(name);
    Ok(())
}

/// [`merge_hosting`] for a server that ran already: where the context is the hosting one already, it is brought up to
/// date, and the user stays in the context that is current. Whether it was made the current one.
///
/// # Errors
/// As [`merge_space`].
pub fn refresh_hosting(set: &mut KubeconfigSet, name: &str, given: &Kubeconfig, now: Timestamp) -> Result<bool> {
    let known = set.get(Section::Contexts, name).is_some() && hosting(set) == Hosting::Named(name.to_owned());
    if known && set.current_context().is_some() {
        return merge_context(set, name, given).map(|()| false);
    }
    merge_hosting(set, name, given, now).map(|()| true)
}

/// Gives the contexts of kflex that lead to a server its new address. URLs are without a path. Returns the contexts.
pub fn move_server(set: &mut KubeconfigSet, old: &str, new: &str) -> Vec<String> {
    let names: Vec<String> = set.names(Section::Contexts).into_iter().map(str::to_owned).collect();
    let mut moved = Vec::new();
    for context in names {
        let cluster = cluster_name(&context);
        let Some(mut content) = set.get(Section::Clusters, &cluster).cloned() else { continue };
        let path = content.get("server").and_then(Value::as_str).and_then(|server| server.strip_prefix(old));
        // The same beginning is not the same address: :9443 and :94430.
        let path = path.filter(|path| path.is_empty() || path.starts_with('/')).map(str::to_owned);
        if let Some(path) = path.filter(|_| is_named_as_ours(set, &context)) {
            content["server"] = format!("{new}{path}").into();
            set.set(Section::Clusters, &cluster, content);
            moved.push(context);
        }
    }
    moved
}

/// The contexts of some spaces, under whichever names the user gave them.
pub fn contexts_of<'a>(set: &'a KubeconfigSet, spaces: &[String]) -> Vec<&'a str> {
    let of_one = |context: &&str| space_of(set, context).is_some_and(|of| spaces.iter().any(|space| space == of));
    set.names(Section::Contexts).into_iter().filter(of_one).collect()
}

fn merge_context(set: &mut KubeconfigSet, name: &str, given: &Kubeconfig) -> Result<()> {
    let incomplete = |what: &str| Error::new(format!("the kubeconfig given for {name} has no {what}"));
    let chosen = given.current_context().or_else(|| given.names(Section::Contexts).first().copied());
    let context = chosen.and_then(|context| given.get(Section::Contexts, context));
    let entry = |section: Section, field: &str, what: &str| {
        let named = context.and_then(|context| context.get(field)?.as_str());
        let named = named.or_else(|| given.names(section).first().copied());
        named.and_then(|named| given.get(section, named)).cloned().ok_or_else(|| incomplete(what))
    };
    let cluster = entry(Section::Clusters, "cluster", "cluster")?;
    let user = entry(Section::Users, "user", "user")?;
    set.set(Section::Clusters, &cluster_name(name), cluster);
    set.set(Section::Users, &user_name(name), user);
    let mut content = set.get(Section::Contexts, name).and_then(Value::as_object).cloned().unwrap_or_default();
    content.insert("cluster".into(), cluster_name(name).into());
    content.insert("user".into(), user_name(name).into());
    content.entry("namespace").or_insert_with(|| "default".into());
    set.set(Section::Contexts, name, content.into());
    Ok(())
}

/// Removes a context with the entries that are named after it. Whether it was there. If it was the current one, the
/// hosting context becomes current, or none.
fn remove_context(set: &mut KubeconfigSet, context: &str) -> bool {
    let was_current = set.current_context() == Some(context);
    let removed = set.remove(Section::Contexts, context);
    for (section, name) in [(Section::Clusters, cluster_name(context)), (Section::Users, user_name(context))] {
        if !is_used(set, section, &name) {
            set.remove(section, &name);
        }
    }
    if was_current {
        let next = match hosting(set) {
            Hosting::Named(name) if name != context && set.get(Section::Contexts, &name).is_some() => name,
            _ => String::new(),
        };
        set.set_current_context(&next);
    }
    removed
}

/// Removes what the file has of a space that is gone: its context, also under a name that the user gave it. Whether
/// there was any.
pub fn remove_space(set: &mut KubeconfigSet, space: &str) -> bool {
    let names: Vec<String> = set.names(Section::Contexts).into_iter().map(str::to_owned).collect();
    let of_space = names.into_iter().filter(|name| match space_of(set, name) {
        Some(of) => of == space,
        // Ours, if it lost its extension; another's context of the same name stays.
        None => name == space && is_named_as_ours(set, name),
    });
    let of_space: Vec<String> = of_space.collect();
    for name in &of_space {
        remove_context(set, name);
    }
    !of_space.is_empty()
}

/// Whether a context has the entries that ours have.
fn is_named_as_ours(set: &KubeconfigSet, context: &str) -> bool {
    let content = set.get(Section::Contexts, context);
    content.and_then(|content| content.get("cluster")?.as_str()) == Some(&cluster_name(context))
}

/// Refuses a name that the user has for something else: its context would be lost.
///
/// # Errors
/// If there is a context of this name that is not of kflex.
pub fn check_free(set: &KubeconfigSet, space: &str) -> Result<()> {
    let taken = set.get(Section::Contexts, space).is_some();
    if !taken || space_of(set, space) == Some(space) || is_named_as_ours(set, space) {
        return Ok(());
    }
    Err(Error::new(format!("the kubeconfig has a context {space:?} of something else")).hint(format!(
        "choose another name for the space, or rename that context: kubectl config rename-context {space} NEW"
    )))
}

/// Whether a context names an entry.
fn is_used(set: &KubeconfigSet, section: Section, name: &str) -> bool {
    let field = if section == Section::Clusters { "cluster" } else { "user" };
    set.names(Section::Contexts).into_iter().any(|context| {
        set.get(Section::Contexts, context).and_then(|content| content.get(field)?.as_str()) == Some(name)
    })
}

/// Deletes any context: one of ours with its entries, another's without touching clusters and users.
///
/// # Errors
/// If the file does not have it.
pub fn delete_context(set: &mut KubeconfigSet, context: &str) -> Result<()> {
    if set.get(Section::Contexts, context).is_none() {
        return Err(no_context(set, context));
    }
    remove_context(set, context);
    Ok(())
}

/// Gives a context, its cluster and its user new names. If it was current, the new one becomes current with `switch`,
/// else the hosting context does. Returns what was done, line by line.
///
/// # Errors
/// If the file does not have the context, or has the new name already.
pub fn rename_context(
    set: &mut KubeconfigSet,
    old: &str,
    new: &str,
    switch: bool,
    now: Timestamp,
) -> Result<Vec<String>> {
    let Some(Value::Object(mut content)) = set.get(Section::Contexts, old).cloned() else {
        return Err(no_context(set, old));
    };
    if set.get(Section::Contexts, new).is_some() {
        return Err(Error::new(format!("the kubeconfig has a context {new:?} already"))
            .hint(format!("choose another name, or remove it: kflex ctx delete {new}")));
    }
    let was_current = set.current_context() == Some(old);
    let was_hosting = hosting(set) == Hosting::Named(old.to_owned());
    let mut lines = Vec::new();
    for (section, field, to) in
        [(Section::Clusters, "cluster", cluster_name(new)), (Section::Users, "user", user_name(new))]
    {
        let from = content.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(entry) = set.get(section, &from).cloned() {
            set.set(section, &to, entry);
            content.insert(field.into(), to.clone().into());
            lines.push(format!("renaming {field} to {to}"));
        }
    }
    set.set(Section::Contexts, new, content.clone().into());
    lines.push(format!("renaming context from {old} to {new}"));
    // The old entries go, unless another context uses them.
    set.remove(Section::Contexts, old);
    for (section, name) in [(Section::Clusters, cluster_name(old)), (Section::Users, user_name(old))] {
        if !is_used(set, section, &name) {
            set.remove(section, &name);
        }
    }
    lines.push(format!("context {old} is deleted"));
    if was_hosting {
        set_hosting(set, new, now)?;
    }
    if was_current || switch {
        let next = match hosting(set) {
            Hosting::Named(name) if !switch && set.get(Section::Contexts, &name).is_some() => name,
            _ => new.to_owned(),
        };
        lines.push(format!("switching to context {next}"));
        set.set_current_context(&next);
    }
    Ok(lines)
}

/// Rows of `kflex ctx list`: context, whether it is ours, its space. The current one is marked.
pub fn rows(set: &KubeconfigSet) -> Vec<Vec<String>> {
    let current = set.current_context();
    let named = hosting(set);
    set.names(Section::Contexts)
        .into_iter()
        .map(|name| {
            let space = space_of(set, name).unwrap_or("");
            let ours = !space.is_empty() || named == Hosting::Named(name.to_owned());
            let mark = if current == Some(name) { "*" } else { "" };
            vec![format!("{name}{mark}"), if ours { "yes" } else { "" }.to_owned(), space.to_owned()]
        })
        .collect()
}

/// `kflex config diagnose`: what is known of the hosting context, as `{status, message, data}`.
pub fn diagnosis(set: &KubeconfigSet) -> Value {
    let (status, message, name) = match hosting(set) {
        Hosting::Unknown => {
            ("critical", "the kubeconfig does not say which context is the hosting one".to_owned(), None)
        }
        Hosting::Empty => {
            ("warning", "the kubeflex extension of the kubeconfig names no hosting context".to_owned(), None)
        }
        Hosting::Named(name) if set.get(Section::Contexts, &name).is_none() => {
            ("critical", format!("the hosting context {name} is not in the kubeconfig"), Some(name))
        }
        Hosting::Named(name) => ("ok", format!("the hosting context is {name}"), Some(name)),
    };
    let data = name.map_or_else(|| json!({}), |name| json!({HOSTING_KEY: name}));
    json!({"status": status, "message": message, "data": data})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> KubeconfigSet {
        KubeconfigSet::from_documents(vec![("/k".into(), Kubeconfig::parse(text).unwrap())])
    }

    fn given() -> Kubeconfig {
        Kubeconfig::parse(
            "current-context: default\ncontexts: [{name: default, context: {cluster: c, user: u}}]\n\
             clusters: [{name: other, cluster: {server: 'https://o'}}, {name: c, cluster: {server: 'https://s/spaces/wds1'}}]\n\
             users: [{name: u, user: {client-certificate-data: YQ==, client-key-data: Yg==}}]\n",
        )
        .unwrap()
    }

    const NOW: Timestamp = Timestamp::from_seconds(0);

    const THEIRS: &str = "current-context: kind\n\
        contexts:\n- {name: kind, context: {cluster: kind, user: kind, extensions: [{name: minikube, extension: 1}]}}\n\
        clusters: [{name: kind, cluster: {server: 'https://kind'}}]\nusers: [{name: kind, user: {}}]\n";

    #[test]
    fn a_space_comes_and_goes_without_a_trace() {
        let mut held = set(THEIRS);
        merge_space(&mut held, "wds1", &given(), NOW).unwrap();
        assert_eq!(held.current_context(), Some("wds1"));
        assert_eq!(held.get(Section::Clusters, "wds1-cluster").unwrap()["server"], "https://s/spaces/wds1");
        assert_eq!(held.get(Section::Users, "wds1-admin").unwrap()["client-key-data"], "Yg==");
        let context = held.get(Section::Contexts, "wds1").unwrap();
        assert_eq!((&context["cluster"], &context["user"]), (&json!("wds1-cluster"), &json!("wds1-admin")));
        assert_eq!(context["namespace"], "default");
        assert_eq!(space_of(&held, "wds1"), Some("wds1"));
        assert_eq!(space_of(&held, "kind"), None);

        // Again: the user's choice of a namespace stays, and nothing else changes.
        let mut chosen = context.clone();
        chosen["namespace"] = "mine".into();
        held.set(Section::Contexts, "wds1", chosen.clone());
        merge_space(&mut held, "wds1", &given(), Timestamp::from_seconds(99)).unwrap();
        assert_eq!(held.get(Section::Contexts, "wds1").unwrap(), &chosen);

        assert!(remove_space(&mut held, "wds1"));
        assert!(!remove_space(&mut held, "wds1"));
        assert_eq!(held.current_context(), None);
        for section in [Section::Clusters, Section::Users, Section::Contexts] {
            assert_eq!(held.names(section), ["kind"]);
        }
    }

    #[test]
    fn the_hosting_context() {
        let mut held = set(THEIRS);
        assert_eq!(hosting(&held), Hosting::Unknown);
        assert_eq!(diagnosis(&held)["status"], "critical");
        assert!(set_hosting(&mut held, "absent", NOW).is_err());
        set_hosting(&mut held, "kind", NOW).unwrap();
        assert_eq!(hosting(&held), Hosting::Named("kind".into()));
        assert_eq!(held.context_extension("kind", "minikube"), Some(&json!(1)));
        assert_eq!(held.context_extension("kind", EXTENSION).unwrap()["data"][IS_HOSTING_KEY], "true");
        assert_eq!(diagnosis(&held)["data"][HOSTING_KEY], "kind");
        // A space that was current gives way to the hosting context.
        merge_space(&mut held, "wds1", &given(), NOW).unwrap();
        remove_space(&mut held, "wds1");
        assert_eq!(held.current_context(), Some("kind"));

        let old = "extensions: [{name: kubeflex, extension: {data: {kflex-initial-ctx-name: kind}}}]";
        assert_eq!(hosting(&set(old)), Hosting::Named("kind".into()));
        assert_eq!(diagnosis(&set(old))["status"], "critical");
        let empty = "extensions: [{name: kubeflex, extension: {data: {}}}]";
        assert_eq!(hosting(&set(empty)), Hosting::Empty);
        assert_eq!(diagnosis(&set(empty))["status"], "warning");
    }

    #[test]
    fn renames_take_cluster_and_user_along() {
        let mut held = set(THEIRS);
        set_hosting(&mut held, "kind", NOW).unwrap();
        merge_space(&mut held, "wds1", &given(), NOW).unwrap();
        assert!(rename_context(&mut held, "absent", "x", false, NOW).is_err());
        assert!(rename_context(&mut held, "wds1", "kind", false, NOW).is_err());
        let lines = rename_context(&mut held, "wds1", "dev", false, NOW).unwrap();
        assert_eq!(
            lines,
            [
                "renaming cluster to dev-cluster",
                "renaming user to dev-admin",
                "renaming context from wds1 to dev",
                "context wds1 is deleted",
                "switching to context kind",
            ]
        );
        assert_eq!(held.names(Section::Clusters), ["kind", "dev-cluster"]);
        assert_eq!(held.get(Section::Contexts, "dev").unwrap()["user"], "dev-admin");
        assert_eq!(space_of(&held, "dev"), Some("wds1"));
        rename_context(&mut held, "dev", "dev2", true, NOW).unwrap();
        assert_eq!(held.current_context(), Some("dev2"));
        // The space is known under its new name too, when it goes.
        let mut gone = held.clone();
        assert!(remove_space(&mut gone, "wds1"));
        assert_eq!((gone.names(Section::Contexts), gone.names(Section::Users)), (vec!["kind"], vec!["kind"]));
        rename_context(&mut held, "kind", "host", false, NOW).unwrap();
        assert_eq!(hosting(&held), Hosting::Named("host".into()));
        // Its own entries had other names: they stay for whoever else uses them.
        assert!(held.get(Section::Clusters, "kind").is_some());
    }

    #[test]
    fn a_server_that_ran_already_does_not_take_the_user_away() {
        let mut held = set(THEIRS);
        assert!(refresh_hosting(&mut held, "host", &given(), NOW).unwrap(), "it was not known");
        assert_eq!(held.current_context(), Some("host"));
        held.set_current_context("kind");
        held.set(Section::Users, "host-admin", json!({"token": "old"}));
        assert!(!refresh_hosting(&mut held, "host", &given(), NOW).unwrap());
        assert_eq!(held.current_context(), Some("kind"));
        assert_eq!(held.get(Section::Users, "host-admin").unwrap()["client-key-data"], "Yg==");
        held.set_current_context("");
        assert!(refresh_hosting(&mut held, "host", &given(), NOW).unwrap(), "there was no current context");
        set_hosting(&mut held, "kind", NOW).unwrap();
        held.set_current_context("kind");
        assert!(refresh_hosting(&mut held, "host", &given(), NOW).unwrap(), "another one was the hosting context");
    }

    #[test]
    fn a_server_that_moved() {
        const OLD: &str = "https://127.0.0.1:9443";
        const NEW: &str = "https://127.0.0.1:9444";
        #[track_caller]
        fn check(context: &str, cluster: &str, server: &str, expected: &str) {
            let mut held = set(THEIRS);
            held.set(Section::Contexts, context, json!({"cluster": cluster, "user": "u"}));
            held.set(Section::Clusters, cluster, json!({"server": server, "certificate-authority-data": "YQ=="}));
            let moved = move_server(&mut held, OLD, NEW);
            let entry = held.get(Section::Clusters, cluster).unwrap();
            assert_eq!(entry["server"], expected, "{context} {cluster} {server}");
            assert_eq!(entry["certificate-authority-data"], "YQ==");
            assert_eq!(moved, if server == expected { vec![] } else { vec![context] }, "{context} {cluster} {server}");
        }
        check("wds1", "wds1-cluster", &format!("{OLD}/spaces/wds1"), &format!("{NEW}/spaces/wds1"));
        check("hosting", "hosting-cluster", OLD, NEW);
        check("wds1", "wds1-cluster", &format!("{OLD}0/spaces/wds1"), &format!("{OLD}0/spaces/wds1"));
        check("wds1", "wds1-cluster", "https://elsewhere:9443", "https://elsewhere:9443");
        check("mine", "other", &format!("{OLD}/spaces/wds1"), &format!("{OLD}/spaces/wds1"));
        check("wds1", "wds2-cluster", OLD, OLD);
        check("wds1", "wds1-cluster", "", "");
    }

    #[test]
    fn contexts_of_spaces() {
        let mut held = set(THEIRS);
        merge_space(&mut held, "its1", &given(), NOW).unwrap();
        merge_space(&mut held, "wds1", &given(), NOW).unwrap();
        rename_context(&mut held, "its1", "inventory", false, NOW).unwrap();
        assert_eq!(contexts_of(&held, &["its1".to_owned(), "kind".to_owned()]), ["inventory"]);
        assert!(contexts_of(&held, &[]).is_empty());
    }

    #[test]
    fn what_is_listed() {
        let mut held = set(THEIRS);
        set_hosting(&mut held, "kind", NOW).unwrap();
        merge_space(&mut held, "wds1", &given(), NOW).unwrap();
        held.set(Section::Contexts, "other", json!({}));
        let listed: Vec<String> = rows(&held).into_iter().map(|row| row.join("|")).collect();
        assert_eq!(listed, ["kind|yes|", "wds1*|yes|wds1", "other||"]);
    }

    #[test]
    fn names_that_the_user_has_for_something_else() {
        let mut held = set(THEIRS);
        let error = check_free(&held, "kind").unwrap_err();
        assert!(error.hint_text().unwrap().contains("kubectl config rename-context kind"), "{error}");
        check_free(&held, "wds1").unwrap();
        merge_space(&mut held, "wds1", &given(), NOW).unwrap();
        check_free(&held, "wds1").unwrap();
        assert!(!remove_space(&mut held, "kind"), "a space called kind was here, the context is not its");
        // Another program dropped our extension.
        held.set(Section::Contexts, "wds1", json!({"cluster": "wds1-cluster", "user": "wds1-admin"}));
        check_free(&held, "wds1").unwrap();
        assert!(remove_space(&mut held, "wds1"));
    }

    #[test]
    fn shared_entries_survive_a_delete() {
        let mut held = set(THEIRS);
        merge_space(&mut held, "wds1", &given(), NOW).unwrap();
        held.set(Section::Contexts, "mine", json!({"cluster": "wds1-cluster", "user": "kind"}));
        delete_context(&mut held, "wds1").unwrap();
        assert_eq!(held.names(Section::Clusters), ["kind", "wds1-cluster"]);
        assert_eq!(held.names(Section::Users), ["kind"]);
        delete_context(&mut held, "kind").unwrap();
        assert_eq!(held.names(Section::Clusters), ["kind", "wds1-cluster"]);
        assert!(delete_context(&mut held, "kind").is_err());
    }

    #[test]
    fn incomplete_kubeconfigs_are_refused() {
        let error = merge_space(&mut set(""), "a", &Kubeconfig::default(), NOW).unwrap_err().to_string();
        assert!(error.contains("has no cluster"), "{error}");
        // Without contexts the first cluster and user count.
        let bare = Kubeconfig::parse(
            "clusters: [{name: c, cluster: {server: 'https://s'}}]\nusers: [{name: u, user: {token: t}}]",
        );
        let mut held = set("");
        merge_space(&mut held, "a", &bare.unwrap(), NOW).unwrap();
        assert_eq!(held.get(Section::Users, "a-admin").unwrap()["token"], "t");
    }
}
