//! The only file that names probe-rs: its probes, chip table, flash algorithms and errors, behind [`Wire`].

use std::ops::Range;
use std::time::Duration;

use probe_rs::config::{MemoryRegion, NvmRegion, RamRegion, RawFlashAlgorithm, Registry, RegistryError};
use probe_rs::flashing::{DownloadOptions, FlashProgress, ProgressEvent, ProgressOperation};
use probe_rs::probe::list::{Accessibility, Lister};
use probe_rs::probe::{DebugProbeSelector, Probe, WireProtocol};
use probe_rs::{Core, CoreType, Error, MemoryInterface, Permissions, Session, Target};

use crate::attached::Link;
use crate::error::ProbeError;
use crate::selection::Found;
use crate::wire::{Architecture, Block, Memory, Sector, Wire, WireError};

/// How long a core may take to halt.
const HALT: Duration = Duration::from_millis(500);
/// Most chips named in an error text.
const NEAR: usize = 6;

/// The probes that are plugged in.
pub(crate) fn list() -> Vec<Found> {
    let items = Lister::new().list_all_with_access();
    let found = items.into_iter().map(|item| Found {
        identifier: DebugProbeSelector::from(&item.info).to_string(),
        accessible: item.accessibility == Accessibility::Accessible,
        name: item.info.identifier,
    });
    found.collect()
}

/// The memory of the chip named `chip`.
pub(crate) fn memory(chip: &str) -> Result<Memory, ProbeError> {
    let registry = Registry::from_builtin_families();
    match registry.get_target_by_name(chip) {
        Ok(target) => memory_of(&target),
        Err(RegistryError::ChipNotUnique(..)) => {
            Err(ProbeError::AmbiguousChip { chip: chip.into(), near: near(&registry, chip) })
        }
        Err(_) => Err(ProbeError::UnknownChip { chip: chip.into(), near: near(&registry, chip) }),
    }
}

/// Chips whose names share as many first characters with `chip` as any do, at least six.
fn near(registry: &Registry, chip: &str) -> Vec<String> {
    let lengths = (6..=chip.chars().count()).rev();
    let prefixes = lengths.map(|length| chip.chars().take(length).collect::<String>());
    let mut names =
        prefixes.map(|prefix| registry.search_chips(&prefix)).find(|names| !names.is_empty()).unwrap_or_default();
    names.sort();
    names.dedup();
    names.truncate(NEAR);
    names
}

fn memory_of(target: &Target) -> Result<Memory, ProbeError> {
    let core = target.default_core();
    let architecture = match core.core_type {
        CoreType::Armv6m => Architecture::Armv6M,
        CoreType::Armv7m => Architecture::Armv7M,
        CoreType::Armv7em => Architecture::Armv7EM,
        CoreType::Armv8m => Architecture::Armv8M,
        _ => return Err(ProbeError::NotCortexM { chip: target.name.clone() }),
    };
    let regions = target.memory_map.iter();
    let mut sectors: Vec<Sector> =
        regions.filter_map(MemoryRegion::as_nvm_region).flat_map(|region| sectors(target, region)).collect();
    sectors.sort_by_key(|sector| sector.address);
    let regions = target.memory_map.iter().filter_map(MemoryRegion::as_ram_region);
    // Aliases too: on the nRF52 the address that programs use is one.
    let ram = joined(regions.filter(|region| region.accessible_by(&core.name)));
    Ok(Memory { chip: target.name.clone(), architecture, sectors, ram })
}

/// The sectors of `region`, none if it has no flash algorithm or is not for programs.
///
/// One-time-programmable memory and option bytes are aliases or not executable in the table. Some configuration pages
/// are not marked (Nordic's UICR): what is a single sector and not booted from is taken for one. A mistake there cannot
/// be undone, one here is a clear refusal.
fn sectors(target: &Target, region: &NvmRegion) -> Vec<Sector> {
    if region.is_alias || !region.is_readable() || !region.is_executable() {
        return Vec::new();
    }
    let Some(properties) = algorithm(target, region).map(|algorithm| &algorithm.flash_properties) else {
        return Vec::new();
    };
    let all = &properties.address_range;
    let mut sectors = Vec::new();
    let mut address = all.start;
    while address < all.end {
        let of_size = properties.sectors.iter().rfind(|sector| all.start + sector.address <= address);
        // Where pages are larger than sectors, probe-rs erases whatever shares a page with the data.
        let Some(bytes) = of_size.map(|sector| sector.size.max(properties.page_size.into())) else { break };
        let fits = region.range.start <= address && address + bytes <= region.range.end;
        if let (true, Ok(address), Ok(bytes)) = (fits && bytes > 0, u32::try_from(address), u32::try_from(bytes)) {
            sectors.push(Sector { address, bytes, erased: properties.erased_byte_value });
        }
        address += bytes.max(1);
    }
    if sectors.len() == 1 && !region.is_boot_memory() {
        sectors.clear();
    }
    sectors
}

