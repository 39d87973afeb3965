//! Networks: an address and the length of its prefix.

use std::net::IpAddr;

/// Address and length of a network; of a bare address the whole length.
pub fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let ip: IpAddr = address.trim().parse().ok()?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Some(most), |length| length.trim().parse().ok())?;
    (length <= most).then_some((ip, length))
}

/// The first address of the network of this length.
pub fn masked(ip: IpAddr, length: u8) -> IpAddr {
    match ip {
        IpAddr::V4(four) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            IpAddr::V4((four.to_bits() & mask).into())
        }
        IpAddr::V6(six) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            IpAddr::V6((six.to_bits() & mask).into())
        }
    }
}

/// An address as 32 hexadecimal digits (IPv4 as IPv4-mapped IPv6), so that a network is a range of texts.
pub fn place_of(ip: IpAddr) -> String {
    let bits = match ip {
        IpAddr::V4(four) => four.to_ipv6_mapped().to_bits(),
        IpAddr::V6(six) => six.to_bits(),
    };
    format!("{bits:032x}")
}

/// The first and the last place of a network.
pub fn range_of(ip: IpAddr, length: u8) -> (String, String) {
    let whole = if ip.is_ipv4() { 32 } else { 128 };
    let low = place_of(masked(ip, length));
    let host_bits = u32::from(whole - length.min(whole));
    let host = 1_u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1);
    let last = u128::from_str_radix(&low, 16).unwrap_or(0) | host;
    (low, format!("{last:032x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_masked_and_ranges_of_places() {
        let (ip, length) = network("203.0.113.77/24").unwrap();
        assert_eq!((masked(ip, length).to_string(), length), ("203.0.113.0".to_owned(), 24));
        let (low, high) = range_of(ip, length);
        let inside = |text: &str| (low.as_str()..=high.as_str()).contains(&place_of(text.parse().unwrap()).as_str());
        assert!(inside("203.0.113.0") && inside("203.0.113.255") && !inside("203.0.114.0") && !inside("::1"));
        assert_eq!(network("2001:db8::1"), Some(("2001:db8::1".parse().unwrap(), 128)));
        assert_eq!(masked("2001:db8:1:2:3::4".parse().unwrap(), 64).to_string(), "2001:db8:1:2::");
        assert_eq!(masked("203.0.113.7".parse().unwrap(), 0).to_string(), "0.0.0.0");
        assert_eq!(range_of("::".parse().unwrap(), 0).1, "f".repeat(32));
        for wrong in ["", "203.0.113.0/33", "203.0.113/24", "203.0.113.0/-1", "a/b"] {
            assert!(network(wrong).is_none(), "{wrong}");
        }
    }
}
