//! PodSecurity: what the labels of a namespace let its Pods be. Checks are rows: a level, and what is wrong with a Pod.

use super::pod_security_labels::{Level, Policy};
use super::{Lookup, Refusal, Subject};
use crate::field;
use serde_json::{Map, Value};

type Fields = Map<String, Value>;

/// The capabilities that every container has anyway.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
    "",
];
/// Kernel parameters that are a Pod's own.
const SAFE_SYSCTLS: [&str; 11] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
];
/// Volumes that hold nothing of the node.
const FREE_VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];
const SELINUX_TYPES: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

/// What is wrong with a Pod in one respect, and where.
struct Finding {
    reason: &'static str,
    detail: String,
}

/// The checks of baseline and, after them, those that restricted has beside it. `None`: nothing is wrong.
const BASELINE: &[fn(&Fields) -> Option<Finding>] =
    &[capabilities, host_namespaces, host_paths, host_ports, privileged, proc_mount, selinux, seccomp, sysctls];
/// Those of baseline that restricted has in another form are left out.
const RESTRICTED: &[fn(&Fields) -> Option<Finding>] = &[
    host_namespaces,
    host_ports,
    privileged,
    proc_mount,
    selinux,
    sysctls,
    escalation,
    all_capabilities,
    volumes,
    non_root,
    user,
    seccomp_chosen,
];

/// Checks a Pod that is created by what its namespace enforces, and by what it warns of.
pub(super) fn enforce(subject: &mut Subject<'_>, lookup: &dyn Lookup) -> Result<(), Refusal> {
    let Some(namespace) = lookup.get("namespaces", "", subject.namespace) else { return Ok(()) };
    let (policy, _) = Policy::of(&namespace.0);
    if let Some(detail) = details(policy.enforce.level, &subject.object.0) {
        return Err(format!("violates PodSecurity \"{}\": {detail}", policy.enforce));
    }
    subject.warnings.extend(warning(&policy, &subject.object.0));
    Ok(())
}

/// Where kinds that make Pods have their template.
const TEMPLATES: [(&str, &str); 3] =
    [("CronJob", "spec.jobTemplate.spec.template"), ("PodTemplate", "template"), ("", "spec.template")];

/// Warns whoever writes a kind that makes Pods that these would not be let in.
pub(super) fn warn_of_template(subject: &mut Subject<'_>, lookup: &dyn Lookup) -> Result<(), Refusal> {
    let Some(namespace) = lookup.get("namespaces", "", subject.namespace) else { return Ok(()) };
    let kind = subject.object.kind();
    let place = TEMPLATES.iter().find(|(of, _)| of.is_empty() || *of == kind).map_or("", |(_, place)| place);
    let Some(template) = field::object_at(&subject.object.0, place) else { return Ok(()) };
    subject.warnings.extend(warning(&Policy::of(&namespace.0).0, template));
    Ok(())
}

/// Warns whoever makes a namespace stricter of the Pods in it that would not be let in any more.
pub(super) fn warn_of_pods(subject: &mut Subject<'_>, lookup: &dyn Lookup) -> Result<(), Refusal> {
    let Some(old) = subject.old else { return Ok(()) };
    let (before, after) = (Policy::of(&old.0).0.enforce, Policy::of(&subject.object.0).0.enforce);
    let relaxed = before.version == after.version && after.level <= before.level;
    if relaxed || after.level == Level::Privileged {
        return Ok(());
    }
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for pod in lookup.list("pods", subject.object.name()) {
        let reasons: Vec<&str> = findings(after.level, &pod.0).into_iter().map(|finding| finding.reason).collect();
        if reasons.is_empty() {
            continue;
        }
        let reasons = reasons.join(", ");
        match found.iter_mut().find(|(held, _)| *held == reasons) {
            Some((_, pods)) => pods.push(pod.name().to_owned()),
            None => found.push((reasons, vec![pod.name().to_owned()])),
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let name = subject.object.name();
    let head = format!("existing pods in namespace {name:?} violate the new PodSecurity enforce level \"{after}\"");
    let mut lines: Vec<String> = found.into_iter().map(|(reasons, pods)| counted(pods, &reasons)).collect();
    lines.sort_unstable();
    subject.warnings.push(head);
    subject.warnings.append(&mut lines);
    Ok(())
}

/// `a (and 2 other pods): privileged`
fn counted(mut pods: Vec<String>, reasons: &str) -> String {
    pods.sort_unstable();
    let others = match pods.len() {
        1 => String::new(),
        2 => " (and 1 other pod)".to_owned(),
        all => format!(" (and {} other pods)", all - 1),
    };
    format!("{}{others}: {reasons}", pods[0])
}

/// What is warned of a Pod, or of the template of one.
fn warning(policy: &Policy, pod: &Fields) -> Option<String> {
    let detail = details(policy.warn.level, pod)?;
    Some(format!("would violate PodSecurity \"{}\": {detail}", policy.warn))
}

fn findings(level: Level, pod: &Fields) -> Vec<Finding> {
    let checks = match level {
        Level::Privileged => &[][..],
        Level::Baseline => BASELINE,
        Level::Restricted => RESTRICTED,
    };
    checks.iter().filter_map(|check| check(pod)).collect()
}

fn details(level: Level, pod: &Fields) -> Option<String> {
    let found: Vec<String> = findings(level, pod).iter().map(ToString::to_string).collect();
    (!found.is_empty()).then(|| found.join(", "))
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.reason, self.detail)
    }
}

