//! What Services get, by tables.

use super::*;

fn fields(value: Value) -> Fields {
    value.as_object().cloned().unwrap_or_default()
}

/// Addresses that end in 7 and ports that end in 7 are taken.
fn pool(dry_run: bool, run: impl FnOnce(&mut Pool<'_>)) {
    let mut pool = Pool {
        name: "s",
        ranges: &[DEFAULT_RANGE],
        address_taken: &|address| address.octets()[3] == 7,
        port_taken: &|port| port % 10 == 7,
        dry_run,
        draw: 0,
        addresses: Vec::new(),
        ports: Vec::new(),
    };
    run(&mut pool);
}

#[track_caller]
fn shown(outcome: Result<(), Refusal>) -> Result<(), String> {
    outcome.map_err(|refusal| match refusal {
        Refusal::Invalid(causes) => {
            causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect::<Vec<_>>().join("; ")
        }
        Refusal::Internal(why) | Refusal::Unknown(why) => why,
    })
}

#[track_caller]
fn made(spec: Value, becomes: Value) {
    pool(false, |pool| {
        let mut spec = fields(spec);
        assert_eq!(shown(create(&mut spec, pool)), Ok(()));
        assert_eq!(Value::Object(spec.clone()), becomes);
        assert_eq!(Held::of(&spec).addresses, pool.addresses, "all that is held was taken");
        let mut ports = Held::of(&spec).ports;
        ports.sort_unstable();
        pool.ports.sort_unstable();
        assert_eq!(ports, pool.ports);
    });
}

#[track_caller]
fn refused(spec: Value, why: &str) {
    pool(false, |pool| assert_eq!(shown(create(&mut fields(spec), pool)), Err(why.into())));
}

#[track_caller]
fn changed(old: Value, new: Value, becomes: Value) {
    pool(false, |pool| {
        let (mut spec, old) = (fields(new), fields(old));
        assert_eq!(shown(update(&mut spec, &old, pool)), Ok(()));
        drop_unused(&mut spec, Some(&old));
        assert_eq!(Value::Object(spec.clone()), becomes);
        // Once more changes nothing, and takes nothing.
        let (after, taken) = (spec.clone(), (pool.addresses.clone(), pool.ports.clone()));
        assert_eq!(shown(update(&mut spec, &after, pool)), Ok(()));
        assert_eq!((&spec, (pool.addresses.clone(), pool.ports.clone())), (&after, taken));
    });
}

#[test]
fn a_service_gets_an_address_and_ports() {
    let with = |more: Value| {
        let mut spec = fields(json!({"type": "ClusterIP", "clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}));
        spec.extend(fields(more));
        Value::Object(spec)
    };
    made(json!({"type": "ClusterIP"}), with(json!({})));
    let wanted = json!({"type": "ClusterIP", "clusterIP": "10.96.0.9"});
    made(wanted, with(json!({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"]})));
    let ports =
        json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP", "nodePort": 30053}, {"port": 80}]);
    let given = json!([{"port": 53, "protocol": "UDP", "nodePort": 30053},
        {"port": 53, "protocol": "TCP", "nodePort": 30053}, {"port": 80, "nodePort": 30086}]);
    made(json!({"type": "NodePort", "ports": ports}), with(json!({"type": "NodePort", "ports": given})));
    let local = json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "externalTrafficPolicy": "Local",
        "ports": [{"port": 1}]});
    let mut given = local.clone();
    given["healthCheckNodePort"] = 30086.into();
    made(local, with(given));
    made(json!({"type": "ExternalName"}), json!({"type": "ExternalName"}));
    made(
        json!({"type": "ClusterIP", "clusterIP": "None"}),
        json!({"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"], "ipFamilies": ["IPv4", "IPv6"],
            "ipFamilyPolicy": "RequireDualStack"}),
    );
    let selected = with(json!({"clusterIP": "None", "clusterIPs": ["None"], "selector": {"a": "b"}}));
    made(json!({"type": "ClusterIP", "clusterIP": "None", "selector": {"a": "b"}}), selected);
}

#[test]
fn what_cannot_be_had_is_refused() {
    let address = |ip: &str| json!({"type": "ClusterIP", "clusterIP": ip});
    for (ip, why) in [
        ("10.96.0.7", "provided IP is already allocated"),
        ("10.0.0.1", "the provided network does not match the current range"),
        ("10.96.0.0", "the provided network does not match the current range"),
        ("10.96.255.255", "the provided network does not match the current range"),
    ] {
        let why = format!("spec.clusterIPs: Invalid value: [\"{ip}\"]: failed to allocate IP {ip}: {why}");
        refused(address(ip), &why);
    }
    let port = |port: i64| json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": port}]});
    refused(port(30007), "spec.ports[0].nodePort: Invalid value: 30007: provided port is already allocated");
    refused(
        port(80),
        "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports \
         is 30000-32767",
    );
    let both = |more: Value| {
        let mut spec = fields(json!({"type": "ClusterIP"}));
        spec.extend(fields(more));
        Value::Object(spec)
    };
    refused(
        both(json!({"ipFamilyPolicy": "RequireDualStack"})),
        "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
    );
    refused(
        both(json!({"ipFamilies": ["IPv6"]})),
        "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
    );
    refused(
        both(json!({"clusterIP": "fd00::1"})),
        "spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster",
    );
    refused(
        both(json!({"clusterIPs": ["10.96.0.9"]})),
        "spec.clusterIPs: Invalid value: [\"10.96.0.9\"]: must be empty when `clusterIP` is not specified",
    );
}

#[test]
fn a_change_keeps_what_was_given() {
    let single = json!({"clusterIP": "10.96.3.3", "clusterIPs": ["10.96.3.3"], "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack"});
    let with = |more: Value| {
        let mut spec = fields(single.clone());
        spec.extend(fields(more));
        Value::Object(spec)
    };
    let held = with(json!({"type": "NodePort", "externalTrafficPolicy": "Cluster",
        "ports": [{"name": "a", "port": 1, "nodePort": 30001}, {"name": "b", "port": 2, "nodePort": 30002}]}));
    // Who writes again what they wrote first.
    changed(
        held.clone(),
        json!({"type": "NodePort", "externalTrafficPolicy": "Cluster",
            "ports": [{"name": "b", "port": 2}, {"name": "c", "port": 3}]}),
        with(json!({"type": "NodePort", "externalTrafficPolicy": "Cluster",
            "ports": [{"name": "b", "port": 2, "nodePort": 30002}, {"name": "c", "port": 3, "nodePort": 30086}]})),
    );
    let mut inside = fields(held.clone());
    inside.insert("type".into(), "ClusterIP".into());
    changed(
        held.clone(),
        Value::Object(inside),
        with(json!({"type": "ClusterIP", "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]})),
    );
    let mut outside = fields(held.clone());
    outside.extend(fields(json!({"type": "ExternalName", "externalName": "a.b"})));
    changed(
        held,
        Value::Object(outside),
        json!({"type": "ExternalName", "externalName": "a.b", "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]}),
    );
    changed(
        json!({"type": "ExternalName", "externalName": "a.b"}),
        json!({"type": "ClusterIP"}),
        json!({"type": "ClusterIP", "clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack"}),
    );
}

#[test]
fn a_dry_run_takes_nothing() {
    pool(true, |pool| {
        let mut spec = fields(json!({"type": "NodePort", "ports": [{"port": 1}]}));
        assert_eq!(shown(create(&mut spec, pool)), Ok(()));
        assert_eq!(spec["clusterIP"], "10.96.0.0");
        assert_eq!(spec["ports"][0]["nodePort"], 32_769);
        assert!(pool.addresses.is_empty());
        assert_eq!(pool.take_address(Ipv4Addr::new(10, 96, 0, 7)), Ok(()));
        let outside = Ipv4Addr::new(10, 0, 0, 7);
        let why = pool.take_address(outside).map_err(|why| why.to_string());
        let stock = "the provided IP (10.0.0.7) is not in the valid range. The range of valid IPs is 10.96.0.0/16";
        assert_eq!(why, Err(stock.into()));
    });
}

#[test]
fn ranges_are_used_up_from_above() {
    let small = Range::parse("192.0.2.0/28").expect("a range");
    let held: std::cell::RefCell<Vec<Ipv4Addr>> = std::cell::RefCell::default();
    for count in 0..14 {
        let mut pool = Pool {
            name: "s",
            ranges: &[small],
            address_taken: &|address| held.borrow().contains(&address),
            port_taken: &|_| false,
            dry_run: false,
            draw: count * 31,
            addresses: Vec::new(),
            ports: Vec::new(),
        };
        let next = pool.next_address().expect("one is left");
        assert!((1..=14).contains(&next.octets()[3]));
        held.borrow_mut().push(next);
    }
    let mut pool = Pool {
        name: "s",
        ranges: &[small],
        address_taken: &|address| held.borrow().contains(&address),
        port_taken: &|port| port != 30_003,
        dry_run: false,
        draw: 5,
        addresses: Vec::new(),
        ports: Vec::new(),
    };
    assert_eq!(pool.next_address(), Err(Refused::Full));
    assert_eq!((pool.next_port(), pool.next_port()), (Ok(30_003), Err(Refused::Full)));
    for (text, parsed) in [("10.0.0.0/33", false), ("x/8", false), ("fd00::/64", false), ("10.0.0.0/0", true)] {
        assert_eq!(Range::parse(text).is_some(), parsed, "{text}");
    }
    assert_eq!(Range::parse("10.1.2.3/24").map(|range| range.to_string()), Some("10.1.2.0/24".into()));
}
