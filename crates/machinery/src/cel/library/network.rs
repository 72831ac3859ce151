//! URLs, addresses of the Internet, and ranges of them.

use super::Row;
use super::strings::text;
use crate::cel::error::Error;
use crate::cel::value::{Map, Value};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

type Result<'a> = std::result::Result<Value<'a>, Error>;

/// A URL in parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    pub(crate) text: String,
    scheme: String,
    host: String,
    path: String,
    query: String,
}

pub(super) const ROWS: &[Row] = &[
    Row { name: "url", call: url, overloads: &["string_to_url: (string) url"] },
    Row { name: "isURL", call: is_url, overloads: &["is_url_string: (string) bool"] },
    Row {
        name: "getScheme",
        call: |args| part(args, |url| &url.scheme),
        overloads: &["url_get_scheme: url.() string"],
    },
    Row { name: "getHost", call: |args| part(args, |url| &url.host), overloads: &["url_get_host: url.() string"] },
    Row {
        name: "getHostname",
        call: |args| part(args, |url| split_host(&url.host).0),
        overloads: &["url_get_hostname: url.() string"],
    },
    Row {
        name: "getPort",
        call: |args| part(args, |url| split_host(&url.host).1),
        overloads: &["url_get_port: url.() string"],
    },
    Row {
        name: "getEscapedPath",
        call: |args| part(args, |url| &url.path),
        overloads: &["url_get_escaped_path: url.() string"],
    },
    Row { name: "getQuery", call: query, overloads: &["url_get_query: url.() map(string, list(string))"] },
    Row { name: "ip", call: ip, overloads: &["string_to_ip: (string) ip", "cidr_ip: cidr.() ip"] },
    Row { name: "isIP", call: is_ip, overloads: &["is_ip: (string) bool"] },
    Row { name: "ip.isCanonical", call: is_canonical, overloads: &["ip_is_canonical: (string) bool"] },
    Row {
        name: "family",
        call: |args| of_ip(args, |ip| Value::Int(if ip.is_ipv4() { 4 } else { 6 })),
        overloads: &["ip_family: ip.() int"],
    },
    Row {
        name: "isUnspecified",
        call: |args| of_ip(args, |ip| Value::Bool(ip.is_unspecified())),
        overloads: &["ip_is_unspecified: ip.() bool"],
    },
    Row {
        name: "isLoopback",
        call: |args| of_ip(args, |ip| Value::Bool(ip.is_loopback())),
        overloads: &["ip_is_loopback: ip.() bool"],
    },
    Row {
        name: "isLinkLocalMulticast",
        call: |args| of_ip(args, |ip| Value::Bool(link_local_multicast(ip))),
        overloads: &["ip_is_link_local_multicast: ip.() bool"],
    },
    Row {
        name: "isLinkLocalUnicast",
        call: |args| of_ip(args, |ip| Value::Bool(link_local(ip))),
        overloads: &["ip_is_link_local_unicast: ip.() bool"],
    },
    Row {
        name: "isGlobalUnicast",
        call: |args| of_ip(args, |ip| Value::Bool(global(ip))),
        overloads: &["ip_is_global_unicast: ip.() bool"],
    },
    Row { name: "cidr", call: cidr, overloads: &["string_to_cidr: (string) cidr"] },
    Row { name: "isCIDR", call: is_cidr, overloads: &["is_cidr: (string) bool"] },
    Row {
        name: "containsIP",
        call: contains_ip,
        overloads: &["cidr_contains_ip_string: cidr.(string) bool", "cidr_contains_ip_ip: cidr.(ip) bool"],
    },
    Row {
        name: "containsCIDR",
        call: contains_cidr,
        overloads: &["cidr_contains_cidr_string: cidr.(string) bool", "cidr_contains_cidr: cidr.(cidr) bool"],
    },
    Row { name: "prefixLength", call: prefix_length, overloads: &["cidr_prefix_length: cidr.() int"] },
    Row { name: "masked", call: masked, overloads: &["cidr_masked: cidr.() cidr"] },
];

impl Url {
    /// Reads an absolute URL or an absolute path.
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.chars().any(|c| c.is_control() || c == ' ') || broken_escape(text) {
            return None;
        }
        let (rest, query) = text.split_once('?').unwrap_or((text, ""));
        let (scheme, rest) = match rest.split_once(':') {
            Some((scheme, after)) if !scheme.contains('/') => {
                let word = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
                if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(word) {
                    return None;
                }
                (scheme.to_ascii_lowercase(), after)
            }
            _ => (String::new(), rest),
        };
        if scheme.is_empty() && !rest.starts_with('/') {
            return None;
        }
        let (host, path) = match rest.strip_prefix("//") {
            Some(after) if !scheme.is_empty() || !rest.starts_with("///") => {
                let end = after.find('/').unwrap_or(after.len());
                (after[..end].rsplit('@').next().unwrap_or(""), &after[end..])
            }
            _ => ("", rest),
        };
        let port = split_host(host).1;
        if !port.bytes().all(|b| b.is_ascii_digit()) || (host.starts_with('[') && !host.contains(']')) {
            return None;
        }
        Some(Self { text: text.into(), scheme, host: host.into(), path: path.into(), query: query.into() })
    }
}

fn broken_escape(text: &str) -> bool {
    text.split('%').skip(1).any(|rest| rest.get(..2).is_none_or(|hex| !hex.bytes().all(|b| b.is_ascii_hexdigit())))
}

/// Name and port.
fn split_host(host: &str) -> (&str, &str) {
    if let Some(rest) = host.strip_prefix('[') {
        let (name, after) = rest.split_once(']').unwrap_or((rest, ""));
        return (name, after.strip_prefix(':').unwrap_or(""));
    }
    host.rsplit_once(':').unwrap_or((host, ""))
}