fn containers(pod: &Fields) -> impl Iterator<Item = &Fields> {
    ["spec.initContainers", "spec.containers", "spec.ephemeralContainers"]
        .into_iter()
        .flat_map(move |list| field::objects_at(pod, list))
}

/// `container "a"`, `containers "a", "b"`
fn named(one: &str, names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    format!("{one}{} {}", if names.len() == 1 { "" } else { "s" }, quoted.join(", "))
}

/// The containers for which something holds.
fn those(pod: &Fields, is: impl Fn(&Fields) -> bool) -> Vec<&str> {
    containers(pod).filter(|container| is(container)).map(|container| field::text_at(container, "name")).collect()
}

fn of_containers(pod: &Fields, reason: &'static str, must: &str, is: impl Fn(&Fields) -> bool) -> Option<Finding> {
    let bad = those(pod, is);
    (!bad.is_empty()).then(|| Finding { reason, detail: format!("{} {must}", named("container", &bad)) })
}

fn texts<'f>(fields: &'f Fields, path: &str) -> Vec<&'f str> {
    field::list_at(fields, path).iter().filter_map(Value::as_str).collect()
}

/// Names, sorted, each once.
fn sorted<'t>(names: impl Iterator<Item = &'t str>) -> Vec<&'t str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn capabilities(pod: &Fields) -> Option<Finding> {
    let added = |container: &Fields| -> Vec<String> {
        let added = texts(container, "securityContext.capabilities.add").into_iter();
        added.filter(|name| !DEFAULT_CAPABILITIES.contains(name)).map(str::to_owned).collect()
    };
    let bad = those(pod, |container| !added(container).is_empty());
    let all: Vec<String> = containers(pod).flat_map(added).collect();
    let listed: Vec<String> = sorted(all.iter().map(String::as_str)).iter().map(|name| format!("{name:?}")).collect();
    (!bad.is_empty()).then(|| Finding {
        reason: "non-default capabilities",
        detail: format!(
            "{} must not include {} in securityContext.capabilities.add",
            named("container", &bad),
            listed.join(", ")
        ),
    })
}

fn host_namespaces(pod: &Fields) -> Option<Finding> {
    let used: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|name| field::flag_at(pod, &format!("spec.{name}")))
        .map(|name| format!("{name}=true"))
        .collect();
    (!used.is_empty()).then(|| Finding { reason: "host namespaces", detail: used.join(", ") })
}

fn host_paths(pod: &Fields) -> Option<Finding> {
    let bad: Vec<&str> = field::objects_at(pod, "spec.volumes")
        .filter(|volume| volume.get("hostPath").is_some_and(Value::is_object))
        .map(|volume| field::text_at(volume, "name"))
        .collect();
    (!bad.is_empty()).then(|| Finding { reason: "hostPath volumes", detail: named("volume", &bad) })
}

