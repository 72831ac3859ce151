//! Services of type LoadBalancer get an address.

use crate::hash::fnv;
use crate::kind::Kind;
use crate::plan::Plan;
use crate::read::{self, items, text};
use crate::status;
use api::Object;
use serde_json::{Value, json};

pub(crate) fn plan(plan: &mut Plan, service: &Object) {
    let balanced = text(service, "/spec/type") == "LoadBalancer";
    let has_address = !items(service, "/status/loadBalancer/ingress").is_empty();
    if balanced == has_address {
        return;
    }
    let mut wanted = read::status(service);
    wanted["loadBalancer"] = if balanced { ingress(service) } else { json!({}) };
    status::write(plan, Kind::Service, service, wanted);
}

/// The address that the user asked for, else one from the service's uid.
fn ingress(service: &Object) -> Value {
    let address = match text(service, "/spec/loadBalancerIP") {
        "" => format!("172.18.255.{}", fnv(&[service.uid()]) % 250 + 1),
        asked => asked.to_owned(),
    };
    json!({"ingress": [{"ip": address, "ipMode": "VIP"}]})
}
