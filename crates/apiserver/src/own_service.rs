//! The Service `kubernetes` in the namespace `default`, by which Pods find the API of their space, and the ServiceCIDR of
//! that name, which says where Services have their addresses of.
//!
//! As the priority classes, they are written when somebody first asks for their kind, and come back when deleted.

use crate::flowcontrol;
use crate::registry;
use crate::respond::Result;
use crate::route::Target;
use crate::server::Server;
use crate::space::Space;
use api::{Object, ObjectName};
use machinery::allocation::{FIRST_ADDRESS, RANGE};
use serde_json::json;
use std::sync::Arc;

const PLURAL: &str = "services";
const NAMESPACE: &str = "default";
const NAME: &str = "kubernetes";
/// Who writes it, as a stock server has it.
const MANAGER: &str = "kube-apiserver";
/// Where clients reach a server whose address names no port.
const HTTPS: u16 = 443;

/// The resource of ranges: group, version and name.
const RANGES: (&str, &str, &str) = ("networking.k8s.io", "v1", "servicecidrs");

/// Whether a request may see the Service.
fn concerns_service(target: &Target) -> bool {
    target.group.is_empty() && target.resource == PLURAL && ["", NAMESPACE].contains(&target.namespace.as_str())
}

/// Writes what a request may see of them, if a space does not have it.
///
/// # Errors
/// If the store takes no writes.
pub(crate) async fn ensure(server: &Server, space: &Arc<Space>, target: &Target) -> Result<()> {
    if concerns_service(target) {
        ensure_service(server, space).await?;
    }
    let (group, version, plural) = RANGES;
    if target.group == group && target.resource == plural {
        let Some(kind) = registry::builtin_kind(group, version, plural) else { return Ok(()) };
        let mut object = Object::new(&kind.api_version, &kind.served.kind, &ObjectName::cluster(NAME));
        object.0.insert("spec".into(), json!({"cidrs": [RANGE]}));
        flowcontrol::write_absent(server, space, &kind, &[object], MANAGER).await?;
    }
    Ok(())
}

/// Whether a Service is this one.
pub(crate) fn is(namespace: &str, name: &str) -> bool {
    (namespace, name) == (NAMESPACE, NAME)
}

async fn ensure_service(server: &Server, space: &Arc<Space>) -> Result<()> {
    let Some(kind) = registry::builtin_kind("", "v1", PLURAL) else { return Ok(()) };
    if server.store().get(&space.key(&kind.collection, NAMESPACE, NAME)).is_some() {
        return Ok(());
    }
    let mut object = Object::new(&kind.api_version, &kind.served.kind, &ObjectName::namespaced(NAMESPACE, NAME));
    object.set_label("component", "apiserver");
    object.set_label("provider", "kubernetes");
    object.0.insert("spec".into(), spec(port(&server.0.advertised)));
    flowcontrol::write_absent(server, space, &kind, &[object], MANAGER).await.map(drop)
}

fn spec(port: u16) -> serde_json::Value {
    json!({
        "type": "ClusterIP",
        "clusterIP": FIRST_ADDRESS,
        "clusterIPs": [FIRST_ADDRESS],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "ports": [{"name": "https", "protocol": "TCP", "port": HTTPS, "targetPort": port}],
        "sessionAffinity": "None",
    })
}

/// The port of an address such as `https://127.0.0.1:9443`.
fn port(address: &str) -> u16 {
    address.rsplit_once(':').and_then(|(_, port)| port.trim_end_matches('/').parse().ok()).unwrap_or(HTTPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_where_the_server_is() {
        assert_eq!(port("https://127.0.0.1:9443"), 9443);
        assert_eq!(port("https://[::1]:9443/"), 9443);
        assert_eq!(port("https://kubestellar.example.com"), 443);
    }
}