fn host_ports(pod: &Fields) -> Option<Finding> {
    let ports = |container: &Fields| -> Vec<i64> {
        let ports = field::objects_at(container, "ports");
        ports.filter_map(|port| field::int_at(port, "hostPort")).filter(|port| *port != 0).collect()
    };
    let bad = those(pod, |container| !ports(container).is_empty());
    let mut all: Vec<i64> = containers(pod).flat_map(ports).collect();
    all.sort_unstable();
    all.dedup();
    let listed: Vec<String> = all.iter().map(i64::to_string).collect();
    let (uses, many) = (if bad.len() == 1 { "uses" } else { "use" }, if all.len() == 1 { "" } else { "s" });
    (!bad.is_empty()).then(|| Finding {
        reason: "hostPort",
        detail: format!("{} {uses} hostPort{many} {}", named("container", &bad), listed.join(", ")),
    })
}

fn privileged(pod: &Fields) -> Option<Finding> {
    of_containers(pod, "privileged", "must not set securityContext.privileged=true", |container| {
        field::flag_at(container, "securityContext.privileged")
    })
}

fn proc_mount(pod: &Fields) -> Option<Finding> {
    of_containers(pod, "procMount", "must not set securityContext.procMount to \"Unmasked\"", |container| {
        field::text_at(container, "securityContext.procMount") == "Unmasked"
    })
}

fn selinux(pod: &Fields) -> Option<Finding> {
    let bad = |fields: &Fields, path: &str| -> Vec<String> {
        let Some(options) = field::object_at(fields, path) else { return Vec::new() };
        let text = |name: &str| field::text_at(options, name);
        let kind = (!SELINUX_TYPES.contains(&text("type"))).then(|| format!("type {:?}", text("type")));
        let others = ["user", "role"].into_iter().filter(|name| !text(name).is_empty());
        kind.into_iter().chain(others.map(|name| format!("{name} may not be set"))).collect()
    };
    let of_pod = bad(pod, "spec.securityContext.seLinuxOptions");
    let of = |container: &Fields| bad(container, "securityContext.seLinuxOptions");
    let names = those(pod, |container| !of(container).is_empty());
    let all: Vec<String> = of_pod.iter().cloned().chain(containers(pod).flat_map(of)).collect();
    let setters = match (of_pod.is_empty(), names.is_empty()) {
        (true, true) => return None,
        (false, true) => "pod".to_owned(),
        (true, false) => named("container", &names),
        (false, false) => format!("pod and {}", named("container", &names)),
    };
    let listed = sorted(all.iter().map(String::as_str));
    Some(Finding {
        reason: "seLinuxOptions",
        detail: format!("{setters} set forbidden securityContext.seLinuxOptions: {}", listed.join("; ")),
    })
}

fn seccomp(pod: &Fields) -> Option<Finding> {
    let unconfined = |fields: &Fields, path: &str| field::text_at(fields, path) == "Unconfined";
    let of_pod = unconfined(pod, "spec.securityContext.seccompProfile.type");
    let names = those(pod, |container| unconfined(container, "securityContext.seccompProfile.type"));
    let setters = match (of_pod, names.is_empty()) {
        (false, true) => return None,
        (true, true) => "pod".to_owned(),
        (false, false) => named("container", &names),
        (true, false) => format!("pod and {}", named("container", &names)),
    };
    let must = "must not set securityContext.seccompProfile.type to \"Unconfined\"";
    Some(Finding { reason: "seccompProfile", detail: format!("{setters} {must}") })
}

fn sysctls(pod: &Fields) -> Option<Finding> {
    let names = field::objects_at(pod, "spec.securityContext.sysctls").map(|sysctl| field::text_at(sysctl, "name"));
    let bad = sorted(names.filter(|name| !SAFE_SYSCTLS.contains(name) && *name != "net.ipv4.tcp_wmem"));
    (!bad.is_empty()).then(|| Finding { reason: "forbidden sysctls", detail: bad.join(", ") })
}

fn escalation(pod: &Fields) -> Option<Finding> {
    let must = "must set securityContext.allowPrivilegeEscalation=false";
    of_containers(pod, "allowPrivilegeEscalation != false", must, |container| {
        field::at(container, "securityContext.allowPrivilegeEscalation") != Some(&Value::Bool(false))
    })
}

