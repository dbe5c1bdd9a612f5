//! Addresses, blocks and lists of them as manifests write them (§0.3).
//!
//! Ranges stay ranges: a reserved /8 costs as much as a single address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Problem;
use super::ruby::interpolated;

/// A network in CIDR notation; a single address has the prefix 32 or 128.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IpBlock {
    /// The first address: host bits are cut off.
    pub base: IpAddr,
    pub prefix: u8,
}

/// `10.0.0.5/32`: how the original stores and prints addresses.
impl fmt::Display for IpBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// The address as a number, for arithmetic within one family.
pub fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// Back from [`number`], in the family of `like`.
pub fn address(number: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(number as u32)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

/// 32 or 128.
pub fn full_prefix(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

impl IpBlock {
    /// A single address.
    pub fn single(ip: IpAddr) -> Self {
        IpBlock {
            base: ip,
            prefix: full_prefix(ip),
        }
    }

    /// Reads an address or a CIDR; `None` when it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let (address_text, prefix_text) = match text.split_once('/') {
            Some((a, p)) => (a, Some(p)),
            None => (text, None),
        };
        let ip: IpAddr = address_text.trim().parse().ok()?;
        let full = full_prefix(ip);
        let prefix = match prefix_text {
            None => full,
            Some(text) => match text.trim().parse::<u8>() {
                Ok(prefix) if prefix <= full => prefix,
                Ok(_) => return None,
                // A netmask (`10.0.0.0/255.255.255.0`) is accepted too.
                Err(_) => {
                    let mask = u32::from(text.trim().parse::<Ipv4Addr>().ok()?);
                    (ip.is_ipv4() && mask.leading_ones() + mask.trailing_zeros() == 32)
                        .then(|| mask.leading_ones() as u8)?
                }
            },
        };
        let host_bits = u32::from(full - prefix);
        let base = match host_bits {
            128 => 0,
            bits => number(ip) >> bits << bits,
        };
        Some(IpBlock {
            base: address(base, ip),
            prefix,
        })
    }

    /// The first address.
    pub fn first(&self) -> IpAddr {
        self.base
    }

    /// The last address (the broadcast address of an IPv4 range).
    pub fn last(&self) -> IpAddr {
        let host_bits = u32::from(full_prefix(self.base) - self.prefix);
        let ones = match host_bits {
            128 => u128::MAX,
            bits => (1u128 << bits) - 1,
        };
        address(number(self.base) | ones, self.base)
    }

    /// Whether the address lies inside.
    pub fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.base.is_ipv4() && self.first() <= ip && ip <= self.last()
    }

    /// Whether two blocks share an address.
    pub fn overlaps(&self, other: &IpBlock) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }

    /// The mask in dotted (or colon) form, as agents and CPIs get it.
    pub fn netmask(&self) -> IpAddr {
        let full = u32::from(full_prefix(self.base));
        let host_bits = full - u32::from(self.prefix);
        let ones = if full == 32 {
            u128::from(u32::MAX)
        } else {
            u128::MAX
        };
        let mask = match host_bits {
            128 => 0,
            bits => ones >> bits << bits,
        };
        address(mask & ones, self.base)
    }
}

/// A set of addresses: disjoint, sorted ranges with both ends inside.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IpRanges(Vec<(IpAddr, IpAddr)>);

impl IpRanges {
    /// Sorts and joins.
    pub fn new(mut ranges: Vec<(IpAddr, IpAddr)>) -> Self {
        ranges.sort();
        let mut joined: Vec<(IpAddr, IpAddr)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some((_, end))
                    if end.is_ipv4() == first.is_ipv4()
                        && number(first) <= number(*end).saturating_add(1) =>
                {
                    *end = (*end).max(last);
                }
                _ => joined.push((first, last)),
            }
        }
        IpRanges(joined)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many addresses.
    pub fn count(&self) -> u128 {
        let sizes = self.0.iter();
        sizes
            .map(|(first, last)| (number(*last) - number(*first)).saturating_add(1))
            .fold(0, u128::saturating_add)
    }

    /// The disjoint ranges, ascending.
    pub fn ranges(&self) -> &[(IpAddr, IpAddr)] {
        &self.0
    }

    /// The range that holds the address.
    pub fn find(&self, ip: IpAddr) -> Option<(IpAddr, IpAddr)> {
        let after = self.0.partition_point(|(first, _)| *first <= ip);
        let range = *self.0.get(after.checked_sub(1)?)?;
        (range.0.is_ipv4() == ip.is_ipv4() && ip <= range.1).then_some(range)
    }

    /// Whether the address is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.find(ip).is_some()
    }

    /// The first range that shares an address with `first..=last`.
    pub fn overlapping(&self, first: IpAddr, last: IpAddr) -> Option<(IpAddr, IpAddr)> {
        let at = self.0.partition_point(|(_, end)| *end < first);
        self.0
            .get(at)
            .copied()
            .filter(|range| range.0 <= last && range.0.is_ipv4() == first.is_ipv4())
    }

    /// All addresses, ascending. Lazy: the set may be a whole /8.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.0.iter().flat_map(|(first, last)| {
            (number(*first)..=number(*last)).map(move |n| address(n, *first))
        })
    }
}