fn url<'a>(args: &[Value<'a>]) -> Result<'a> {
    let text = text(args, 0)?;
    let parsed = Url::parse(text);
    let why = || {
        Error::new(format!("URL parse error during conversion from string: parse {text:?}: invalid URI for request"))
    };
    parsed.map(|url| Value::Url(Rc::new(url))).ok_or_else(why)
}

fn is_url<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Bool(Url::parse(text(args, 0)?).is_some()))
}

fn of_url<'v>(args: &'v [Value<'_>]) -> std::result::Result<&'v Url, Error> {
    match args.first() {
        Some(Value::Url(url)) => Ok(url),
        _ => Err(Error::no_overload()),
    }
}

fn part<'a>(args: &[Value<'a>], part: fn(&Url) -> &str) -> Result<'a> {
    Ok(Value::text(part(of_url(args)?)))
}

fn query<'a>(args: &[Value<'a>]) -> Result<'a> {
    let mut pairs: Vec<(String, Vec<Value<'a>>)> = Vec::new();
    for pair in of_url(args)?.query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (decoded(key), Value::text(decoded(value)));
        match pairs.iter_mut().find(|(held, _)| *held == key) {
            Some((_, values)) => values.push(value),
            None => pairs.push((key, vec![value])),
        }
    }
    let pairs = pairs.into_iter().map(|(key, values)| (Value::text(key), Value::list(values))).collect();
    Ok(Value::Map(Map::Made(Rc::new(pairs))))
}

fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// An address; those with a zone and IPv4 in the form of IPv6 are refused, as in the stock server.
fn address(text: &str) -> std::result::Result<IpAddr, Error> {
    let ip: IpAddr = text.parse().map_err(|_| {
        Error::new(format!(
            "IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): unable to parse IP"
        ))
    })?;
    if matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some()) {
        return Err(Error::new(format!("IPv4-mapped IPv6 address {text:?} is not allowed")));
    }
    Ok(ip)
}

fn ip<'a>(args: &[Value<'a>]) -> Result<'a> {
    match args {
        [Value::Cidr(ip, _)] => Ok(Value::Ip(*ip)),
        _ => address(text(args, 0)?).map(Value::Ip),
    }
}

fn is_ip<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Bool(address(text(args, 0)?).is_ok()))
}

fn is_canonical<'a>(args: &[Value<'a>]) -> Result<'a> {
    let text = text(args, 0)?;
    Ok(Value::Bool(address(text)?.to_string() == text))
}

fn of_ip<'a>(args: &[Value<'a>], result: fn(IpAddr) -> Value<'a>) -> Result<'a> {
    match args {
        [Value::Ip(ip)] => Ok(result(*ip)),
        _ => Err(Error::no_overload()),
    }
}

fn link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn link_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
    }
}

fn global(ip: IpAddr) -> bool {
    let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    !(broadcast || ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || link_local(ip))
}

fn range(text: &str) -> std::result::Result<(IpAddr, u8), Error> {
    let bad = || {
        let why =
            format!("network address parse error during conversion from string: netip.ParsePrefix({text:?}): no '/'");
        Error::new(why)
    };
    let (ip, bits) = text.split_once('/').ok_or_else(bad)?;
    let ip = address(ip).map_err(|_| bad())?;
    let plain = !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
    let bits: u8 = if plain { bits.parse().map_err(|_| bad())? } else { return Err(bad()) };
    if bits > if ip.is_ipv4() { 32 } else { 128 } {
        return Err(bad());
    }
    Ok((ip, bits))
}

fn mask(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            Ipv4Addr::from(u32::from(ip) & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)).into()
        }
        IpAddr::V6(ip) => {
            Ipv6Addr::from(u128::from(ip) & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)).into()
        }
    }
}

fn cidr<'a>(args: &[Value<'a>]) -> Result<'a> {
    range(text(args, 0)?).map(|(ip, bits)| Value::Cidr(ip, bits))
}

fn is_cidr<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Bool(range(text(args, 0)?).is_ok()))
}

fn of_cidr(args: &[Value<'_>]) -> std::result::Result<(IpAddr, u8), Error> {
    match args.first() {
        Some(Value::Cidr(ip, bits)) => Ok((*ip, *bits)),
        _ => Err(Error::no_overload()),
    }
}

fn inside(ip: IpAddr, (net, bits): (IpAddr, u8)) -> bool {
    ip.is_ipv4() == net.is_ipv4() && mask(ip, bits) == mask(net, bits)
}

fn contains_ip<'a>(args: &[Value<'a>]) -> Result<'a> {
    let ip = match args.get(1) {
        Some(Value::Ip(ip)) => *ip,
        _ => address(text(args, 1)?)?,
    };
    Ok(Value::Bool(inside(ip, of_cidr(args)?)))
}

fn contains_cidr<'a>(args: &[Value<'a>]) -> Result<'a> {
    let (ip, bits) = match args.get(1) {
        Some(Value::Cidr(ip, bits)) => (*ip, *bits),
        _ => range(text(args, 1)?)?,
    };
    let outer = of_cidr(args)?;
    Ok(Value::Bool(outer.1 <= bits && inside(ip, outer)))
}

fn prefix_length<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Int(of_cidr(args)?.1.into()))
}

fn masked<'a>(args: &[Value<'a>]) -> Result<'a> {
    let (ip, bits) = of_cidr(args)?;
    Ok(Value::Cidr(mask(ip, bits), bits))
}