fn all_capabilities(pod: &Fields) -> Option<Finding> {
    let list = |container: &Fields, name: &str| -> Vec<String> {
        texts(container, &format!("securityContext.capabilities.{name}")).into_iter().map(str::to_owned).collect()
    };
    let keeps = those(pod, |container| !list(container, "drop").iter().any(|name| name == "ALL"));
    let added = |container: &Fields| -> Vec<String> {
        list(container, "add").into_iter().filter(|name| name != "NET_BIND_SERVICE").collect()
    };
    let adds = those(pod, |container| !added(container).is_empty());
    let mut details = Vec::new();
    if !keeps.is_empty() {
        let must = "must set securityContext.capabilities.drop=[\"ALL\"]";
        details.push(format!("{} {must}", named("container", &keeps)));
    }
    if !adds.is_empty() {
        let all: Vec<String> = containers(pod).flat_map(added).collect();
        let listed: Vec<String> =
            sorted(all.iter().map(String::as_str)).iter().map(|name| format!("{name:?}")).collect();
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            named("container", &adds),
            listed.join(", ")
        ));
    }
    (!details.is_empty()).then(|| Finding { reason: "unrestricted capabilities", detail: details.join("; ") })
}

fn volumes(pod: &Fields) -> Option<Finding> {
    let kind = |volume: &Fields| -> Option<String> {
        let found = volume.iter().find(|(name, value)| *name != "name" && !value.is_null());
        found.map(|(name, _)| name.clone()).filter(|name| !FREE_VOLUMES.contains(&name.as_str()))
    };
    let bad: Vec<&Fields> = field::objects_at(pod, "spec.volumes").filter(|volume| kind(volume).is_some()).collect();
    let names: Vec<&str> = bad.iter().map(|volume| field::text_at(volume, "name")).collect();
    let kinds: Vec<String> = bad.iter().filter_map(|volume| kind(volume)).collect();
    let kinds: Vec<&str> = sorted(kinds.iter().map(String::as_str));
    let uses = if names.len() == 1 { "uses" } else { "use" };
    (!bad.is_empty()).then(|| Finding {
        reason: "restricted volume types",
        detail: format!("{} {uses} {}", named("volume", &names), named("restricted volume type", &kinds)),
    })
}

fn non_root(pod: &Fields) -> Option<Finding> {
    let said = |fields: &Fields, path: &str| field::at(fields, path).and_then(Value::as_bool);
    let of_pod = said(pod, "spec.securityContext.runAsNonRoot");
    let of = |container: &Fields| said(container, "securityContext.runAsNonRoot");
    let must_not = those(pod, |container| of(container) == Some(false));
    let silent = those(pod, |container| of(container).is_none());
    let reason = "runAsNonRoot != true";
    if of_pod == Some(false) || !must_not.is_empty() {
        let setters = match (of_pod == Some(false), must_not.is_empty()) {
            (true, true) => "pod".to_owned(),
            (true, false) => format!("pod and {}", named("container", &must_not)),
            _ => named("container", &must_not),
        };
        return Some(Finding { reason, detail: format!("{setters} must not set securityContext.runAsNonRoot=false") });
    }
    (of_pod.is_none() && !silent.is_empty()).then(|| Finding {
        reason,
        detail: format!("pod or {} must set securityContext.runAsNonRoot=true", named("container", &silent)),
    })
}

fn user(pod: &Fields) -> Option<Finding> {
    let root = |fields: &Fields, path: &str| field::int_at(fields, path) == Some(0);
    let of_pod = root(pod, "spec.securityContext.runAsUser");
    let names = those(pod, |container| root(container, "securityContext.runAsUser"));
    let setters = match (of_pod, names.is_empty()) {
        (false, true) => return None,
        (true, true) => "pod".to_owned(),
        (true, false) => format!("pod and {}", named("container", &names)),
        (false, false) => named("container", &names),
    };
    Some(Finding { reason: "runAsUser=0", detail: format!("{setters} must not set runAsUser=0") })
}

fn seccomp_chosen(pod: &Fields) -> Option<Finding> {
    if let Some(finding) = seccomp(pod) {
        return Some(finding);
    }
    let chosen = |fields: &Fields, path: &str| matches!(field::text_at(fields, path), "RuntimeDefault" | "Localhost");
    if chosen(pod, "spec.securityContext.seccompProfile.type") {
        return None;
    }
    let silent = those(pod, |container| !chosen(container, "securityContext.seccompProfile.type"));
    (!silent.is_empty()).then(|| Finding {
        reason: "seccompProfile",
        detail: format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            named("container", &silent)
        ),
    })
}
