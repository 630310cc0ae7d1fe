//! Which of the probes that are plugged in is meant.

use crate::error::ProbeError;

/// A debug probe that is plugged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it calls itself, `STLink V2-1`.
    pub name: String,
    /// `VID:PID[-Interface][:Serial]`, VID and PID in four hexadecimal digits; what `--probe` takes.
    pub identifier: String,
    /// Whether this user may open it.
    pub accessible: bool,
}

/// The probes that are plugged in.
///
/// Empty too where USB cannot be asked. CMSIS-DAP v1 probes (HID only) are not seen.
pub fn list() -> Vec<Found> {
    crate::device::list()
}

/// The one of `found` that `selector` means, or the only one there is.
///
/// # Errors
/// Where there is none, or more than one, or it may not be used.
pub fn choose<'a>(found: &'a [Found], selector: Option<&str>) -> Result<&'a Found, ProbeError> {
    let wanted = selector.map(Selector::parse).transpose()?;
    let fits: Vec<&Found> =
        found.iter().filter(|probe| wanted.as_ref().is_none_or(|wanted| wanted.fits(probe))).collect();
    match (fits.as_slice(), selector) {
        _ if found.is_empty() => Err(ProbeError::NoProbe),
        ([], selector) => {
            Err(ProbeError::NoSuchProbe { selector: selector.unwrap_or_default().into(), found: found.to_vec() })
        }
        ([one], _) if one.accessible => Ok(one),
        ([one], _) => Err(ProbeError::Denied { name: one.name.clone(), identifier: one.identifier.clone() }),
        (several, _) => Err(ProbeError::SeveralProbes { found: several.iter().map(|&probe| probe.clone()).collect() }),
    }
}

/// What a user writes to name a probe.
struct Selector {
    vendor: u16,
    product: u16,
    interface: Option<u8>,
    /// An empty one means a probe without serial number.
    serial: Option<String>,
}

impl Selector {
    fn parse(text: &str) -> Result<Self, ProbeError> {
        Self::parts(text).ok_or_else(|| ProbeError::Selector { selector: text.into() })
    }

    fn parts(text: &str) -> Option<Self> {
        // Serial numbers may hold colons themselves.
        let mut parts = text.splitn(3, ':');
        let vendor = u16::from_str_radix(parts.next()?, 16).ok()?;
        let product = parts.next()?;
        let serial = parts.next().map(str::to_owned);
        let (product, interface) = match product.split_once('-') {
            Some((product, interface)) => (product, Some(interface.parse().ok()?)),
            None => (product, None),
        };
        Some(Self { vendor, product: u16::from_str_radix(product, 16).ok()?, interface, serial })
    }

    /// Whether it means `probe`; what it leaves out may be anything.
    fn fits(&self, probe: &Found) -> bool {
        let Some(probe) = Self::parts(&probe.identifier) else { return false };
        (self.vendor, self.product) == (probe.vendor, probe.product)
            && (self.interface.is_none() || self.interface == probe.interface)
            && self.serial.as_deref().is_none_or(|serial| serial == probe.serial.as_deref().unwrap_or_default())
    }
}
