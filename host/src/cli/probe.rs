//! Which debug probe: options of every verb that may have to do with a board at one.

use crate::target::lab::Lab;
#[cfg(feature = "probe")]
use crate::terminal;

#[derive(Debug, clap::Args)]
pub(super) struct ProbeOption {
    /// A serial port at the board's UART, instead of a probe; the image must be in its flash already
    #[arg(help_heading = "Debug probe", long, value_name = "PORT")]
    serial: Option<String>,
    /// Which probe, where there are several; `releq board probes` lists them [also: PROBE_RS_PROBE]
    #[arg(help_heading = "Debug probe", long, value_name = "VID:PID[:SERIAL]", env = "RELEQ_PROBE")]
    probe: Option<String>,
    /// Another chip than the board's own, by its name in probe-rs
    #[arg(help_heading = "Debug probe", long, value_name = "CHIP")]
    chip: Option<String>,
    /// Clock of the probe's wire
    #[arg(help_heading = "Debug probe", long, value_name = "KHZ", value_parser = clap::value_parser!(u32).range(1..))]
    speed: Option<u32>,
    /// Hold the chip in reset while attaching, for firmware that turns the debug pins off
    #[arg(help_heading = "Debug probe", long)]
    connect_under_reset: bool,
    /// Where several probes fit, end with their list instead of asking; nobody is asked without a terminal
    #[arg(help_heading = "Debug probe", long)]
    non_interactive: bool,
}

impl ProbeOption {
    /// Which probe, which chip, and how to talk to it.
    #[cfg(feature = "probe")]
    pub(super) fn choice(&self) -> crate::target::wired::Choice {
        use crate::target::wired::Choice;

        let Choice { probe, .. } = Choice::from_env();
        Choice {
            probe: self.probe.clone().or(probe),
            chip: self.chip.clone(),
            link: releq_probe::Link { under_reset: self.connect_under_reset, speed: self.speed },
            ask: (!self.non_interactive).then_some(ask),
        }
    }

    /// The serial port, where there is to be no probe.
    pub(super) fn serial(&self) -> Option<&str> {
        self.serial.as_deref()
    }

    /// What boards are reached with.
    pub(super) fn lab(&self) -> Lab {
        Lab {
            serial: self.serial.clone(),
            #[cfg(feature = "probe")]
            attach: self.choice().attach(),
            ..Lab::from_env()
        }
    }
}

/// Asks at the terminal which probe is meant.
#[cfg(feature = "probe")]
fn ask(found: &[releq_probe::Found]) -> Option<usize> {
    let line = |found: &releq_probe::Found| format!("{}  {}", found.identifier, found.name);
    terminal::choice("several debug probes fit; which one?", &found.iter().map(line).collect::<Vec<_>>())
}
