//! Which address and which port a Service gets.
//!
//! Who wants none in particular gets one of the upper part of a range, beginning at a place that the caller draws, so that
//! the lower part stays free for those who want one in particular.

use std::net::Ipv4Addr;

/// The addresses of Services unless a ServiceCIDR opens more: what kubeadm gives a cluster.
pub const DEFAULT_RANGE: Range = Range { network: Ipv4Addr::new(10, 96, 0, 0), bits: 16 };
/// The ports of nodes: the stock server's default.
pub const PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;
/// The port that a dry run shows; it is none that a Service can have.
const PORT_OF_DRY_RUNS: u16 = 32_769;

/// A range of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    network: Ipv4Addr,
    bits: u32,
}

impl Range {
    /// Reads `10.96.0.0/16`. `None` for what is no IPv4 range.
    pub fn parse(text: &str) -> Option<Self> {
        let (network, bits) = text.split_once('/')?;
        let (network, bits) = (network.parse().ok()?, bits.parse().ok().filter(|bits| *bits <= 32)?);
        let range = Self { network, bits };
        Some(Self { network: range.at(0), bits })
    }

    /// How many addresses there are, those included that no Service gets.
    fn size(self) -> u64 {
        1 << (32 - self.bits)
    }

    fn at(self, offset: u64) -> Ipv4Addr {
        let mask = u64::from(u32::MAX) << (32 - self.bits) & u64::from(u32::MAX);
        let bits = (u64::from(u32::from(self.network)) & mask) + offset;
        Ipv4Addr::from(u32::try_from(bits).unwrap_or(u32::MAX))
    }

    /// Whether a Service can have the address: not the network's own, and not the one of broadcasts.
    fn holds(self, address: Ipv4Addr) -> bool {
        self.size() > 2 && (self.at(1)..=self.at(self.size() - 2)).contains(&address)
    }

    /// The first address that a Service can have.
    pub fn first(self) -> Ipv4Addr {
        self.at(1)
    }

    /// How many addresses are for those who want one in particular.
    fn offset(self) -> u64 {
        match self.size() - 2 {
            ..=16 => 0,
            size => (size / 16).clamp(16, 256),
        }
    }

    /// A free address: from `draw` on in the upper part, then in the lower.
    fn next(self, draw: u64, taken: &dyn Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
        if self.size() <= 2 {
            return None;
        }
        let (first, end, middle) = (1, self.size() - 1, 1 + self.offset());
        let from = |start: u64, end: u64| {
            let count = end.saturating_sub(start);
            (0..count).map(move |step| start + (draw % count + step) % count)
        };
        let mut all = from(middle, end).chain(from(first, middle)).map(|offset| self.at(offset));
        all.find(|address| !taken(*address))
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}

/// Why there is no address or port.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Refused {
    #[error("provided IP is already allocated")]
    AddressTaken,
    #[error("the provided network does not match the current range")]
    OtherNetwork,
    #[error("the provided IP ({0}) is not in the valid range. The range of valid IPs is {1}")]
    AddressOutside(Ipv4Addr, Range),
    #[error("provided port is already allocated")]
    PortTaken,
    #[error("provided port is not in the valid range. The range of valid ports is {}-{}", PORTS.start(), PORTS.end())]
    PortOutside,
    #[error("range is full")]
    Full,
}

/// What one write of a Service takes out of what is free.
pub struct Pool<'a> {
    /// The name of the Service.
    pub name: &'a str,
    /// Where addresses come from, in this order.
    pub ranges: &'a [Range],
    /// Whether another Service has an address, or is about to get it.
    pub address_taken: &'a dyn Fn(Ipv4Addr) -> bool,
    /// The same of ports.
    pub port_taken: &'a dyn Fn(u16) -> bool,
    /// Shows what would be, and takes nothing.
    pub dry_run: bool,
    /// Where to begin to look, drawn by the caller.
    pub draw: u64,
    /// What was taken.
    pub addresses: Vec<Ipv4Addr>,
    /// What was taken.
    pub ports: Vec<u16>,
}

impl Pool<'_> {
    /// Takes the address that somebody wants.
    ///
    /// # Errors
    /// If it is outside of the ranges, or taken.
    pub fn take_address(&mut self, wanted: Ipv4Addr) -> Result<(), Refused> {
        if self.dry_run {
            // It looks at one range alone, as the stock server's does.
            let range = *self.ranges.first().ok_or(Refused::OtherNetwork)?;
            return if range.holds(wanted) { Ok(()) } else { Err(Refused::AddressOutside(wanted, range)) };
        }
        if !self.ranges.iter().any(|range| range.holds(wanted)) {
            return Err(Refused::OtherNetwork);
        }
        if (self.address_taken)(wanted) {
            return Err(Refused::AddressTaken);
        }
        self.addresses.push(wanted);
        Ok(())
    }

    /// Takes any address.
    ///
    /// # Errors
    /// If none is free.
    pub fn next_address(&mut self) -> Result<Ipv4Addr, Refused> {
        if self.dry_run {
            return self.ranges.first().map(|range| range.network).ok_or(Refused::Full);
        }
        let next = self.ranges.iter().find_map(|range| range.next(self.draw, self.address_taken));
        let next = next.ok_or(Refused::Full)?;
        self.addresses.push(next);
        Ok(next)
    }

    /// Takes the port that somebody wants.
    ///
    /// # Errors
    /// If it is outside of the range, or taken.
    pub fn take_port(&mut self, wanted: i64) -> Result<(), Refused> {
        let wanted = u16::try_from(wanted).ok().filter(|port| PORTS.contains(port));
        let Some(wanted) = wanted else { return if self.dry_run { Ok(()) } else { Err(Refused::PortOutside) } };
        if (self.port_taken)(wanted) || self.ports.contains(&wanted) {
            return Err(Refused::PortTaken);
        }
        self.ports.push(wanted);
        Ok(())
    }

    /// Takes any port.
    ///
    /// # Errors
    /// If none is free.
    pub fn next_port(&mut self) -> Result<u16, Refused> {
        if self.dry_run {
            let next = self.ports.iter().max().map_or(PORT_OF_DRY_RUNS, |last| last + 1);
            self.ports.push(next);
            return Ok(next);
        }
        let count = PORTS.end() - PORTS.start() + 1;
        let middle = PORTS.start() + (count / 32).clamp(16, 128);
        let draw = self.draw;
        let from = |start: u16, end: u16| {
            let count = u64::from(end - start);
            (0..count).map(move |step| start + u16::try_from((draw % count + step) % count).unwrap_or(0))
        };
        let mut all = from(middle, PORTS.end() + 1).chain(from(*PORTS.start(), middle));
        let next = all.find(|port| !(self.port_taken)(*port) && !self.ports.contains(port)).ok_or(Refused::Full)?;
        self.ports.push(next);
        Ok(next)
    }
}