/// Reads a list (or a bare text) of addresses, CIDRs and ranges, in the order written.
///
/// # Errors
/// 160010 with the original's texts.
pub fn parse_list(value: &Json) -> Result<Vec<(IpAddr, IpAddr)>, Problem> {
    let items: &[Json] = match value {
        Json::Null => &[],
        Json::Array(items) => items,
        bare => std::slice::from_ref(bare),
    };
    let mut ranges = Vec::with_capacity(items.len());
    for item in items {
        // Lists may hold lists: an array spliced in by a variable.
        if item.is_array() {
            ranges.extend(parse_list(item)?);
        } else {
            ranges.push(parse_item(&interpolated(item))?);
        }
    }
    Ok(ranges)
}

fn parse_item(item: &str) -> Result<(IpAddr, IpAddr), Problem> {
    let bad_range = || Problem::new(160010, format!("Invalid IP range format: {item}"));
    let parts: Vec<&str> = item.split('-').map(str::trim).collect();
    match parts.as_slice() {
        [one] => {
            let block = parse_block(one)?;
            Ok((block.first(), block.last()))
        }
        [first, last] => {
            if first.contains('/') || last.contains('/') {
                return Err(bad_range());
            }
            let (first, last) = (parse_block(first)?.base, parse_block(last)?.base);
            if first.is_ipv4() != last.is_ipv4() || last < first {
                return Err(bad_range());
            }
            Ok((first, last))
        }
        _ => Err(bad_range()),
    }
}

fn parse_block(text: &str) -> Result<IpBlock, Problem> {
    IpBlock::parse(text)
        .ok_or_else(|| Problem::new(160010, format!("Invalid IP or CIDR format: {text}")))
}

/// Reads a `range`, `gateway` or `dns` entry.
///
/// # Errors
/// Code 100 with the original's text.
pub(super) fn parse_field(text: &str) -> Result<IpBlock, Problem> {
    IpBlock::parse(text)
        .ok_or_else(|| Problem::new(100, format!("Invalid IP or CIDR format: {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn blocks_know_their_ends_and_masks_in_both_families() {
        let v4 = IpBlock::parse("10.0.1.77/24").unwrap();
        assert_eq!(v4.to_string(), "10.0.1.0/24");
        assert_eq!(v4.last(), ip("10.0.1.255"));
        assert_eq!(v4.netmask(), ip("255.255.255.0"));
        let v6 = IpBlock::parse("fd00::/120").unwrap();
        assert_eq!(v6.last(), ip("fd00::ff"));
        assert_eq!(v6.netmask(), ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00"));
        assert_eq!(
            IpBlock::parse("0.0.0.0/0").unwrap().last(),
            ip("255.255.255.255")
        );
        assert_eq!(IpBlock::parse("10.0.0.0/33"), None);
    }

    #[test]
    fn lists_take_single_addresses_blocks_and_ranges_with_or_without_spaces() {
        let parsed = parse_list(&json!([
            "10.0.0.5",
            "10.0.0.8/30",
            "10.0.0.20-10.0.0.22",
            "10.0.0.30 - 10.0.0.31"
        ]));
        let set = IpRanges::new(parsed.unwrap());
        assert_eq!(set.iter().count(), 1 + 4 + 3 + 2);
        assert!(set.contains(ip("10.0.0.21")) && !set.contains(ip("10.0.0.12")));
        assert_eq!(
            set.overlapping(ip("10.0.0.6"), ip("10.0.0.8")),
            Some((ip("10.0.0.8"), ip("10.0.0.11")))
        );
        for (bad, text) in [
            (
                "10.0.0.1-10.0.0.2-10.0.0.3",
                "Invalid IP range format: 10.0.0.1-10.0.0.2-10.0.0.3",
            ),
            (
                "10.0.0.0/30-10.0.0.9",
                "Invalid IP range format: 10.0.0.0/30-10.0.0.9",
            ),
            ("nonsense", "Invalid IP or CIDR format: nonsense"),
        ] {
            let problem = parse_list(&json!([bad])).unwrap_err();
            assert_eq!((problem.code, problem.message.as_str()), (160010, text));
        }
    }
}
