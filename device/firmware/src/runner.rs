//! What every board's binary contains besides its own lines: `emulated!` and `wired!`.

/// What a board with a debug probe is asked for: its own two wires, and what its core runs at.
#[cfg(feature = "probe")]
#[derive(Debug)]
pub struct Wiring<P, U> {
    /// A pin that is high while a layer runs.
    pub trigger: P,
    /// What the runner listens at beside the probe.
    pub uart: U,
    /// Cycles of the core a second, by the chip's own crate.
    pub hertz: u32,
}

/// The whole binary of an emulated board: its entry of the board table, the make of its timer, and its port where that
/// is not semihosting.
#[macro_export]
macro_rules! emulated {
    ($board:ident, $timer:ident) => {
        $crate::emulated!($board, $timer, $crate::transport::Semihosting::open());
    };
    ($board:ident, $timer:ident, $port:expr) => {
        $crate::memories!($board);

        #[$crate::cortex_m_rt::entry]
        fn main() -> ! {
            use $crate::releq_device::board;
            static TIMER: board::InstructionTimer = $crate::timer::of(&BOARD, board::TimerKind::$timer);
            let port = $port;
            let clock = $crate::timer::$timer::start(&TIMER);
            $crate::serve_forever::<{ board::$board.max_layers }>(&BOARD, port, clock, ARENA.take())
        }

        $crate::faults!($crate::transport::Semihosted);
    };
}

/// The binary of a board with a debug probe: its entry of the board table, and the function that sets its clocks and
/// returns its [`Wiring`], whose hertz must be the table's.
#[cfg(feature = "probe")]
#[macro_export]
macro_rules! wired {
    ($board:ident, $set_up:path) => {
        $crate::memories!($board);

        #[$crate::cortex_m_rt::entry]
        fn main() -> ! {
            use $crate::releq_device::board;
            // First, so that what goes wrong from here on is heard.
            let rtt = $crate::transport::Rtt::open();
            // Taken nowhere else, so it is there.
            let Some(mut core) = $crate::cortex_m::Peripherals::take() else { $crate::fault::stop() };
            let $crate::Wiring { trigger, uart, hertz } = $set_up(&mut core);
            assert!(hertz == BOARD.clock.hertz, "the clock is not what the board table says: {hertz} Hz");
            let clock = $crate::cycles::CycleClock::start(BOARD.counter, &mut core);
            let clock = $crate::trigger::Triggered::new(clock, trigger);
            let port = $crate::transport::Both::new(rtt, $crate::transport::Serial::new(uart));
            $crate::serve_forever::<{ board::$board.max_layers }>(&BOARD, port, clock, ARENA.take())
        }

        #[$crate::cortex_m_rt::exception]
        fn SysTick() {
            $crate::cycles::wrapped();
        }

        $crate::faults!($crate::transport::Logged);
    };
}

/// The board's entry and its arena.
#[doc(hidden)]
#[macro_export]
macro_rules! memories {
    ($board:ident) => {
        static BOARD: $crate::releq_device::Board = $crate::releq_device::board::$board;
        static ARENA: $crate::memory::Arena<{ $crate::releq_device::board::$board.arena_bytes }> =
            $crate::memory::Arena::new();
    };
}

/// What panics and hard faults do.
#[doc(hidden)]
#[macro_export]
macro_rules! faults {
    ($last_words:ty) => {
        #[panic_handler]
        fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
            $crate::fault::panicked(info, <$last_words>::default())
        }

        // SAFETY: it reads the frame that the core stacked, and never returns to the faulting code.
        #[$crate::cortex_m_rt::exception]
        unsafe fn HardFault(frame: &$crate::cortex_m_rt::ExceptionFrame) -> ! {
            $crate::fault::hard_fault(frame.pc(), frame.lr(), <$last_words>::default())
        }
    };
}