/// The flash algorithm that probe-rs takes for `region`: the only one that covers it, or the default among several.
fn algorithm<'a>(target: &'a Target, region: &NvmRegion) -> Option<&'a RawFlashAlgorithm> {
    let core = region.cores.first()?;
    let fits = target.flash_algorithms.iter().filter(|algorithm| {
        let range = &algorithm.flash_properties.address_range;
        let covers = range.start <= region.range.start && region.range.end <= range.end;
        covers && (algorithm.cores.is_empty() || algorithm.cores.contains(core))
    });
    let fits: Vec<_> = fits.collect();
    match fits.as_slice() {
        [one] => Some(*one),
        several => several.iter().find(|algorithm| algorithm.default).copied(),
    }
}

/// RAM by ascending address, regions that touch taken together.
fn joined<'a>(regions: impl Iterator<Item = &'a RamRegion>) -> Vec<Range<u32>> {
    let narrow =
        |region: &RamRegion| Some(u32::try_from(region.range.start).ok()?..u32::try_from(region.range.end).ok()?);
    let mut ranges: Vec<Range<u32>> = regions.filter_map(narrow).collect();
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u32>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// Attaches to the chip of `memory` at `probe`.
pub(crate) fn attach(found: &Found, memory: Memory, link: Link) -> Result<Box<dyn Wire>, ProbeError> {
    let probe = open(found, link)?;
    // Without `allow_erase_all`: a locked chip is refused and never erased.
    let permissions = Permissions::new();
    let session = match link.under_reset {
        true => probe.attach_under_reset(memory.chip.as_str(), permissions),
        false => probe.attach(memory.chip.as_str(), permissions),
    };
    match session {
        Ok(session) => Ok(Box::new(Device { session, memory })),
        Err(error) => Err(not_attached(error, memory.chip)),
    }
}

fn open(found: &Found, link: Link) -> Result<Probe, ProbeError> {
    let failed = |cause: String| ProbeError::Open { identifier: found.identifier.clone(), cause };
    let selector: DebugProbeSelector =
        found.identifier.parse().map_err(|_| ProbeError::Selector { selector: found.identifier.clone() })?;
    let mut probe = Lister::new().open(selector).map_err(|error| failed(chain(&error)))?;
    // Probes without a choice of protocol refuse the question, and need not be asked.
    let _ = probe.select_protocol(WireProtocol::Swd);
    if let Some(speed) = link.speed {
        probe.set_speed(speed).map_err(|error| failed(chain(&error)))?;
    }
    Ok(probe)
}

/// Why a chip could not be attached to.
fn not_attached(error: Error, chip: String) -> ProbeError {
    use probe_rs::architecture::arm::ArmError;
    match error {
        Error::MissingPermissions(_) | Error::Arm(ArmError::MissingPermissions(_)) => ProbeError::Locked { chip },
        error if is_gone(&error) => ProbeError::Gone { during: format!("attaching to {chip}"), cause: chain(&error) },
        error => ProbeError::Silent { chip, cause: chain(&error) },
    }
}

/// A session of probe-rs.
struct Device {
    session: Session,
    memory: Memory,
}

impl Device {
    fn on_core<T>(&mut self, act: impl FnOnce(&mut Core<'_>) -> Result<T, Error>) -> Result<T, WireError> {
        let mut core = self.session.core(0).map_err(|error| wire_error(&error))?;
        act(&mut core).map_err(|error| wire_error(&error))
    }
}

impl Wire for Device {
    fn memory(&self) -> &Memory {
        &self.memory
    }

    fn read(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), WireError> {
        let words = are_words(address, bytes.len());
        self.on_core(|core| match words {
            true => core.read_mem_32bit(address.into(), bytes),
            false => core.read(address.into(), bytes),
        })
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), WireError> {
        let words: Vec<u32> =
            bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect();
        let are_words = are_words(address, bytes.len());
        self.on_core(|core| match are_words {
            true => core.write_32(address.into(), &words),
            false => core.write_8(address.into(), bytes),
        })
    }

    fn program(&mut self, blocks: &[Block], programmed: &mut dyn FnMut(u64)) -> Result<(), WireError> {
        let mut loader = self.session.target().flash_loader();
        for block in blocks {
            loader.add_data(block.address.into(), &block.bytes).map_err(|error| WireError::Chip(chain(&error)))?;
        }
        // The defaults neither erase the whole chip nor verify; what is programmed is read back by whoever calls.
        let mut options = DownloadOptions::new();
        options.progress = FlashProgress::new(|event| {
            if let ProgressEvent::Progress { operation: ProgressOperation::Program, size, .. } = event {
                programmed(size);
            }
        });
        loader.commit(&mut self.session, options).map_err(|error| wire_error(&error))
    }

    fn halted(&mut self) -> Result<bool, WireError> {
        self.on_core(|core| core.core_halted())
    }

    fn reset_and_halt(&mut self) -> Result<(), WireError> {
        self.on_core(|core| core.reset_and_halt(HALT).map(|_| ()))
    }

    fn run(&mut self) -> Result<(), WireError> {
        self.on_core(|core| if core.core_halted()? { core.run() } else { Ok(()) })
    }
}

const fn are_words(address: u32, length: usize) -> bool {
    address.is_multiple_of(4) && length.is_multiple_of(4)
}

fn wire_error(error: &(dyn std::error::Error + 'static)) -> WireError {
    if is_gone(error) { WireError::Gone(chain(error)) } else { WireError::Chip(chain(error)) }
}

/// Whether USB itself failed: only then does an I/O error that is no time-out lie at the bottom.
fn is_gone(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = sources(error).find_map(|error| error.downcast_ref::<std::io::Error>());
    io.is_some_and(|error| error.kind() != std::io::ErrorKind::TimedOut)
}

/// What an error and its causes say, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts: Vec<String> =
        sources(error).map(|error| error.to_string().trim_end_matches('.').to_owned()).collect();
    texts.dedup();
    texts.join(": ")
}

fn sources<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

#[cfg(test)]
mod tests {
    use std::io;

    use probe_rs::architecture::arm::ArmError;
    use probe_rs::probe::DebugProbeError;

    use super::*;

    fn usb(kind: io::ErrorKind) -> Error {
        Error::Arm(ArmError::Probe(DebugProbeError::Usb(io::Error::new(kind, "endpoint"))))
    }

    /// A pulled cable is told from a chip that does not answer, and both from a locked one.
    #[test]
    fn causes_of_a_failed_attach_are_told_apart() {
        let attach = |error| not_attached(error, "nRF52840_xxAA".into());
        assert!(matches!(attach(usb(io::ErrorKind::NotConnected)), ProbeError::Gone { .. }));
        assert!(matches!(attach(usb(io::ErrorKind::TimedOut)), ProbeError::Silent { .. }));
        assert!(matches!(attach(Error::Probe(DebugProbeError::TargetNotFound)), ProbeError::Silent { .. }));
        assert!(matches!(attach(Error::Timeout), ProbeError::Silent { .. }));
        let locked = Error::Arm(ArmError::MissingPermissions("erase_all".into()));
        assert!(matches!(attach(locked), ProbeError::Locked { .. }));
    }

    #[test]
    fn a_cause_is_one_line_down_to_its_root() {
        insta::assert_snapshot!(chain(&usb(io::ErrorKind::NotConnected)));
    }

    #[test]
    fn words_are_aligned_at_both_ends() {
        assert!(are_words(8, 4) && !are_words(6, 4) && !are_words(8, 6));
    }

    /// What plugs into no USB port does not open, and says so instead of waiting.
    #[test]
    fn a_probe_that_left_after_the_list_does_not_open() {
        let left = Found { name: "J-Link".into(), identifier: "1366:1015:0".into(), accessible: true };
        let opened = open(&left, Link::default());
        assert!(matches!(opened, Err(ProbeError::Open { .. })));
    }
}
